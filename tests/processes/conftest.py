from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes.received import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

# Read when litellm is imported, which would ask a server for its prices otherwise.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver in a process of its own, which has received nothing yet."""
    with Receiver() as running:
        yield running


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here starts programs of its own, which takes its time."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
