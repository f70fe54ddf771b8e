"""Exceptions of signal handlers, raised at any time, with collections and drops of streams under way."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.runtime.guard import fault, faults, guarded
from tests.core.calls import Ends, letters

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers by signal")

# Raises ERROR at random times within WORK, and prints how many of these did not reach it as they were raised.
PROGRAM = """
import gc, random, signal, sys
sys.path.insert(0, {root!r})
from tests.core.calls import Ends, letters

class StoppedError(Exception):
    def __init__(self, reason, number):
        super().__init__(reason, number)

ends = Ends()
{work}

drawn, fired, raised, ignored = random.Random(1), 0, 0, []
sys.unraisablehook = ignored.append
def handler(signum, frame):
    global fired, newest
    fired += 1
    newest = {error}("stop", fired)
    raise newest
signal.signal(signal.SIGALRM, handler)
def interrupted(before):
    signal.setitimer(signal.ITIMER_REAL, drawn.uniform(0.00005, 0.003))
    while fired == before:
        work()
    for _ in range(10):  # what is raised after a finalizer comes with the next steps of the program
        pass
for _ in range({times}):
    try:
        interrupted(fired)
    except {error} as error:
        raised += error is newest and error.args == ("stop", fired)
print(fired, raised, len(ignored))
"""

WORK = {
    "collections": """
        kept = [[] for _ in range(200_000)]
        work = gc.collect
    """,
    "streams in cycles": """
        def work():
            cycle = [ends.around(letters())]
            next(cycle[0])
            cycle.append(cycle)
            del cycle
            gc.collect(0)
    """,
    "streams that are read": """
        def work():
            list(ends.around(letters()))
    """,
    "streams that are dropped": """
        def work():
            ends.around(letters())
    """,
    "streams that are dropped while they are read": """
        def work():
            for _ in ends.around(letters()):
                break
    """,
    "streams that are dropped together": """
        def work():
            streams = [ends.around(letters()) for _ in range(50)]
            streams.clear()
    """,
}


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "StoppedError"])
@pytest.mark.parametrize("work", WORK)
def test_no_exception_of_a_signal_handler_is_lost(work: str, error: str, times: int) -> None:
    """It reaches the program wherever it comes, and is the one that was raised."""
    program = PROGRAM.format(
        root=str(Path(__file__).parents[3]), work=textwrap.dedent(WORK[work]), error=error, times=times
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)

    assert done.stdout.split() == [str(times), str(times), "0"], (done.stdout, done.stderr)


class StoppedError(Exception):
    """A timeout's, raised by a signal handler."""


def stop(*_: object) -> None:
    raise StoppedError


@pytest.fixture
def stopping() -> Iterator[Any]:
    """Raises when it is called, like a signal that arrives there."""
    before = signal.signal(signal.SIGUSR1, stop)
    yield lambda *_: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_an_exception_of_a_signal_handler_in_our_code_is_no_fault(stopping: Any) -> None:
    """A timeout that comes while a chunk is read reaches the loop; an error of ours does not."""
    before = sum(faults.values())

    with pytest.raises(StoppedError):
        guarded(stopping)()
    with pytest.raises(StoppedError):
        fault("here", raised_by(stopping))

    assert sum(faults.values()) == before


def raised_by(function: Any) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError


def test_an_interrupted_end_ends_the_call_all_the_same(ends: Ends, stopping: Any) -> None:
    """The signal's exception reaches who closes the stream; the call ends with what it was closed with."""
    stream = ends.around(letters(), stopping)
    next(stream)
    with pytest.raises(StoppedError):
        stream.close()

    assert ends.outcomes == ["closed"]


def test_a_drop_whose_end_is_interrupted_raises_where_it_was_dropped(ends: Ends, stopping: Any) -> None:
    """Python discards what is raised in a finalizer, so it is raised right after it."""
    before = [signal.getsignal(each) for each in signal.valid_signals()]
    streams = [ends.around(letters(), stopping)]
    next(streams[0])

    with pytest.raises(StoppedError):
        streams.clear()

    assert [signal.getsignal(each) for each in signal.valid_signals()] == before
    in_flight.finish_dropped()
    assert ends.outcomes == ["abandoned"]


def test_a_traced_program_gets_the_same_exception_of_a_drop(ends: Ends, stopping: Any) -> None:
    """Under a debugger or a coverage tool Python makes the asynchronous exception twice."""
    streams = [ends.around(letters(), stopping)]
    next(streams[0])
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        with pytest.raises(StoppedError):
            streams.clear()
    finally:
        sys.settrace(before)

    in_flight.finish_dropped()
    assert ends.outcomes == ["abandoned"]
