from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.core import open_calls
from otel_tokenstream.demo.provider import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Browser


@pytest.fixture(autouse=True)
def every_call_ends() -> Iterator[None]:
    """A call that a test leaves open is counted by those after it."""
    before = open_calls.snapshot()
    yield
    if any(call not in before for call in open_calls.snapshot()):
        gc.collect()
        open_calls.finish_dropped()
    assert [call for call in open_calls.snapshot() if call not in before] == []


@pytest.fixture(scope="session")
def running_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: ScriptedProvider) -> ScriptedProvider:
    """The scripted provider with an empty log and only the built-in scripts."""
    running_provider.reset()
    return running_provider


@pytest.fixture(scope="module")
def started_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from browser import Browser

    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
