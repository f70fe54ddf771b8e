"""Ends that no stream sees: interpreter exit and fork, each in a process of its own with a real exporter."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.stream_proxy import proxy
from tests.core.calls import letters

if TYPE_CHECKING:
    from pathlib import Path

    from tests.core.calls import Ends

# The exporter writes a line a span and refuses to after its shutdown, like one with a connection.
PROGRAM = """
import asyncio, gc, json, os, sys, threading
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.settings import Settings

class Lines(SpanExporter):
    open = True
    def export(self, spans):
        for span in spans if self.open else ():
            line = {"pid": os.getpid(), "outcome": span.attributes["tokenstream.outcome"],
                    "chunks": span.attributes["tokenstream.chunks"]}
            os.write(EXPORTED, (json.dumps(line) + "\\n").encode())
        return SpanExportResult.SUCCESS
    def shutdown(self):
        self.open = False

EXPORTED = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=60_000))
telemetry = Telemetry(Settings(), provider, MeterProvider([InMemoryMetricReader()]))

def opened(stream):
    call = telemetry.start(Request("chat", "scripted", "test", stream=True))
    call.read_started = 0
    return stream_proxy.proxy(stream, call, call.text)

def letters():
    while True:
        yield "x"

async def aletters():
    while True:
        yield "x"
        await asyncio.sleep(0)
