"""LangChain's streams ask their model at the first read: the call begins there, where the program made the stream."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from inspect import isasyncgen, isgenerator
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_tokenstream import LangChainInstrumentor, correlate, signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.testing import capture
from tests.patches.test_langchain import BROKEN, PIECES, chat

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_openai import ChatOpenAI

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

LATE = 0.3  # seconds between a stream and its first read


def _model(model: Any) -> Any:
    return model


def _group(model: Any) -> Any:
    return model.with_fallbacks([model])


def _chain(model: Any) -> Any:
    return model | StrOutputParser()


BOTH = pytest.mark.parametrize("around", [_model, _group])
ALL = pytest.mark.parametrize("around", [_model, _group, _chain])


@pytest.fixture
def model(provider: ScriptedProvider) -> ChatOpenAI:
    return chat(provider)


# --- Time and place -------------------------------------------------------------------------


def _is_quick(captured: Capture) -> None:
    (generation,) = captured.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] < LATE * 1000
    assert generation.span.end_time - generation.span.start_time < LATE * 1e9
    assert generation.attributes[signals.CHUNKS] == len(PIECES) + 3


@BOTH
def test_a_stream_that_is_read_late_is_timed_from_its_first_read(
    model: ChatOpenAI, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    stream = around(model).stream("Why?")
    time.sleep(LATE)

    list(stream)

    _is_quick(tokenstream)


@BOTH
async def test_an_async_stream_that_is_read_late_is_timed_from_its_first_read(
    model: ChatOpenAI, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    stream = around(model).astream("Why?")
    await asyncio.sleep(LATE)

    _ = [chunk async for chunk in stream]

    _is_quick(tokenstream)


@BOTH
def test_a_stream_that_is_read_elsewhere_belongs_to_the_span_it_was_made_under(
    model: ChatOpenAI, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    tracer = tokenstream.tracer_provider.get_tracer("program")
    with tracer.start_as_current_span("made here") as made, correlate(request_id="of here"):
        stream = around(model).stream("Why?")
    with tracer.start_as_current_span("read here"), correlate(request_id="of there"):
        list(stream)

    (generation,) = tokenstream.generations
    assert generation.span.parent is not None
    assert generation.attributes["tokenstream.request_id"] == "of here"
    parents = {each.context.span_id: each.parent and each.parent.span_id for each in tokenstream.spans}
    above = generation.span.parent.span_id
    assert made.get_span_context().span_id in (above, parents[above])


async def test_an_async_stream_that_another_task_reads_belongs_to_the_span_it_was_made_under(
    model: ChatOpenAI, tokenstream: Capture
) -> None:
    streams: asyncio.Queue[Any] = asyncio.Queue()

    async def read() -> None:
        _ = [chunk async for chunk in await streams.get()]

    task = asyncio.create_task(read())
    with tokenstream.tracer_provider.get_tracer("program").start_as_current_span("made here") as made:
        streams.put_nowait(model.astream("Why?"))
    await task

    (generation,) = tokenstream.generations
    assert generation.span.parent.span_id == made.get_span_context().span_id


# --- Streams that are never read --------------------------------------------------------------


@ALL
def test_a_stream_that_is_never_read_is_no_call(
    model: ChatOpenAI, provider: ScriptedProvider, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    before = len(provider.log.exchanges())

    dropped, closed = around(model).stream("Why?"), around(model).stream("Why?")
    del dropped
    closed.close()

    assert list(closed) == []
    assert len(provider.log.exchanges()) == before
    assert tokenstream.generations == []
    assert in_flight.snapshot() == []


@BOTH
async def test_an_async_stream_that_is_never_read_is_no_call(
    model: ChatOpenAI, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    dropped, closed = around(model).astream("Why?"), around(model).astream("Why?")
    del dropped
    await closed.aclose()

    assert [chunk async for chunk in closed] == []
    assert tokenstream.generations == []


def test_a_stream_into_which_an_exception_is_thrown_first_is_no_call(model: ChatOpenAI, tokenstream: Capture) -> None:
    stream = model.stream("Why?")

    with pytest.raises(KeyError):
        stream.throw(KeyError("mine"))

    assert list(stream) == []
    assert tokenstream.generations == []


@BOTH
def test_a_stream_that_is_made_while_suppressed_is_no_call(
    model: ChatOpenAI, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    with suppress_instrumentation():
        stream = around(model).stream("Why?")
        assert "".join(chunk.content for chunk in stream) == "abc"

    assert tokenstream.generations == []


def test_a_stream_whose_first_read_comes_after_uninstrumenting_is_no_call() -> None:
    with capture() as captured:
        stream = GenericFakeChatModel(messages=iter(["a b"])).stream("Why?")
        LangChainInstrumentor().uninstrument()
        assert "".join(chunk.content for chunk in stream) == "a b"
        stream.close()

    assert captured.generations == []


# --- The program has its generator ------------------------------------------------------------


def test_a_stream_is_a_generator_before_and_after_its_first_read(model: ChatOpenAI, tokenstream: Capture) -> None:
    stream = model.stream("Why?")

    assert isgenerator(stream)
    assert isinstance(stream, GeneratorType)
    assert iter(stream) is stream
    assert (stream.gi_running, stream.gi_suspended, stream.gi_frame is None) == (False, False, False)
    with pytest.raises(TypeError, match="just-started generator"):
        stream.send("something")
    assert tokenstream.generations == []
    next(stream)
    assert stream.gi_frame is not None
    stream.close()
    assert stream.gi_frame is None
    with pytest.raises(StopIteration):
        next(stream)
    assert [each.outcome for each in tokenstream.generations] == ["closed"]


async def test_an_async_stream_is_a_generator_before_and_after_its_first_read(
    model: ChatOpenAI, tokenstream: Capture
) -> None:
    stream = model.astream("Why?")

    assert isasyncgen(stream)
    assert (stream.ag_running, stream.ag_frame is None) == (False, False)
    await anext(stream)
    await stream.aclose()
    assert stream.ag_frame is None
    assert [each.outcome for each in tokenstream.generations] == ["closed"]


def test_a_stream_that_is_sent_none_is_read(model: ChatOpenAI, tokenstream: Capture) -> None:
    def relayed() -> Any:
        yield from model.stream("Why?")

    stream, sent = model.stream("Why?"), []
    with suppress(StopIteration):
        while True:
            sent.append(stream.send(None))

    assert [chunk.content for chunk in sent] == [chunk.content for chunk in relayed()]
    for generation in tokenstream.generations:
        assert generation.outcome == "completed"
        assert generation.attributes[signals.CHUNKS] == len(PIECES) + 3


async def test_an_async_stream_that_is_sent_none_is_read(model: ChatOpenAI, tokenstream: Capture) -> None:
    stream = model.astream("Why?")
    with suppress(StopAsyncIteration):
        while True:
            await stream.asend(None)

    _is_quick(tokenstream)


@BOTH
def test_a_first_read_that_fails_is_a_failed_call(
    provider: ScriptedProvider, tokenstream: Capture, around: Callable[[Any], Any]
) -> None:
    stream = around(chat(provider, BROKEN)).stream("Why?")

    with pytest.raises(Exception, match="fails here"):
        next(stream)

    assert list(stream) == []
    assert [each.outcome for each in tokenstream.generations] == ["failed"]
