from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing, suppress
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

import pytest
import wrapt
from opentelemetry.context import get_current, set_value

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.stream_proxy import proxy
from tests.core.calls import Pull, aletters, letters

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import Self

    from tests.core.calls import Ends

SPECIAL = ("__iter__", "__next__", "__aiter__", "__anext__", "__enter__", "__exit__", "__aenter__", "__aexit__")


# --- What the caller sees --------------------------------------------------------------------


def test_proxy_answers_to_its_streams_class(ends: Ends) -> None:
    """isinstance(), ABCs and inspect see the stream's own class."""
    assert isinstance(ends.around(Pull()), Pull)
    generator = ends.around(letters())
    assert isinstance(generator, GeneratorType)
    assert isinstance(generator, Iterator)
    assert inspect.isgenerator(generator)
    agenerator = ends.around(aletters())
    assert isinstance(agenerator, AsyncGeneratorType)
    assert isinstance(agenerator, AsyncIterator)


def test_proxy_around_another_proxy_answers_to_the_streams_class(ends: Ends) -> None:
    """Another instrumentation may have put one around the stream before ours."""
    stream = ends.around(wrapt.ObjectProxy(Pull()))

    assert isinstance(stream, Pull)
    assert "".join(stream) == "abc"


@pytest.mark.parametrize("make", [Pull, letters, aletters, lambda: iter("abc"), lambda: iter([1])])
def test_proxy_has_exactly_the_special_methods_of_its_stream(ends: Ends, make: Any) -> None:
    """Nothing can be done with the proxy that could not be done with the stream, and the other way round."""
    stream = make()
    ours = ends.around(stream)

    for name in SPECIAL:
        assert hasattr(type(ours), name) == hasattr(type(stream), name), name


class Shelf(Pull):
    """A stream with special methods of its own."""

    def __len__(self) -> int:
        return 3

    def __bool__(self) -> bool:
        return False

    def __getitem__(self, index: int) -> str:
        return "abc"[index]

    def __contains__(self, letter: object) -> bool:
        return letter == "a"

    def __call__(self, *, times: int) -> str:
        return self.label * times

    def __iadd__(self, label: str) -> Self:
        self.label += label
        return self

    def __class_getitem__(cls, item: object) -> str:
        return f"of {item}"


def test_further_special_methods_are_the_streams(ends: Ends) -> None:
    """Length, truth, items, calls and operators; what belongs to the class stays with the class."""
    stream = Shelf()
    ours = shelf = ends.around(stream)

    assert (len(shelf), bool(shelf), shelf[1], "a" in shelf, "b" in shelf) == (3, False, "b", True, False)
    assert callable(shelf)
    assert shelf(times=2) == "minemine"
    shelf += "!"
    assert shelf is ours
    assert stream.label == "mine!"
    assert not hasattr(type(shelf), "__class_getitem__")
    assert list(shelf) == ["a", "b", "c"]
    assert ends.outcomes == ["completed"]


class Odd(Pull):
    """Special methods of every kind of callable."""

    __len__ = staticmethod(lambda: 3)  # type: ignore[assignment]  # called without the object
    __contains__ = classmethod(lambda cls, letter: letter in cls.__name__)
    __float__ = functools.partial(float, "1.5")
    __getitem__ = functools.partialmethod(lambda self, of, index: (self.label, of, index), "item")
    __index__ = int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and self.label == other.label

    def __str__(self) -> str:
        return "odd"

    __hash__ = None  # type: ignore[assignment]  # mutable


def test_special_methods_are_the_streams_whatever_kind_of_callable_they_are(ends: Ends) -> None:
    """Static, of the class, partial, written in C; and those that every object has, where the stream has its own."""
    stream = Odd()
    ours = ends.around(stream)

    assert (len(ours), "O" in ours, "a" in ours, ours[7]) == (3, True, False, ("mine", "item", 7))
    assert (float(ours), range(3)[ours]) == (1.5, 0)
    assert (ours == ours, ours == stream, ours == Odd(), str(ours)) == (True, True, True, "odd")  # noqa: PLR0124
    with pytest.raises(TypeError, match="unhashable"):
        hash(ours)


