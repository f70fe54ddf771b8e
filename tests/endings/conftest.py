from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before litellm and DSPy are imported: the first asks a server for its prices, the second keeps answers on disk.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)


@pytest.fixture(autouse=True)
def small_heap() -> Iterator[None]:
    """The libraries' half a million objects out of the way of the collector, which every cell calls."""
    gc.freeze()
    yield
    gc.unfreeze()
