from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm import acompletion, completion  # before anything is instrumented: programs do this too

from otel_tokenstream import LiteLLMInstrumentor, signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.demo.provider import NO_CHOICES, Piece, Script, Usage, reasoning, refusal, tool_call
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

QUESTION = [{"role": "user", "content": "Why are there tides?"}]
LETTERS = Script(pieces=list("abcdefgh"), gap=0.002)


def arguments(provider: ScriptedProvider, script: Script | list[Script] = LETTERS, **more: Any) -> dict[str, Any]:
    provider.scripts["test"] = script
    about = {"model": "openai/test", "messages": QUESTION, "api_base": provider.base_url, "api_key": "none"}
    return {**about, "max_retries": 0, **more}


def streamed(provider: ScriptedProvider, script: Script = LETTERS, **more: Any) -> list[Any]:
    return list(litellm.completion(**arguments(provider, script, stream=True, **more)))


async def astreamed(provider: ScriptedProvider, script: Script = LETTERS, **more: Any) -> list[Any]:
    return [chunk async for chunk in await litellm.acompletion(**arguments(provider, script, stream=True, **more))]


def said(chunks: list[Any]) -> list[Any]:
    """Chunks as plain data, without what differs from one answer to the next."""
    return [(type(chunk).__name__, chunk.model_dump(exclude={"id", "created"})) for chunk in chunks]


def only(captured: Capture) -> Any:
    (generation,) = captured.generations
    return generation


# --- One call, one span ------------------------------------------------------------------------