def test_a_class_that_was_made_for_one_stream_is_not_kept(ends: Ends) -> None:
    """Some versions of litellm's router make one in a function, whose variables its methods hold."""

    class Connection:
        pass

    def opened() -> tuple[Any, weakref.ref[Connection]]:
        connection = Connection()

        class Stream:
            def __next__(self) -> Connection:
                return connection

        return Stream(), weakref.ref(connection)

    stream, connection = opened()
    proxied = ends.around(stream)
    next(proxied)
    del proxied, stream
    gc.collect()
    assert connection() is None


def test_a_stream_is_finalized_by_itself(ends: Ends) -> None:
    """Its ``__del__`` is called once, and not for the proxy."""
    finalized = []

    class Finalized(Pull):
        def __del__(self) -> None:
            finalized.append(1)

    stream = ends.around(Finalized())
    del stream

    assert finalized == [1]
    assert ends.outcomes == ["abandoned"]


@pytest.mark.parametrize("make", [Pull, letters, aletters])
def test_a_stream_without_them_gets_none(ends: Ends, make: Any) -> None:
    """An object without a length has none with us."""
    for name in ("__len__", "__bool__", "__getitem__", "__contains__", "__call__", "__await__", "__iadd__"):
        assert not hasattr(make(), name)
        assert name not in dir(type(ends.around(make())))


class Opened:
    """A stream that is opened by awaiting it, and hands itself out as its bytes."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error
        self._letters = iter("abc")
        self.status = 0

    def __await__(self) -> Generator[Any, None, Opened]:
        yield from asyncio.sleep(0).__await__()
        if self._error is not None:
            raise self._error
        self.status = 200
        return self

    def aiter_bytes(self, size: int | None = None) -> Any:
        return self if size is None else [size]

    def __aiter__(self) -> Opened:
        return self

    async def __anext__(self) -> str:
        for letter in self._letters:
            return letter
        raise StopAsyncIteration


async def test_a_stream_that_gives_itself_gives_the_proxy(ends: Ends) -> None:
    """Awaited, or asked for its bytes: what is read then is counted."""
    stream = Opened()
    ours = ends.around(stream)

    assert await ours is ours
    assert stream.status == 200
    assert ours.aiter_bytes(7) == [7]
    assert [letter async for letter in ours.aiter_bytes()] == ["a", "b", "c"]
    assert ends.outcomes == ["completed"]
    assert ends.calls[0].timeline.chunks == 3


async def test_a_stream_that_cannot_be_opened_has_failed(ends: Ends) -> None:
    """The error is the caller's, and the end of the call."""
    ours = ends.around(Opened(ValueError("no")))
    with pytest.raises(ValueError, match="no"):
        await ours

    assert ends.outcomes == ["failed"]
    assert ends.calls[0].error_type == "ValueError"


async def test_opening_can_be_cancelled(ends: Ends) -> None:
    """A task that is cancelled while it waits for the stream has cancelled the call; one that is dropped left it."""
    ours = ends.around(Opened())

    async def opening() -> None:
        await ours

    task = asyncio.create_task(opening())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    dropped = ends.around(Opened()).__await__()
    next(dropped)
    dropped.close()

    assert ends.outcomes == ["cancelled", "abandoned"]


def test_attributes_are_read_set_and_deleted_on_the_stream(ends: Ends) -> None:
    """The proxy keeps no attributes of its own."""
    stream = Pull()
    ours = ends.around(stream)

    ours.label = "theirs"
    ours.more = 1
    assert (stream.label, stream.more, ours.label) == ("theirs", 1, "theirs")
    del ours.more
    assert not hasattr(stream, "more")
    assert vars(ours) is vars(stream)
    assert dir(ours) == dir(stream)
    assert repr(ours) == repr(stream)
    with pytest.raises(AttributeError, match="'Pull' object has no attribute 'missing'"):
        ours.missing  # noqa: B018


def test_a_copy_is_a_copy_of_the_stream(ends: Ends) -> None:
    """copy() gives what it gives without us: a stream of the same class, with no end to report."""
    stream = ends.around(Pull())

    copied = copy.copy(stream)

    assert type(copied) is Pull
    assert copied.label == "mine"
    with pytest.raises(TypeError, match="generator"):
        copy.copy(ends.around(letters()))


