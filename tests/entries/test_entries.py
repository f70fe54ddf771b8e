"""Each library's entries: one call each, with exactly what docs/entries.md says of it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.entries.entry import CHUNKS, ID, MODEL, REASON, TEXT, USAGE, Entry, drain
from tests.entries.table import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Generation

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)

PIECES = ["[[ ## answer ## ]]\n", "be", "cause", "\n\n[[ ## completed ## ]]"]  # an answer to DSPy's programs, too
NAMES = {
    CHUNKS: signals.CHUNKS,
    TEXT: signals.OUTPUT_MESSAGES,
    USAGE: signals.USAGE_OUTPUT_TOKENS,
    REASON: signals.FINISH_REASONS,
    MODEL: signals.RESPONSE_MODEL,
    ID: signals.RESPONSE_ID,
}
PROVIDERS = {"OpenAI": "openai", "Anthropic": "anthropic"}

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

# It asks for Python 3.11.
NO_LIONPRIDE = pytest.mark.skipif(find_spec("lionpride") is None, reason="lionpride is not installed")
CELLS = [
    pytest.param(
        entry,
        way,
        id=f"{entry.library}-{entry.name}-{number}",
        marks=NO_LIONPRIDE if entry.library == "lionpride" else (),
    )
    for entry in ENTRIES
    for number, way in enumerate(entry.ways)
]


def seen_of(generation: Generation) -> set[str]:
    told = generation.attributes
    if told.get(signals.USAGE_SOURCE) == "estimated":  # counted by the library, not by the provider
        told = {name: value for name, value in told.items() if name != signals.USAGE_OUTPUT_TOKENS}
    return {word for word, name in NAMES.items() if name in told}


@pytest.mark.asyncio(loop_scope="module")  # LangChain's models share a client, which belongs to one loop
@pytest.mark.parametrize(("entry", "way"), CELLS)
async def test_an_entry_is_one_call_with_what_the_table_says(
    provider: ScriptedProvider, entry: Entry, way: Callable[[ScriptedProvider], Any]
) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001)
    with capture(capture_content="SPAN_ONLY") as captured:
        await drain(way(provider))

    assert len(captured.generations) == entry.calls
    for generation in captured.generations:
        assert generation.outcome == "completed"
        assert generation.attributes[signals.SERVER_ADDRESS] == "127.0.0.1"
        assert seen_of(generation) == entry.seen
        assert generation.attributes.get(signals.REQUEST_STREAM, False) is (CHUNKS in entry.seen) or not entry.seen
        if CHUNKS in entry.seen:
            assert generation.attributes[signals.CHUNKS] >= (
                1 if "messages.acreate" in entry.name and entry.library == "litellm" else len(PIECES)
            )
            assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] >= 0
        if TEXT in entry.seen:
            assert "cause" in generation.attributes[signals.OUTPUT_MESSAGES]
