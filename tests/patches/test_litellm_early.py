from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

# Before anything is instrumented, and from where litellm makes them: no patch of an attribute reaches these.
from litellm.main import acompletion, atext_completion, completion, text_completion

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, drained, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

EARLY: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "completion": (completion, {"messages": QUESTION}),
    "acompletion": (acompletion, {"messages": QUESTION}),
    "text_completion": (text_completion, {"prompt": "Tides?"}),
    "atext_completion": (atext_completion, {"prompt": "Tides?"}),
}


def original(function: Any) -> Any:
    """What the decorator's wrapper closes over."""
    return function.__closure__[function.__code__.co_freevars.index("original_function")].cell_contents


@pytest.mark.parametrize("name", EARLY)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_wrapper_imported_before_is_instrumented(
    provider: ScriptedProvider, tokenstream: Capture, name: str, stream: bool
) -> None:
    """A program that holds the function itself gets its one span too."""
    function, prompt = EARLY[name]
    where = at(provider, {"letters": Script(pieces=["a", "b"], gap=0.002)})
    await drained(function, model="deepseek/letters", stream=stream, **prompt, **where)

    assert only(tokenstream).outcome == "completed"


def test_uninstrumenting_leaves_nothing_behind() -> None:
    """Every place, and what the wrappers close over, is what it was."""
    places = [(litellm, name) for name in EARLY] + [(litellm.main, name) for name in EARLY]
    places += [(litellm.Router, name) for name in ("completion", "acompletion")]
    before = [getattr(place, name) for place, name in places]
    closed_over = [original(function) for function, _ in EARLY.values()]
    with capture():
        assert [original(function) for function, _ in EARLY.values()] != closed_over

    assert [getattr(place, name) for place, name in places] == before
    assert [original(function) for function, _ in EARLY.values()] == closed_over
