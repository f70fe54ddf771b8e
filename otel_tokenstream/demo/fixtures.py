"""The pytest fixture ``scripted_provider``: a provider on this machine that answers by script.

    def test_answer(scripted_provider, tokenstream):
        scripted_provider.scripts["slow"] = Script(before_headers=2.0)
        answer("Why is the sky blue?", base_url=scripted_provider.base_url, model="openai/slow")
        tokenstream.assert_outcome("completed")

It stands as soon as this package is installed beside pytest, and needs the extra ``demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider


@pytest.fixture(scope="session")
def _tokenstream_provider() -> Iterator[ScriptedProvider]:
    try:
        from otel_tokenstream.demo.provider import ScriptedProvider  # noqa: PLC0415  # needs an extra
    except ModuleNotFoundError as error:
        pytest.fail(f'scripted_provider needs {error.name}: pip install "otel-tokenstream[demo]"')
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def scripted_provider(_tokenstream_provider: ScriptedProvider) -> ScriptedProvider:
    """A provider with an empty log and only the built-in scripts."""
    _tokenstream_provider.reset()
    return _tokenstream_provider