def test_proxy_can_be_referred_to_weakly(ends: Ends) -> None:
    """A program that keeps its streams in a WeakSet goes on doing so."""
    stream = ends.around(Pull())

    assert weakref.ref(stream)() is stream


def test_chunks_are_the_same_objects(ends: Ends) -> None:
    """The caller is given the very chunks of the library."""
    chunks = [object(), object()]
    call = ends.call()

    assert all(ours is theirs for ours, theirs in zip(proxy(iter(chunks), call, None), chunks, strict=True))


def test_iterating_gives_the_stream_itself_where_the_library_does(ends: Ends) -> None:
    """iter() and aiter() of a stream that is its own iterator return the proxy."""
    stream = ends.around(Pull())

    assert iter(stream) is stream
    assert stream.__aiter__() is stream


class Separate:
    """A stream whose iterators are objects of their own, like the OpenAI SDK's."""

    def __init__(self) -> None:
        self._letters = iter("abcdef")
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        yield from self._letters

    async def __aiter__(self) -> AsyncIterator[str]:
        for letter in self._letters:
            yield letter

    def close(self) -> None:
        self.closed = True


async def test_a_separate_iterator_is_measured_like_the_stream(ends: Ends) -> None:
    """Chunks count and the end is seen when the library iterates by another object."""
    assert "".join(ends.around(Separate())) == "abcdef"
    assert "".join([letter async for letter in ends.around(Separate())]) == "abcdef"

    assert ends.outcomes == ["completed", "completed"]
    assert [call.timeline.chunks for call in ends.calls] == [6, 6]


def test_final_values_are_read_at_the_end_of_a_separate_iterator(ends: Ends) -> None:
    """The stream itself is asked, once, when what iterates it ends."""
    stream, known = Separate(), []
    list(ends.around(stream, known.append))

    assert known == [stream]


@pytest.mark.parametrize("error", [None, ConnectionError])
async def test_outside_of_reads_nothing_of_ours_is_current(ends: Ends, error: type[Exception] | None) -> None:
    """Neither between reads nor after the last one, however that ends, and nobody waits for the provider."""
    before = get_current()

    def opened() -> Any:
        call = ends.call()
        call.context = set_value("the call's", call)
        return proxy(Pull("ab", error and error()), call, call.text)

    def outside() -> bool:
        return get_current() is before and not any(call.read_started for call in in_flight.snapshot())

    with suppress(ConnectionError):
        for _ in opened():
            assert outside()
    assert outside()
    with suppress(ConnectionError):
        async for _ in opened():
            assert outside()
    assert outside()
    assert len(ends.outcomes) == 2


def test_leaving_a_separate_iterator_is_not_the_end_of_its_stream(ends: Ends) -> None:
    """A loop that was left can be taken up again, and what ends the stream is what counts."""
    stream = ends.around(Separate())

    for letter in stream:
        if letter == "b":
            break
    assert ends.outcomes == []
    assert "".join(stream) == "cdef"
    assert ends.outcomes == ["completed"]
    left = ends.around(Separate())
    for _ in left:
        break
    left.close()
    assert ends.outcomes == ["completed", "closed"]


def test_a_stream_lives_as_long_as_its_separate_iterator(ends: Ends) -> None:
    """Dropping the stream while its iterator is read ends nothing; dropping both does."""
    iterator = iter(ends.around(Separate()))

    assert [next(iterator), next(iterator)] == ["a", "b"]
    assert ends.outcomes == []
    del iterator
    assert ends.outcomes == ["abandoned"]


# --- Ends ------------------------------------------------------------------------------------


def test_an_exhausted_stream_ends_once(ends: Ends) -> None:
    """Asking again after the end raises StopIteration again and reports nothing again."""
    stream = ends.around(letters())

    assert list(stream) == ["a", "b", "c"]
    assert list(stream) == []
    stream.close()
    del stream
    assert ends.outcomes == ["completed"]


async def test_an_exhausted_async_stream_ends_once(ends: Ends) -> None:
    """The same for async iteration."""
    stream = ends.around(aletters())

    assert [letter async for letter in stream] == ["a", "b", "c"]
    assert [letter async for letter in stream] == []
    await stream.aclose()
    del stream
    assert ends.outcomes == ["completed"]


