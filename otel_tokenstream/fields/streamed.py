"""The choice of output fields to stream from programs that do not stream.

The wish travels in a context variable and, for decorated classes, stands on the class: never on
a module, which several calls may share at a time.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.fields.expected import ALL, expected_fields
from otel_tokenstream.setting_kinds import field_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from types import TracebackType

    Program = TypeVar("Program", bound=type)

_ON_CLASS = "_tokenstream_fields"  # on the class alone: instances are copied, pickled and saved without it
_allowed, _checked = field_list()


class _Wish:
    """One entered ``stream_fields``. ``known`` turns True once a program was found to have the fields."""

    __slots__ = ("by", "by_class", "fields", "known", "outer")

    def __init__(self, fields: frozenset[str], outer: _Wish | None, by: stream_fields | None) -> None:
        self.fields = fields
        self.outer = outer
        self.by = by
        self.by_class = by is None
        self.known = False


_wish: ContextVar[_Wish | None] = ContextVar("otel_tokenstream_stream_fields", default=None)


class stream_fields:  # noqa: N801  # reads as a verb where it is used
    """Have DSPy's model calls made as streams, and tell the tokens of these output fields as they come.

        with stream_fields(["answer"]):
            prediction = program(question=question)

        @stream_fields(["reasoning", "answer"])
        class Program(dspy.Module): ...

    The program gets the prediction it would get without. Only calls whose signature has a listed
    field are streamed; ``"*"`` is every call, an empty list none. The innermost ``with`` counts,
    also in ``forward``; where there is none, the innermost decorated class; at last
    ``OTEL_TOKENSTREAM_DSPY_STREAM``.

    Raises:
        ValueError: a name cannot be one of a field; when a program is called that has no such
            field, with the names of those it has.
        TypeError: what is decorated is no class of DSPy modules.

    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[str] | str) -> None:
        try:
            self._fields = _checked(fields if isinstance(fields, str) else list(fields))
        except (TypeError, ValueError):
            message = f"stream_fields({fields!r}) is not allowed: it takes {_allowed}"
            raise ValueError(message) from None

    def __call__(self, program: Program) -> Program:
        if not (isinstance(program, type) and callable(getattr(program, "named_predictors", None))):
            message = (
                "stream_fields(...) decorates a class of DSPy modules; around calls of anything else write "
                "`with stream_fields(...):`"
            )
            raise TypeError(message)
        setattr(program, _ON_CLASS, self._fields | vars(program).get(_ON_CLASS, frozenset()))
        return program

    def __enter__(self) -> None:
        _wish.set(_Wish(self._fields, _wish.get(), self))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        wish = _wish.get()
        # A generator that is dropped unwinds in whatever context it is dropped in.
        if wish is not None and wish.by is self:
            _wish.set(wish.outer)

    def __repr__(self) -> str:
        return f"stream_fields({sorted(self._fields)!r})"


def wanted(default: frozenset[str]) -> frozenset[str] | None:
    """Return the listed fields of the model call in progress; None where it is to be made as it is."""
    wish = _wish.get()
    listed = default if wish is None else wish.fields
    if ALL in listed:
        return listed
    return listed.intersection(expected_fields()) or None


def calling(program: object, known: Callable[[], frozenset[str] | None]) -> _Calling:
    """Return a context manager for a module's call. ``known`` gives the output fields of the program it is part of."""
    return _Calling(getattr(type(program), _ON_CLASS, None), type(program).__name__, known)


class _Calling:
    """Holds a decorated class's wish during the call of one of its modules, and refuses unknown fields."""

    __slots__ = ("_known", "_name", "_wish")

    def __init__(self, listed: frozenset[str] | None, name: str, known: Callable[[], frozenset[str] | None]) -> None:
        outer = _wish.get()
        holds = listed is not None and (outer is None or outer.by_class)
        self._wish = _Wish(listed, outer, None) if listed is not None and holds else None
        self._name = name
        self._known = known

    def __enter__(self) -> None:
        wish = self._wish or _wish.get()
        if wish is not None and not wish.known:
            self._check(wish)
        if self._wish is not None:
            _wish.set(self._wish)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._wish is not None and _wish.get() is self._wish:
            _wish.set(self._wish.outer)

    def _check(self, wish: _Wish) -> None:
        known = self._known() if wish.fields and ALL not in wish.fields else None
        unknown = wish.fields - known if known else None
        if unknown and known:
            message = (
                f"{self._name} has no output field {', '.join(sorted(unknown))}, which stream_fields lists; "
                f"it has {', '.join(sorted(known))}"
            )
            raise ValueError(message)
        wish.known = True


def resumed(wish: _Wish | None) -> AbstractContextManager[object]:
    """Hold, in another thread, what held where the work was handed over."""
    return set_contextvar(_wish, wish)


def current() -> _Wish | None:
    return _wish.get()
