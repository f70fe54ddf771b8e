"""Mocks that a program's tests return from below a library: they are given to the caller as they are."""

from __future__ import annotations

import re
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, MagicMock, Mock, patch

import dspy
import litellm
import pytest

from otel_tokenstream import stream_fields
from otel_tokenstream.core.runtime.guard import faults
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.testing import Capture

ASKED: dict[str, Any] = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "api_key": "none"}
BELOW = "litellm.main.openai_chat_completions.completion"


@pytest.mark.parametrize("make", [MagicMock, Mock, AsyncMock, lambda: MagicMock(spec=litellm.CustomStreamWrapper)])
def test_a_plain_answer_is_the_mock_itself(tokenstream: Capture, make: Callable[[], Any]) -> None:
    """Whatever special methods it has, it is no stream, for none was asked for; and it is no fault of ours."""
    answer, before = make(), sum(faults.values())
    with patch(BELOW, return_value=answer):
        given = litellm.completion(**ASKED)

    assert given is answer
    assert [each.outcome for each in tokenstream.generations] == ["completed"]
    assert sum(faults.values()) == before


def test_a_mock_as_the_name_of_the_provider_is_no_fault_of_ours(tokenstream: Capture) -> None:
    before = sum(faults.values())
    with suppress(Exception):
        litellm.completion(**ASKED, custom_llm_provider=MagicMock())

    assert len(tokenstream.generations) == 1
    assert sum(faults.values()) == before


async def test_an_async_plain_answer_is_the_mock_itself(tokenstream: Capture) -> None:
    """The same where litellm awaits it."""
    answer = MagicMock()

    async def answering() -> Any:
        return answer

    with patch(BELOW, side_effect=lambda *_, **__: answering()):
        given = await litellm.acompletion(**ASKED)

    assert given is answer
    assert [each.outcome for each in tokenstream.generations] == ["completed"]


def test_a_mock_that_was_asked_for_as_a_stream_has_all_its_methods(tokenstream: Capture) -> None:
    """Items, length, numbers, comparison and hash are the mock's."""
    stream = MagicMock()
    stream.__getitem__.return_value = 5
    stream.__len__.return_value = 3
    stream.__float__.return_value = 1.5
    with patch(BELOW, return_value=stream):
        given = litellm.completion(**ASKED, stream=True)

    assert (given["choices"], len(given), float(given)) == (5, 3, 1.5)
    assert given == given  # noqa: PLR0124  # compared by the mock's own method
    assert given == stream
    assert hash(given) == hash(stream)
    assert str(given) == str(stream)
    del given
    assert [each.outcome for each in tokenstream.generations] == ["abandoned"]


# --- DSPy, by each of its engines ------------------------------------------------------------

BELOW_LM15 = "dspy.clients.engines.lm15_engine.{}LM15Engine"


def _answer() -> MagicMock:
    """What a test makes of a mock: some values that the library reads."""
    message = Mock(content="Hello", tool_calls=None, reasoning_content=None, role="assistant")
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return MagicMock(choices=[Mock(message=message, finish_reason="stop", index=0)], usage=usage, model="m", id="x")


def _lm15(answer: Any, is_async: bool) -> Any:
    """Put an answer where DSPy's own engine asks the provider."""
    provider = MagicMock(complete=AsyncMock(return_value=answer) if is_async else Mock(return_value=answer))
    engine = BELOW_LM15.format("Async" if is_async else "")
    return patch(f"{engine}._target", return_value=(provider, MagicMock()))


def _lm15_itself(answer: Any, is_async: bool) -> Any:
    kind = AsyncMock if is_async else MagicMock
    engine = BELOW_LM15.format("Async" if is_async else "")
    return patch(f"{engine}.complete", new_callable=kind, return_value=answer)


def _litellm(answer: Any, is_async: bool) -> Any:
    async def answering() -> Any:
        return answer

    return patch(BELOW, side_effect=lambda *_, **__: answering() if is_async else answer)


async def said(engine: str, *, is_async: bool) -> str:
    """What DSPy makes of the mock, or the error it raises."""
    lm = dspy.LM("openai/gpt-4o", api_key="none", cache=False, num_retries=0, engine=engine)
    try:
        return str(await lm.acall("Hi") if is_async else lm("Hi"))
    except Exception as error:  # noqa: BLE001  # compared
        return re.sub(r"id='\d+'", "", f"{type(error).__name__}: {error}")


@pytest.mark.skipif(not hasattr(dspy, "lm15"), reason="this DSPy has one engine")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("make", [MagicMock, _answer])
@pytest.mark.parametrize(
    ("engine", "put", "streamed"),
    [
        ("lm15", _lm15, False),
        ("lm15", _lm15_itself, False),
        ("litellm", _litellm, False),
        ("litellm", _litellm, True),
    ],
)
@pytest.mark.parametrize("mock_first", [False, True])
async def test_dspy_is_given_the_mock(
    engine: str, put: Any, streamed: bool, make: Any, is_async: bool, mock_first: bool
) -> None:
    """Whichever comes first, a test's mock or the instrumentation, DSPy says of the mock what it says without us."""
    wish = stream_fields("*") if streamed else nullcontext()
    with put(make(), is_async):
        bare = await said(engine, is_async=is_async)
    before = sum(faults.values())
    with ExitStack() as stack:
        for each in (put(make(), is_async), capture()) if mock_first else (capture(), put(make(), is_async)):
            stack.enter_context(each)
        with wish:
            ours = await said(engine, is_async=is_async)

    assert ours == bare
    assert sum(faults.values()) == before
