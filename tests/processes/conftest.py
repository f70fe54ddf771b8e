from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from received import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read when litellm is imported, which would ask a server for its prices otherwise.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver in a process of its own, which has received nothing yet."""
    with Receiver() as running:
        yield running