def test_a_stream_is_one_span_with_its_chunks(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Text, chunk count, model and server are those of the call."""
    chunks = streamed(provider)

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert generation.name == "chat test"
    assert generation.text == "abcdefgh"
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert generation.attributes[signals.PROVIDER_NAME] == "openai"
    assert generation.attributes[signals.SERVER_ADDRESS] == "127.0.0.1"
    assert generation.attributes[signals.SERVER_PORT] == provider.port
    assert generation.attributes[signals.FINISH_REASONS] == ("stop",)
    assert generation.attributes[signals.RESPONSE_ID] == chunks[0].id


async def test_an_async_stream_is_one_span_with_its_chunks(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The same for acompletion."""
    chunks = await astreamed(provider)

    assert only(tokenstream).text == "abcdefgh"
    assert only(tokenstream).attributes[signals.CHUNKS] == len(chunks)


async def test_a_plain_call_is_one_span_without_stream_attributes(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """completion and acompletion without stream say what was used and how it ended."""
    litellm.completion(**arguments(provider))
    await litellm.acompletion(**arguments(provider))

    for generation in tokenstream.generations:
        assert generation.outcome == "completed"
        assert signals.CHUNKS not in generation.attributes
        assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == 8
    assert len(tokenstream.generations) == 2


async def test_names_imported_before_are_instrumented(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """``from litellm import completion`` at the top of a program is no way around us."""
    list(completion(**arguments(provider, stream=True)))
    [chunk async for chunk in await acompletion(**arguments(provider, stream=True))]

    assert [generation.outcome for generation in tokenstream.generations] == ["completed", "completed"]


def test_parents_are_those_of_the_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The span current when the call is made is the parent, wherever the stream is read."""
    tracer = tokenstream.tracer_provider.get_tracer("program")
    with tracer.start_as_current_span("request"):
        stream = litellm.completion(**arguments(provider, stream=True))
    with tracer.start_as_current_span("elsewhere"):
        list(stream)

    assert only(tokenstream).parent.name == "request"


# --- What the caller gets ----------------------------------------------------------------------

SCRIPTS = {
    "text": LETTERS,
    "reasoning": Script(pieces=[reasoning("think "), reasoning("more"), "answer"], gap=0),
    "tool calls": Script(
        pieces=[
            tool_call("", name="look", call_id="call_1"),
            tool_call('{"a":'),
            tool_call("", name="see", call_id="call_2", index=1),
            tool_call("1}"),
            tool_call("{}", index=1),
        ],
        gap=0,
    ),
    "no choices": Script(pieces=["a", NO_CHOICES, "b"], gap=0),
    "refusal": Script(pieces=[refusal("I will "), refusal("not")], gap=0),
    "empty": Script(pieces=[], gap=0),
    "length": Script(pieces=["a"], gap=0, ending="length"),
    "no finish reason": Script(pieces=["a", "b"], gap=0, ending="none"),
}


# Since 1.109 litellm raises at the end of some providers' streams that give no finish reason; before, it made one up.
MISSES_THE_REASON = hasattr(litellm.CustomStreamWrapper, "_should_fail_on_clean_eof")
invents_the_reason = pytest.mark.skipif(MISSES_THE_REASON, reason="this litellm raises where no finish reason came")


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "no finish reason" or not MISSES_THE_REASON])
@pytest.mark.parametrize("more", [{}, {"stream_options": {"include_usage": True}}, {"n": 2}], ids=str)
async def test_chunks_are_those_of_the_uninstrumented_run(
    provider: ScriptedProvider, name: str, more: dict[str, Any]
) -> None:
    """Same chunks, same types, same hidden fields of the wire, whatever the provider sends."""
    bare = said(streamed(provider, SCRIPTS[name], **more)), said(await astreamed(provider, SCRIPTS[name], **more))
    with capture() as captured:
        ours = said(streamed(provider, SCRIPTS[name], **more)), said(await astreamed(provider, SCRIPTS[name], **more))

    assert ours == bare
    assert [generation.outcome for generation in captured.generations] == ["completed", "completed"]


@pytest.mark.skipif(not MISSES_THE_REASON, reason="this litellm makes up a finish reason")
def test_a_missing_finish_reason_is_the_error_that_litellm_raises(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """The program has its chunks and then litellm's error, and so has the span; nothing is made up."""
    stream = litellm.completion(**arguments(provider, SCRIPTS["no finish reason"], stream=True))
    given: list[Any] = []
    with pytest.raises(litellm.exceptions.ServiceUnavailableError) as raised:
        given.extend(stream)

    generation = only(tokenstream)
    assert (generation.outcome, generation.attributes[signals.ERROR_TYPE]) == ("failed", raised.type.__qualname__)
    assert generation.attributes[signals.FINISH_REASONS] == ("error",)
    assert signals.FINISH_REASON_SYNTHETIC not in generation.attributes
    assert generation.attributes[signals.CHUNKS] == len(given) > 1


def test_a_first_chunk_about_the_prompt_does_not_hide_who_answers(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """Azure's has no choices, an empty id and an empty model; the second one has both."""
    chunks = streamed(provider, Script(pieces=[NO_CHOICES, "a", "b"], gap=0, response_model="gpt-4o-2024"))

    generation = only(tokenstream)
    assert generation.attributes[signals.RESPONSE_ID] == chunks[-1].id
    assert generation.attributes[signals.RESPONSE_MODEL] == "gpt-4o-2024"


def test_a_stream_that_nobody_reads_yet_is_not_stalled(provider: ScriptedProvider) -> None:
    """Whoever asked for it has the turn: no read waits for the provider."""
    with capture(first_token_threshold=1e-6) as captured:
        stream = litellm.completion(**arguments(provider, stream=True))
        points = captured.metrics[signals.STREAM_STALLED]
        assert [point.value for point in points] == [0] * len(points)
        assert [point.value for point in captured.metrics[signals.STREAM_ACTIVE]] == [1]
        list(stream)


async def test_requests_are_those_of_the_uninstrumented_run(provider: ScriptedProvider) -> None:
    """The bytes and the header names on the wire are the same with and without us."""

    async def ask() -> list[tuple[bytes, set[str]]]:
        provider.log.clear()
        streamed(provider, temperature=0.5, stream_options={"include_usage": True})
        streamed(provider, n=2, max_tokens=5, stop=["x"])
        litellm.completion(**arguments(provider))
        await astreamed(provider, seed=7)
        await litellm.acompletion(**arguments(provider))
        return [(exchange.body, set(exchange.headers)) for exchange in provider.log.settled(5)]

    bare = await ask()
    with capture():
        assert await ask() == bare


def test_the_stream_is_litellms_own_class(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """isinstance() holds, and litellm's own helpers take the stream and its chunks."""
    stream = litellm.completion(**arguments(provider, stream=True))

    assert isinstance(stream, litellm.CustomStreamWrapper)
    rebuilt = litellm.stream_chunk_builder(list(stream))
    assert rebuilt.choices[0].message.content == "abcdefgh"
    assert only(tokenstream).outcome == "completed"


# --- What chunks say ---------------------------------------------------------------------------


def kinds(generation: Any) -> list[str]:
    """Kinds of the events with content."""
    found = [event.attributes.get(signals.AT_KIND, "text") for event in generation.tokens]
    return [kind for kind in found if kind != "empty"]


def test_reasoning_is_a_token_and_no_answer(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The first token may be a thought; the first answer token is the first visible text."""
    streamed(provider, Script(pieces=[reasoning("think"), reasoning("more"), "answer"], gap=0.01))

    generation = only(tokenstream)
    assert kinds(generation) == ["reasoning", "reasoning", "text"]
    first = generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS]
    assert first < generation.attributes[signals.TIME_TO_FIRST_ANSWER_TOKEN_MS]


def test_parallel_tool_calls_count_their_arguments(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Arguments of calls without an id after the first piece are counted; there is no answer token."""
    streamed(provider, SCRIPTS["tool calls"])

    generation = only(tokenstream)
    assert set(kinds(generation)) == {"tool_call"}
    assert sum(event.attributes[signals.AT_CHARS] for event in generation.tokens) == len('{"a":1}{}')
    assert signals.TIME_TO_FIRST_TOKEN_MS in generation.attributes
    assert signals.TIME_TO_FIRST_ANSWER_TOKEN_MS not in generation.attributes
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)


def test_a_refusal_is_no_answer(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """What the model refuses with is generated content of its own kind."""
    streamed(provider, SCRIPTS["refusal"])

    generation = only(tokenstream)
    assert "text" not in kinds(generation)
    assert signals.TIME_TO_FIRST_ANSWER_TOKEN_MS not in generation.attributes


def test_chunks_of_several_choices_count_once(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """With n=2 the chunks of both choices are counted, and the request says that two were asked for."""
    chunks = streamed(provider, n=2)

    generation = only(tokenstream)
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert generation.attributes[signals.REQUEST_CHOICE_COUNT] == 2


@pytest.mark.parametrize("asked", [True, False])
def test_usage_is_the_providers(provider: ScriptedProvider, tokenstream: Capture, asked: bool) -> None:
    """With usage in the stream it is on the span; without, nothing is made up in its place."""
    more = {"stream_options": {"include_usage": True}} if asked else {}
    usage = Usage(input=11, output=8, cached=3, reasoning=2)
    streamed(provider, Script(pieces=list("abcdefgh"), gap=0.001, usage=usage), **more)

    said_of = only(tokenstream).attributes
    if asked:
        assert said_of[signals.USAGE_INPUT_TOKENS] == 11
        assert said_of[signals.USAGE_OUTPUT_TOKENS] == 8
        assert said_of[signals.USAGE_CACHE_READ] == 3
        assert said_of[signals.USAGE_REASONING] == 2
        assert said_of[signals.USAGE_SOURCE] == "provider"
        assert said_of[signals.OUTPUT_RATE] > 0
    else:
        assert said_of.get(signals.USAGE_SOURCE) != "provider"
        assert signals.OUTPUT_RATE not in said_of
        assert signals.TOKENS not in tokenstream.metrics


@invents_the_reason
def test_an_invented_finish_reason_is_marked(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """litellm says stop where the provider said nothing: the span says whose word it is."""
    streamed(provider, SCRIPTS["no finish reason"])
    streamed(provider)

    invented, real = tokenstream.generations
    assert invented.attributes[signals.FINISH_REASON_SYNTHETIC] is True
    assert signals.FINISH_REASON_SYNTHETIC not in real.attributes


@pytest.mark.skipif(not MISSES_THE_REASON, reason="this litellm does not note whether any reason came")
@pytest.mark.parametrize("provider_name", ["hosted_vllm", "deepseek", "mistral", "openrouter"])
def test_a_reason_made_of_the_mark_of_the_end_is_marked(
    provider: ScriptedProvider, tokenstream: Capture, provider_name: str
) -> None:
    """litellm's own reader of streams like OpenAI's says stop where it meets ``[DONE]``."""
    for script in (SCRIPTS["no finish reason"], LETTERS):
        streamed(provider, script, model=f"{provider_name}/test")

    assert [each.attributes[signals.FINISH_REASONS] for each in tokenstream.generations] == [("stop",)] * 2
    marks = [each.attributes.get(signals.FINISH_REASON_SYNTHETIC) for each in tokenstream.generations]
    assert marks == [True, None]


@invents_the_reason
def test_leaving_at_an_invented_finish_reason_is_marked_too(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """A caller that stops reading at the finish reason learns the same as one that reads to the end."""
    for chunk in litellm.completion(**arguments(provider, SCRIPTS["no finish reason"], stream=True)):
        if chunk.choices[0].finish_reason:
            break
    del chunk

    assert only(tokenstream).outcome == "completed"
    assert only(tokenstream).attributes[signals.FINISH_REASON_SYNTHETIC] is True


def test_the_model_that_answered_is_the_providers_word(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The response model is what the provider named, not what was asked for."""
    streamed(provider, Script(pieces=["a"], gap=0, response_model="test-2026-11"))

    assert only(tokenstream).attributes[signals.RESPONSE_MODEL] == "test-2026-11"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("served", ["served-model", "test"])
def test_the_model_of_an_answer_is_named_as_the_provider_does(
    provider: ScriptedProvider, tokenstream: Capture, stream: bool, served: str
) -> None:
    """litellm puts its own name for some providers before the model of a plain answer."""
    script = Script(pieces=["a"], gap=0, response_model=served)
    answer = litellm.completion(**arguments(provider, script, model="lm_studio/test", stream=stream))
    for _ in answer if stream else ():
        pass

    assert only(tokenstream).attributes[signals.RESPONSE_MODEL] == served


def test_request_parameters_are_on_the_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Temperature and its like, each with the convention's name and type."""
    streamed(provider, temperature=0, max_tokens=5, stop="x", seed=7, top_p=1)

    about = only(tokenstream).attributes
    assert about[signals.REQUEST_TEMPERATURE] == 0.0
    assert about[signals.REQUEST_MAX_TOKENS] == 5
    assert about[signals.REQUEST_STOP_SEQUENCES] == ("x",)
    assert about[signals.REQUEST_SEED] == 7
    assert about[signals.REQUEST_TOP_P] == 1.0


# --- Nested calls ------------------------------------------------------------------------------


def test_retries_are_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """num_retries calls completion again inside: one span, which says how many requests it took."""
    failing = Script(ending="http_error", status=500)
    # Not openai/: there its own client retries, below litellm.
    more = {"model": "hosted_vllm/test", "num_retries": 1}
    answer = litellm.completion(**{**arguments(provider, [failing, LETTERS]), **more})

    assert answer.choices[0].message.content == "abcdefgh"
    assert only(tokenstream).outcome == "completed"
    assert only(tokenstream).attributes[signals.ATTEMPTS] == 2
    attempts = [event.attributes for event in only(tokenstream).events if event.name == signals.ATTEMPT_EVENT]
    assert [attempt.get(signals.ERROR_TYPE) is None for attempt in attempts] == [False, True]


async def test_fallbacks_are_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """fallbacks= calls acompletion for each model: one span with the model that was asked for first."""
    provider.scripts["second"] = LETTERS
    more = {"fallbacks": ["openai/second"], "stream": True}
    failing = Script(ending="http_error", status=500)
    stream = await litellm.acompletion(**arguments(provider, failing, **more))
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "abcdefgh"
    assert only(tokenstream).attributes[signals.REQUEST_MODEL] == "test"


def test_mocked_answers_are_spans_without_reported_usage(tokenstream: Capture) -> None:
    """mock_response asks nobody; what litellm counts there is nobody's report."""
    more: dict[str, Any] = {"model": "openai/test", "messages": QUESTION, "mock_response": "a b c"}
    litellm.completion(**more)
    list(litellm.completion(**more, stream=True))

    assert [generation.outcome for generation in tokenstream.generations] == ["completed", "completed"]
    for generation in tokenstream.generations:
        assert generation.attributes.get(signals.USAGE_SOURCE) != "provider"
        assert generation.attributes[signals.FINISH_REASON_SYNTHETIC] is True


def test_a_cache_hit_says_so_and_used_nothing(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The second of two equal calls is answered by litellm's cache: no tokens, no cost."""
    for name in ("fastapi", "soundfile"):
        pytest.importorskip(name, reason="litellm's cache imports its proxy")
    litellm.cache = litellm.Cache(type="local")
    try:
        for _ in range(2):
            litellm.completion(**arguments(provider, caching=True))
    finally:
        litellm.cache = None

    asked, cached = (generation.attributes for generation in tokenstream.generations)
    assert len(provider.log.settled(1)) == 1
    assert signals.CACHE_HIT not in asked
    assert cached[signals.CACHE_HIT] is True
    assert signals.USAGE_OUTPUT_TOKENS not in cached
    assert signals.COST_USD not in cached


def router(provider: ScriptedProvider, **more: Any) -> litellm.Router:
    deployments = [
        {
            "model_name": group,
            "litellm_params": {"model": f"openai/{model}", "api_base": provider.base_url, "api_key": "none"},
        }
        for group, model in (("first", "broken"), ("second", "whole"))
    ]
    provider.scripts |= {"broken": Script(ending="http_error", status=500), "whole": LETTERS}
    return litellm.Router(model_list=deployments, num_retries=0, **more)


async def test_a_router_with_a_fallback_is_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Sync and async, streamed and not: the group that was asked for, and the text of the one that answered."""
    routed = router(provider, fallbacks=[{"first": ["second"]}])
    routed.completion("first", QUESTION)
    list(routed.completion("first", QUESTION, stream=True))
    await routed.acompletion("first", QUESTION)
    [chunk async for chunk in await routed.acompletion("first", QUESTION, stream=True)]

    assert [generation.outcome for generation in tokenstream.generations] == ["completed"] * 4
    assert [generation.text for generation in tokenstream.generations] == ["", "abcdefgh", "", "abcdefgh"]


# --- Concurrency -------------------------------------------------------------------------------


async def test_two_hundred_streams_at_once_keep_their_parents(
    provider: ScriptedProvider, tokenstream: Capture, caplog: Any
) -> None:
    """200 streams under as many spans: each generation has its own parent, and no context is mixed up."""
    caplog.set_level(logging.DEBUG, logger="opentelemetry.context")
    tracer = tokenstream.tracer_provider.get_tracer("program")
    script = Script(pieces=list("abc"), gap=0.005)
    provider.scripts["test"] = script

    async def ask(number: int) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            more = {"stream": True, "seed": number}
            async for _ in await litellm.acompletion(**arguments(provider, script, **more)):
                pass

    await asyncio.gather(*(ask(number) for number in range(200)))

    generations = tokenstream.generations
    assert len(generations) == 200
    for generation in generations:
        assert generation.outcome == "completed"
        assert generation.parent.name == f"request {generation.attributes[signals.REQUEST_SEED]}"
    assert len({generation.parent.name for generation in generations}) == 200
    assert [each for each in caplog.records if each.name == "opentelemetry.context"] == []


# --- Putting in and taking out -------------------------------------------------------------------


def places() -> dict[str, Any]:
    """What a program finds under the names that are patched."""
    from litellm.chat_completions import dispatch

    return {
        "litellm.completion": litellm.completion,
        "litellm.acompletion": litellm.acompletion,
        "litellm.main.completion": sys.modules["litellm.main"].completion,
        "litellm.main.acompletion": sys.modules["litellm.main"].acompletion,
        "dispatch.completion": dispatch._PYTHON_COMPLETION,
        "dispatch.acompletion": dispatch._PYTHON_ACOMPLETION,
        "text_completion": litellm.text_completion,
        "Router": getattr(litellm.Router, "function_with_fallbacks", None) or litellm.Router.completion,
    }


async def collections_until_released(provider: ScriptedProvider) -> int:
    """How often the collector must run until the connection of a stream that is dropped in a cycle is gone."""
    provider.reset()
    hanging = Script(pieces=["a"], gap=0, ending="hang")

    async def leave() -> None:
        stream = await litellm.acompletion(**arguments(provider, hanging, stream=True))
        cycle = {"stream": stream}
        cycle["self"] = cycle
        async for _ in stream:
            break

    await asyncio.create_task(leave())
    for times in range(1, 10):
        gc.collect()
        with suppress(TimeoutError):
            await asyncio.to_thread(provider.log.settled, 1, 1.0)
            return times
    raise AssertionError


async def test_a_stream_in_a_cycle_lets_its_connection_go_as_early_as_without_us(provider: ScriptedProvider) -> None:
    """The collector finds all of it at once; the next collection may be minutes away."""
    bare = await collections_until_released(provider)
    with capture() as captured:
        assert await collections_until_released(provider) <= bare
        in_flight.finish_dropped()
    assert only(captured).outcome == "abandoned"


def test_uninstrumenting_restores_identity(provider: ScriptedProvider) -> None:
    """Every name is the very object it was, and calls leave no span."""
    before = places()
    with capture() as captured:
        assert places() != before
    assert all(after is before[name] for name, after in places().items())
    streamed(provider)
    assert captured.generations == []


def test_a_name_imported_while_instrumented_is_quiet_afterwards(provider: ScriptedProvider) -> None:
    """A wrapper that a program holds on to records nothing once it was taken out."""
    with capture() as captured:
        held = sys.modules["litellm.main"].completion
    list(held(**arguments(provider, stream=True)))
    with capture() as later:
        list(held(**arguments(provider, stream=True)))

    assert captured.generations == []
    assert len(later.generations) == 1


def test_instrumenting_twice_does_nothing_twice(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """A second instrument() leaves everything as it is."""
    before = places()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LiteLLMInstrumentor().instrument(tracer_provider=tokenstream.tracer_provider)
    assert places() == before
    streamed(provider)

    assert len(tokenstream.generations) == 1


AFTER = """
import gc, json, sys
gc.disable()  # what is imported stays
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_tokenstream import LiteLLMInstrumentor
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
LiteLLMInstrumentor().instrument(tracer_provider=provider)
assert "litellm" not in sys.modules

import litellm
from litellm import completion
list(completion("openai/test", [{"role": "user", "content": "x"}], mock_response="a b", stream=True))
list(litellm.completion("openai/test", [{"role": "user", "content": "x"}], mock_response="a b", stream=True))
print(json.dumps([span.name for span in exporter.get_finished_spans()]))
"""


def test_litellm_may_be_imported_before_or_after(tokenstream: Capture) -> None:
    """Whichever comes first, calls have spans; and instrumenting imports nothing."""
    list(completion("openai/test", [{"role": "user", "content": "x"}], mock_response="a b", stream=True))
    list(litellm.completion("openai/test", [{"role": "user", "content": "x"}], mock_response="a b", stream=True))
    assert [generation.name for generation in tokenstream.generations] == ["chat test", "chat test"]

    done = subprocess.run([sys.executable, "-c", AFTER], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["chat test", "chat test"]


def test_pieces_of_any_choice_alone(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Chunks of the second choice alone are content as well."""
    streamed(provider, Script(pieces=[Piece("text", "a", choice=1), Piece("text", "b", choice=0)], gap=0), n=2)

    assert only(tokenstream).outcome == "completed"
