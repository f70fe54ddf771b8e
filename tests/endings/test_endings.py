"""Every way a stream ends, by every entry, with a fault in each of our hooks: the table is in table.py."""

from __future__ import annotations

import asyncio
import gc
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from opentelemetry.trace import StatusCode

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight, nesting
from otel_tokenstream.core.call.model_call import ModelCall
from otel_tokenstream.core.call.timeline import Timeline
from otel_tokenstream.core.content import correlation
from otel_tokenstream.core.emit import span_data
from otel_tokenstream.core.emit.instruments import Instruments
from otel_tokenstream.core.emit.recorder import Recorder
from otel_tokenstream.core.runtime.guard import faults
from otel_tokenstream.patches.litellm.hooks import attempts, calls, recovery
from otel_tokenstream.testing import capture
from tests.endings.entries import LAST, Entry, said
from tests.endings.litellm_ways import is_available
from tests.endings.table import ENDINGS, ENTRIES, Ending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

# What is broken, and where it is broken.
FAULTS: dict[str, tuple[tuple[object, str], ...]] = {
    "no fault": (),
    "the start": (
        (correlation, "correlation"),
        (nesting, "owned_elsewhere"),
        (nesting, "mark"),
        (nesting, "reading"),
        (in_flight, "arm"),
    ),
    "the attempts": ((attempts, "_AttemptScope"), (recovery, "_resume")),
    "the reader": ((ModelCall, "text"), (ModelCall, "chunk")),
    "the fold": ((Timeline, "extend"), (Timeline, "extend_run")),
    "the end": ((in_flight, "postponed"), (ModelCall, "blocked")),
    "the library's last word": ((calls, "finalize"),),
    "the attributes": ((span_data, "response_attributes"),),
    "the span's events": ((span_data, "fit_events"),),
    "the recorder": ((Recorder, "_write_span"),),
    "the metrics": ((Instruments, "record"),),
}
# Our hooks are the same for all entries but for the reader: with the others broken, all entries are left to slow runs.
OFTEN = ("no fault", "the reader")
# Broken in litellm's calls only, and in the second where there is a stream.
NOT_EVERYWHERE = ("the attempts", "the library's last word")


def _marks(entry: Entry, fault: str) -> list[pytest.MarkDecorator]:
    marks = [
        pytest.mark.skipif(not is_available(entry), reason="litellm needs its proxy extra, or a newer version, for it")
    ]
    return marks if entry.usual or fault in OFTEN else [*marks, pytest.mark.slow]


CELLS = [
    pytest.param(ending, entry, fault, id=f"{ending.name}-{entry.name}-{fault}", marks=_marks(entry, fault))
    for ending in ENDINGS
    for entry in ENTRIES
    if ending.exists_for(entry)
    for fault in FAULTS
]


class Failure(NamedTuple):
    """What a caller's exception says: its class, its text, and the classes of those it names as causes."""

    name: str
    text: str
    causes: tuple[str, ...]


@dataclass
class Run:
    """What the caller saw of one stream, and whether the provider saw its connection go soon."""

    said: list[str]
    chunks: int
    error: Failure | None
    released: bool
    waiting: bool
    """Whether a read counted as under way while the caller made none."""


def run(ending: Ending, entry: Entry, provider: ScriptedProvider, loop: Any, *, within: float) -> Run:
    """Leave a stream as the row says; wait for the connection's end, at most ``within`` seconds."""
    gc.freeze()  # the collections below are for this stream: they need not look at the libraries again
    provider.reset()
    provider.scripts[entry.model] = entry.script(ending.script)
    given: list[Any] = []
    waiting: list[bool] = []
    open_stream = entry.opener(provider, ending.timeout)

    def at_rest(result: Any) -> Any:
        waiting.extend(call.read_started > 0 for call in in_flight.snapshot())
        return result

    def opened() -> Any:
        return at_rest(open_stream())

    async def aopened() -> Any:
        return at_rest(await open_stream())

    def seen(chunk: Any) -> int:
        given.append(at_rest(chunk))
        return 2 if LAST in said(chunk) else 1

    seen.requests = provider.log.exchanges

    def leave() -> tuple[Failure | None, bool]:
        failure = None
        try:
            ending.leave["sync"](opened, seen)
        except Exception as error:  # noqa: BLE001  # compared with the bare run's
            failure = _failure(error)
        return failure, _released(provider, within)

    async def aleave() -> tuple[Failure | None, bool]:
        # In a task of its own, because DSPy's streams cancel the one that leaves them early.
        task = asyncio.create_task(ending.leave["async"](aopened, seen))
        await asyncio.wait([task])
        try:
            failure = task.exception() and _failure(task.exception())
        except asyncio.CancelledError as error:
            failure = _failure(error)
        del task  # with its traceback, which holds the stream
        released = await asyncio.to_thread(_released, provider, within)
        gc.collect()
        in_flight.finish_dropped()
        for _ in range(6_000):  # what DSPy streams underneath ends in a task of its own
            if not in_flight.snapshot():
                break
            await asyncio.sleep(0.01)
        return failure, released

    error, released = loop.run_until_complete(aleave()) if entry.is_async else leave()
    gc.collect()
    in_flight.finish_dropped()
    chunks = len(given)
    if given and isinstance(given[0], bytes):
        given = [b"".join(given)]  # how bytes are cut is the network's doing
    return Run([said(chunk) for chunk in given], chunks, error, released, any(waiting))


