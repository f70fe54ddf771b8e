from __future__ import annotations

import os

# Before DSPy is imported, which keeps answers on disk.
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)

from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import ENGINES, WITH_TEXT, language_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture


@pytest.fixture
def empty_cache() -> Iterator[None]:
    """DSPy's cache in memory, empty, for one test."""
    before = dspy.cache
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    yield
    dspy.cache = before


@pytest.fixture(params=ENGINES)
def lm(request: Any, provider: ScriptedProvider) -> Iterator[Any]:
    provider.scripts["gpt-4o"] = Script(gap=0.0005)
    model = language_model(provider, request.param)
    with dspy.context(lm=model, adapter=dspy.ChatAdapter()):
        yield model


@pytest.fixture
def captured() -> Iterator[Capture]:
    with capture(**WITH_TEXT) as everything:
        yield everything
