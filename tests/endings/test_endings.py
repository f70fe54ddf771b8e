"""Every way a stream ends, by every entry, with a fault in each of our hooks: the table is in table.py."""

from __future__ import annotations

import asyncio
import gc
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from entries import ENTRIES, Entry, said
from opentelemetry.trace import StatusCode
from table import ENDINGS, Ending

from otel_tokenstream import signals
from otel_tokenstream.core import open_calls, summary
from otel_tokenstream.core.generation import Generation
from otel_tokenstream.core.guard import faults
from otel_tokenstream.core.instruments import Instruments
from otel_tokenstream.core.telemetry import Recorder
from otel_tokenstream.core.timeline import Timeline
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

# What is broken, and where it is broken.
FAULTS: dict[str, tuple[tuple[object, str], ...]] = {
    "no fault": (),
    "the reader": ((Generation, "text"), (Generation, "chunk")),
    "the fold": ((Timeline, "extend"),),
    "the attributes": ((summary, "response_attributes"),),
    "the span's events": ((summary, "fit_events"),),
    "the recorder": ((Recorder, "_write_span"),),
    "the metrics": ((Instruments, "record"),),
}
CELLS = [
    pytest.param(ending, entry, fault, id=f"{ending.name}-{entry.name}-{fault}")
    for ending in ENDINGS
    for entry in ENTRIES
    if ending.exists_for(entry)
    for fault in FAULTS
]


@dataclass
class Run:
    """What the caller saw of one stream, and whether the provider saw its connection go soon."""

    chunks: list[Any]
    error: tuple[str, str] | None
    released: bool


def run(ending: Ending, entry: Entry, provider: ScriptedProvider, loop: Any, *, within: float) -> Run:
    """Leave a stream as the row says; wait for the connection's end, at most ``within`` seconds."""
    provider.reset()
    provider.scripts["test"] = ending.script
    chunks: list[Any] = []

    def seen(chunk: Any) -> int:
        chunks.append(said(chunk))
        return len(chunks)

    def leave() -> tuple[tuple[str, str] | None, bool]:
        try:
            ending.leave["sync"](entry.opener(provider, ending.timeout), seen)
        except BaseException as error:  # noqa: BLE001  # a cancellation is an ending too
            failure = _plain(error)
        else:
            failure = None
        return failure, _released(provider, within)

    async def aleave() -> tuple[tuple[str, str] | None, bool]:
        try:
            await ending.leave["async"](entry.opener(provider, ending.timeout), seen)
        except BaseException as error:  # noqa: BLE001  # a cancellation is an ending too
            failure = _plain(error)
        else:
            failure = None
        return failure, await asyncio.to_thread(_released, provider, within)

    error, released = loop.run_until_complete(aleave()) if entry.is_async else leave()
    gc.collect()
    open_calls.finish_dropped()
    return Run(chunks, error, released)


def _plain(error: BaseException) -> tuple[str, str]:
    # Numbers in messages are times, ports and addresses.
    return type(error).__qualname__, re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", str(error))


def _released(provider: ScriptedProvider, within: float) -> bool:
    try:
        provider.log.settled(1, within)
    except TimeoutError:
        return False
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
    """The same ending without us, run once for all faults."""
    return cache(lambda ending, entry: run(ending, entry, running_provider, loop, within=0.3))


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

    assert ours.chunks == without.chunks
    assert ours.error == without.error
    assert ours.released or not without.released

    assert (faults["Injected"] > faults_before) is (fault != "no fault" and bool(ours.chunks or fault != "the reader"))

    (generation,) = captured.generations
    outcome, raises = ending.expected(entry)
    said_of = generation.attributes
    assert generation.outcome == outcome
    assert (generation.span.status.status_code is StatusCode.ERROR) is raises
    assert not generation.span.status.description
    assert said_of.get(signals.ERROR_TYPE) == (ours.error[0] if raises and ours.error else None)
    if fault in ("the attributes", "the recorder"):
        return
    assert (said_of.get(signals.FINISH_REASONS) == ("error",)) is raises
    if fault in ("no fault", "the span's events", "the metrics"):
        assert said_of[signals.CHUNKS] == len(ours.chunks)
        assert (signals.TIME_TO_FIRST_CHUNK in said_of) is bool(ours.chunks)
    if fault == "no fault" and ours.chunks:
        assert sum(event.attributes.get(signals.AT_COUNT, 1) for event in generation.tokens) == len(ours.chunks)
