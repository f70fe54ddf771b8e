from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.demo.provider import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running_provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: ScriptedProvider) -> ScriptedProvider:
    """The scripted provider with an empty log and only the built-in scripts."""
    running_provider.reset()
    return running_provider