def _failure(error: BaseException) -> Failure:
    said = "" if isinstance(error, asyncio.CancelledError) else str(error)  # it names whatever was waited for
    text = re.sub(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+(\.\d+)?", "#", said)  # times, ports and addresses
    return Failure(type(error).__qualname__, text, tuple(type(cause).__qualname__ for cause in _causes(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    causes, cause = [error], error.__cause__
    while cause is not None and cause not in causes:  # a router's errors may name each other
        yield cause
        causes.append(cause)
        cause = cause.__cause__


def _released(provider: ScriptedProvider, within: float) -> bool:
    try:
        provider.log.settled(1, within)
    except TimeoutError:
        return not provider.log.exchanges()  # it left before its request did
    return True


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all cells: the libraries make their clients anew for each."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture(scope="module")
def bare(running_provider: ScriptedProvider, loop: Any) -> Any:
    """The same ending without us, run for all faults."""

    def twice(ending: Ending, entry: Entry) -> Run:
        first = run(ending, entry, running_provider, loop, within=0.3)
        if first.released:  # by chance where a thread of litellm's lets go of it just in time
            first.released = run(ending, entry, running_provider, loop, within=0.3).released
        return first

    return cache(twice)


class Injected(Exception):  # noqa: N818  # a name that nothing else counts
    pass


def fail(*_: Any, **__: Any) -> None:
    raise Injected


@pytest.mark.parametrize(("ending", "entry", "fault"), CELLS)
def test_ending(
    ending: Ending, entry: Entry, fault: str, provider: ScriptedProvider, loop: Any, bare: Any, monkeypatch: Any
) -> None:
    """One span with the right outcome and error; the caller sees what it sees without us, and the connection goes."""
    without = bare(ending, entry)
    faults_before = faults["Injected"]
    with capture() as captured:
        for place, name in FAULTS[fault]:
            monkeypatch.setattr(place, name, fail)
        ours = run(ending, entry, provider, loop, within=5.0 if without.released else 0.0)
    if without.released and not ours.released:  # by chance where a thread of litellm's holds it for a while
        with capture():
            ours.released = run(ending, entry, provider, loop, within=20.0).released

    if entry.relayed and ending.expected(entry) == "failed":  # how much of it DSPy's queue still hands on is chance
        common = min(len(ours.said), len(without.said))
        assert ours.said[:common] == without.said[:common]
    else:
        assert ours.said == without.said
    assert ours.error == without.error
    assert ours.released or not without.released

    if fault not in NOT_EVERYWHERE:
        reached = fault != "no fault" and bool(ours.chunks or fault != "the reader")
        assert (faults["Injected"] > faults_before) is reached

    (generation,) = captured.generations
    outcome, told = ending.expected(entry), generation.attributes
    if entry.ends_well and ours.error is None and outcome == "failed" and fault in NOT_EVERYWHERE:
        outcome = "completed"  # the stream below is what is not looked at then
    failed = outcome == "failed"
    assert generation.outcome == outcome
    assert (generation.span.status.status_code is StatusCode.ERROR) is failed
    assert not generation.span.status.description
    if not failed:
        assert signals.ERROR_TYPE not in told
    elif ours.error is None:  # it was content
        assert told[signals.ERROR_TYPE] == entry.error_type
    elif entry.relayed:  # the program raised another one
        assert told[signals.ERROR_TYPE].endswith(("Error", "Timeout"))
    else:
        assert told[signals.ERROR_TYPE] == ours.error.name
    if fault in ("the attributes", "the recorder"):
        return
    assert (told.get(signals.FINISH_REASONS) == ("error",)) is (outcome != "completed")
    if fault in ("no fault", "the span's events", "the metrics") and not (entry.relayed or entry.own_chunks):
        assert told[signals.CHUNKS] == ours.chunks
        assert (signals.TIME_TO_FIRST_CHUNK in told) is bool(ours.chunks)
    if fault == "no fault" and not (entry.relayed or entry.reads_on):
        assert not ours.waiting
    if fault == "no fault" and ours.chunks:
        assert sum(event.attributes.get(signals.AT_COUNT, 1) for event in generation.tokens) == told[signals.CHUNKS]