"""

EXITS = {
    "module global": """
        stream = opened(letters()); next(stream)
    """,
    "cycle": """
        gc.disable()
        class Keeper: pass
        keeper = Keeper(); keeper.self = keeper; keeper.stream = opened(letters()); next(keeper.stream)
        del keeper
    """,
    "cycle that the collector found": """
        class Keeper: pass
        keeper = Keeper(); keeper.self = keeper; keeper.stream = opened(letters()); next(keeper.stream)
        del keeper
        gc.collect()
    """,
    "daemon thread": """
        reading = threading.Event()
        def read():
            stream = opened(letters())
            next(stream)
            reading.set()
            threading.Event().wait()
        threading.Thread(target=read, daemon=True).start()
        reading.wait()
    """,
    "SystemExit inside async for": """
        async def main():
            async for _ in opened(aletters()):
                sys.exit(3)
        asyncio.run(main())
    """,
    "pending task": """
        async def read(stream):
            await stream.__anext__()
            await asyncio.Event().wait()
        loop = asyncio.new_event_loop()
        task = loop.create_task(read(opened(aletters())))
        loop.run_until_complete(asyncio.sleep(0.01))
    """,
    "exception at the top": """
        stream = opened(letters()); next(stream)
        raise ValueError("the program's own")
    """,
}


def spans_of(program: str, tmp_path: Path) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    """The spans that were exported, and how the process ended."""
    exported = tmp_path / "exported"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program), str(exported)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    lines = exported.read_text().splitlines() if exported.exists() else []
    return [json.loads(line) for line in lines], done


@pytest.mark.parametrize("ending", EXITS)
def test_an_open_stream_is_exported_once_at_exit(ending: str, tmp_path: Path) -> None:
    """Whatever holds the stream when the interpreter goes, there is one span, and before the exporter is shut."""
    spans, done = spans_of(EXITS[ending], tmp_path)

    assert [(span["outcome"], span["chunks"]) for span in spans] in ([("abandoned", 1)], [("cancelled", 1)])
    expected = {"SystemExit inside async for": 3, "exception at the top": 1}.get(ending, 0)
    assert done.returncode == expected, done.stderr
    assert "otel_tokenstream" not in done.stderr


def test_a_second_providers_streams_are_exported_at_exit_too(tmp_path: Path) -> None:
    """A provider made after our first span shuts down before it: our exit handler must come before both."""
    spans, _ = spans_of(
        """
        first = opened(letters()); next(first)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=60_000))
        telemetry = Telemetry(Settings(), provider)
        second = opened(letters()); next(second)
        """,
        tmp_path,
    )

    assert len(spans) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_report_its_parents_streams(tmp_path: Path) -> None:
    """The child ends the inherited stream by every means and exits; the span comes from the parent, once."""
    spans, done = spans_of(
        """
        parent = os.getpid()
        stream = opened(letters()); next(stream)
        keeper = [opened(letters())]; keeper.append(keeper)
        if os.fork() == 0:
            stream.close()
            del stream, keeper
            gc.collect()
            sys.exit(0)
        os.wait()
        stream.close()
        provider.force_flush()
        print(parent)
        """,
        tmp_path,
    )

    parent = int(done.stdout)
    assert [(span["pid"], span["outcome"]) for span in spans] == [(parent, "closed"), (parent, "abandoned")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_streams_collected_before_a_fork_belong_to_the_parent(tmp_path: Path) -> None:
    """Ends that were noted and not told yet are told once; and the child's own are not only noted."""
    spans, done = spans_of(
        """
        from otel_tokenstream.core.call import in_flight
        stream = opened(letters()); next(stream)
        cycle = [stream]; cycle.append(cycle)
        del stream, cycle
        gc.collect()
        in_flight._collecting.add(threading.get_ident())  # as where a collection forks
        child = os.fork()
        if child == 0:
            mine = opened(letters()); next(mine); mine.close()
            assert not in_flight.snapshot()
            sys.exit(0)
        in_flight._collecting.clear()
        assert os.waitpid(child, 0)[1] == 0
        print(child)
        """,
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    child = int(done.stdout)
    assert sorted((span["pid"] == child, span["outcome"]) for span in spans) == [(False, "abandoned"), (True, "closed")]


def test_waiting_gaps_are_flushed_at_exit_after_the_last_call_has_ended(tmp_path: Path) -> None:
    """Open calls end first, so that what they leave behind is flushed too."""
    _, done = spans_of(
        """
        from otel_tokenstream.core.call import in_flight
        stream = opened(letters()); next(stream)
        in_flight.arm(lambda: os.write(1, f"{len(in_flight.snapshot())} open".encode()))
        """,
        tmp_path,
    )

    assert done.stdout == "0 open", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reports_its_own_streams_and_faults(tmp_path: Path) -> None:
    """Instrumentation goes on in the child, counting from zero."""
    spans, done = spans_of(
        """
        from otel_tokenstream.core.runtime.guard import fault, faults
        fault("the parent", ValueError())
        open_in_parent = opened(letters()); next(open_in_parent)
        child = os.fork()
        if child == 0:
            from otel_tokenstream.core.call import in_flight
            assert not faults and not in_flight.snapshot()
            mine = opened(letters()); next(mine)
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        print(child, status)
        """,
        tmp_path,
    )

    child, status = map(int, done.stdout.split())
    assert status == 0, done.stderr
    assert [span["pid"] == child for span in spans] == [True, False]


def test_finalizers_may_flush_and_make_calls(tmp_path: Path) -> None:
    """A ``__del__`` in the same garbage as a stream runs while ends are only noted, and must not wait for them."""
    spans, done = spans_of(
        """
        import otel_tokenstream
        class Session:
            def __del__(self):
                otel_tokenstream.flush(1.0)
                telemetry.start(Request("chat", "scripted", "test", stream=True)).end("closed")
        session = Session(); stream = opened(letters()); next(stream)
        cycle = [stream, session]; cycle.append(cycle)
        del session, stream, cycle
        gc.collect()
        """,
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert sorted(span["outcome"] for span in spans) == ["abandoned", "closed"]


def test_a_collection_whose_end_was_not_noted_costs_no_span(tmp_path: Path) -> None:
    """A signal handler that raises within the collector's callback, as soft time limits do, leaves it half done."""
    spans, done = spans_of(
        """
        from otel_tokenstream.core.call import in_flight
        in_flight._collecting.add(threading.get_ident())
        first = opened(letters()); next(first); first.close()
        second = opened(letters()); next(second); second.close()
        """,
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert [span["outcome"] for span in spans] == ["closed", "closed"]


def test_a_burst_of_dropped_streams_is_not_one_new_calls_to_record(ends: Ends) -> None:
    """The thread that makes the next call ends a few of them; the others wait for the next collection of metrics."""
    cycle: list[Any] = [ends.around(letters()) for _ in range(100)]
    for stream in cycle:
        next(stream)
    cycle.append(cycle)
    del cycle, stream
    gc.collect()

    ends.call().end("closed")
    assert 0 < ends.outcomes.count("abandoned") < 20
    in_flight.finish_dropped()
    assert ends.outcomes.count("abandoned") == 100


def test_the_price_of_a_stream_in_a_cycle_is_asked_for_after_the_collection(ends: Ends) -> None:
    """The library that knows it logs and locks, as the SDK does."""
    call, collecting = ends.call(), []

    def price(ended: Any) -> None:
        collecting.append(bool(in_flight._collecting))
        ended.cost_usd = 1.5

    call.at_end = price
    cycle: list[Any] = [proxy(letters(), call, call.text)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    in_flight.finish_dropped()

    assert collecting == [False]
    assert (call.cost_usd, ends.outcomes) == (1.5, ["abandoned"])
    assert call.at_end is None  # it may know what holds a connection open


def test_a_meter_provider_that_is_set_later_is_flushed_at_exit_too(tmp_path: Path) -> None:
    """Its own exit handler was registered after ours, and would shut it down first."""
    _, done = spans_of(
        """
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
        class Counted(MetricExporter):
            def export(self, data, *_, **__):
                (scope,) = data.resource_metrics[0].scope_metrics
                (streams,) = (metric for metric in scope.metrics if metric.name == "tokenstream.streams")
                os.write(1, f"{sum(point.value for point in streams.data.data_points)}\\n".encode())
                return MetricExportResult.SUCCESS
            def force_flush(self, *_): return True
            def shutdown(self, *_, **__): pass
        telemetry = Telemetry(Settings(), provider)
        first = opened(letters()); next(first); first.close()
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(Counted(), 60_000)]))
        second = opened(letters()); next(second)
        """,
        tmp_path,
    )

    assert done.stdout.split()[-1:] == ["1"], (done.stdout, done.stderr)


def test_calls_are_open_from_their_start_to_their_end(ends: Ends) -> None:
    """Exactly the open calls are in the snapshot that gauges are computed from."""
    before = len(in_flight.snapshot())
    stream = ends.around(letters())
    assert len(in_flight.snapshot()) == before + 1
    stream.close()
    assert len(in_flight.snapshot()) == before