@pytest.mark.parametrize("error", [ValueError("theirs"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_of_the_stream_reaches_the_caller_as_the_same_object(ends: Ends, error: BaseException) -> None:
    """What the library raises is raised, unwrapped, with its own traceback below."""
    with pytest.raises(type(error)) as raised:
        list(ends.around(Pull(error=error)))

    assert raised.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert ends.outcomes == ["failed" if isinstance(error, Exception) else "cancelled"]
    assert ends.calls[0].timeline.chunks == 3
    assert ends.calls[0].error_type == ("ValueError" if isinstance(error, ValueError) else None)


async def test_an_exception_of_an_async_stream_reaches_the_caller_as_the_same_object(ends: Ends) -> None:
    """The same for async iteration."""
    error = ValueError("theirs")
    with pytest.raises(ValueError, match="theirs") as raised:
        [letter async for letter in ends.around(Pull(error=error))]

    assert raised.value is error
    assert ends.outcomes == ["failed"]


def test_reading_on_after_a_failure_changes_nothing_more(ends: Ends) -> None:
    """A stream that can go on after an error is read on by its caller; the call has ended with the error."""

    class Resumes(Pull):
        def __next__(self) -> str:
            self.reads = getattr(self, "reads", 0) + 1
            if self.reads == 2:
                raise ConnectionError
            return "x"

    stream = ends.around(Resumes())
    next(stream)
    with pytest.raises(ConnectionError):
        next(stream)
    (call,) = ends.calls
    ended = (call.outcome, call.timeline.chunks, call.first_token)
    for _ in range(100):
        assert next(stream) == "x"
    stream.close()

    assert ends.outcomes == ["failed"]
    assert (call.outcome, call.timeline.chunks, call.first_token) == ended
    assert not call._block


def test_closing_ends_the_stream_once_and_returns_the_librarys_result(ends: Ends) -> None:
    """close() twice closes the library's stream twice, as without us, and ends the call once."""
    inner = Pull()
    stream = ends.around(inner)
    next(stream)

    assert stream.close() == "closed"
    assert stream.close() == "closed"
    assert inner.closed == 2
    assert ends.outcomes == ["closed"]


def test_a_read_that_fails_because_another_thread_closes_is_no_failure(ends: Ends) -> None:
    """The reader gets the library's error; how the stream ended is what the other thread did."""
    reading, closed = threading.Event(), threading.Event()
    errors = []

    class Connection:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> str:
            reading.set()
            closed.wait()
            raise OSError

        def close(self) -> None:
            closed.set()
            reader.join()

    def read() -> None:
        try:
            next(stream)
        except OSError as error:
            errors.append(error)

    stream = ends.around(Connection())
    reader = threading.Thread(target=read)
    reader.start()
    reading.wait()
    stream.close()

    assert len(errors) == 1
    assert ends.outcomes == ["closed"]
    assert ends.calls[0].error_type is None


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_with_blocks_end_the_stream(ends: Ends, error: type[BaseException] | None) -> None:
    """Leaving a with block is closing, Ctrl-C inside it is cancelling; the stream's own exit runs."""
    inner = Pull()
    with suppress(BaseException), ends.around(inner) as stream:
        assert isinstance(stream, Pull)
        next(stream)
        if error is not None:
            raise error

    assert inner.closed == 1
    assert ends.outcomes == ["cancelled" if error is KeyboardInterrupt else "closed"]


async def test_async_with_and_aclosing_end_the_stream(ends: Ends) -> None:
    """async with, aclosing() and closing() are a deliberate close."""
    async with ends.around(Pull()) as stream:
        await stream.__anext__()
    async with aclosing(ends.around(aletters())) as stream:
        await stream.__anext__()
    with closing(ends.around(letters())) as stream:
        next(stream)

    assert ends.outcomes == ["closed", "closed", "closed"]


def test_dropping_the_stream_ends_it_at_once(ends: Ends) -> None:
    """The last reference gone, the call is abandoned, without waiting for the collector."""
    for letter in ends.around(letters()):
        if letter == "b":
            break

    assert ends.outcomes == ["abandoned"]
    assert ends.calls[0].timeline.chunks == 2


def test_a_dropped_stream_still_reads_the_final_values(ends: Ends) -> None:
    """What is read from an ended stream is read from a dropped one too."""
    seen: list[Any] = []
    stream = ends.around(Pull(), closer=lambda inner: seen.append(inner.label))
    next(stream)
    del stream

    assert seen == ["mine"]
    assert ends.outcomes == ["abandoned"]


def test_a_drop_in_a_cycle_is_noted_while_the_collector_runs_and_finished_later(ends: Ends) -> None:
    """Under the collector nothing is recorded, since it may run inside any lock; the next call records it."""
    keeper: dict[str, Any] = {"stream": ends.around(letters())}
    keeper["self"] = keeper
    next(keeper["stream"])
    del keeper
    lock = threading.Lock()
    locked_at_end: list[bool] = []
    ends.finish = lambda call: (locked_at_end.append(lock.locked()), ends.calls.append(call))  # type: ignore[method-assign]

    with lock:
        gc.collect()
        assert ends.outcomes == []
    in_flight.finish_dropped()

    assert ends.outcomes == ["abandoned"]
    assert locked_at_end == [False]


def test_a_stream_that_another_thread_reads_ends_once(ends: Ends) -> None:
    """Reads from several threads, one after the other, belong to one call."""
    stream = ends.around(letters("abcd"))
    read: list[str] = []
    for _ in range(6):
        thread = threading.Thread(target=lambda: read.extend(filter(None, [next(stream, "")])))
        thread.start()
        thread.join()

    assert read == ["a", "b", "c", "d"]
    assert ends.outcomes == ["completed"]


# --- Cancelled reads -------------------------------------------------------------------------


async def endless(reading: asyncio.Event) -> AsyncIterator[str]:
    yield "a"
    reading.set()
    await asyncio.Event().wait()


async def test_cancelling_a_pending_read_ends_the_stream_cancelled(ends: Ends, caplog: Any) -> None:
    """A task cancelled in mid-read gets its CancelledError and the call its outcome; the context is whole."""
    reading = asyncio.Event()

    async def consume() -> None:
        async for _ in ends.around(endless(reading)):
            pass

    task = asyncio.create_task(consume())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ends.outcomes == ["cancelled"]
    assert ends.calls[0].timeline.chunks == 1
    assert caplog.records == []


async def test_a_time_out_around_a_read_is_a_cancellation(ends: Ends) -> None:
    """wait_for() raises its TimeoutError to the caller and cancels the read."""
    stream = ends.around(endless(asyncio.Event()))
    await stream.__anext__()

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(stream.__anext__(), 0.005)

    assert ends.outcomes == ["cancelled"]


class Never:
    """Waits for ever, without an event loop."""

    def __await__(self) -> Iterator[None]:
        yield


async def silent() -> AsyncIterator[str]:
    yield "a"
    await Never()


def test_a_pending_read_that_is_dropped_is_abandoned_without_a_word(ends: Ends, caplog: Any) -> None:
    """A coroutine closed in another context than its own detaches nothing there."""
    stream = ends.around(silent())
    with pytest.raises(StopIteration, match="a"):
        stream.__anext__().send(None)
    reading = stream.__anext__()
    reading.send(None)
    thread = threading.Thread(target=reading.close)
    thread.start()
    thread.join()

    assert ends.outcomes == ["abandoned"]
    assert caplog.records == []


async def test_closing_while_a_task_is_cancelled_is_a_cancellation(ends: Ends) -> None:
    """A stream closed on the way out of a cancelled task was cancelled, not closed by choice."""
    reached = asyncio.Event()

    async def consume() -> None:
        async with aclosing(ends.around(aletters())) as stream:
            await stream.__anext__()
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ends.outcomes == ["cancelled"]


# --- Faults of ours --------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["read", "close"])
def test_a_fault_in_reading_or_closing_never_reaches_the_caller(ends: Ends, broken: str) -> None:
    """The caller's loop sees its chunks whatever our readers do, and the call ends with its outcome."""

    def fail(*_: Any) -> None:
        raise RuntimeError

    call = ends.call()
    stream = proxy(letters(), call, fail if broken == "read" else call.text, fail if broken == "close" else None)

    assert list(stream) == ["a", "b", "c"]
    assert ends.outcomes == ["completed"]
