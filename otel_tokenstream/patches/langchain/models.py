"""The methods of each model's own class: its stream, whose reads are the provider's time, and its plain answer.

A class is prepared when one of its models is first called, whenever it was made. LangChain's own
base classes stay as they are, ``BaseChatModel`` and ``BaseLLM``: whether a class has replaced their
``_stream`` tells LangChain whether its models stream.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from functools import wraps
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.interrupted_read import put_outside_reads
from otel_tokenstream.core.call.layered import begun_for, timing
from otel_tokenstream.core.call.model_call import now
from otel_tokenstream.core.call.nesting import CallScope, ReadScope, current_call
from otel_tokenstream.core.call.request import Attempt
from otel_tokenstream.core.runtime.forking import after_fork
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.langchain.chunks import read_answer, reader
from otel_tokenstream.patches.langchain.requests import model_of, server_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.layered import Begun

_MODULES = ("langchain_core.language_models.chat_models", "langchain_core.language_models.llms")
_BASES = ("BaseChatModel.", "BaseLLM.")

_applied: list[tuple[weakref.ref[type], str, Any, Any]] = []
_applying = threading.RLock()


@guarded
def prepare(model: object) -> None:
    """Put our functions around those of the model's class."""
    for name, wrap in _METHODS.items():
        for cls in type(model).__mro__:
            own = vars(cls).get(name)
            if own is None:
                continue
            if isfunction(own) and own.__code__ not in _OURS and not _is_of_base(own):
                _put(cls, name, wrap)
            break


def _is_of_base(function: Any) -> bool:
    # By the function's own name: a class may have taken LangChain's under its name.
    return function.__module__ in _MODULES and function.__qualname__.startswith(_BASES)


def restore() -> None:
    """Put the originals back, where nobody has put anything else since."""
    with _applying:
        while _applied:
            held, name, original, ours = _applied.pop()
            cls = held()
            if cls is not None and vars(cls).get(name) is ours:
                setattr(cls, name, original)


def _put(cls: type, name: str, wrap: Callable[[Any], Any]) -> None:
    with _applying:
        own = vars(cls)[name]
        if own.__code__ in _OURS:  # another thread's
            return
        ours = wrap(own)
        setattr(cls, name, ours)
        _applied.append((weakref.ref(cls), name, own, ours))


def _streaming(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begun(self)
        if begun is None or begun.is_read:
            return original(self, *args, **kwargs)
        put_outside_reads("on_llm_new_token", (*args, *kwargs.values()), _put)
        asking, scope = Asking(begun, self, kwargs), ReadScope(begun.call)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            asking.ended(error)
            raise
        finally:
            scope.leave()
        return asking.read(result)

    return stream


def _generating(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begun(self)
        if begun is None:
            return original(self, *args, **kwargs)
        asking = Asking(begun, self, kwargs)
        try:
            with CallScope(begun.call):
                result = original(self, *args, **kwargs)
        except BaseException as error:
            asking.ended(error)
            raise
        asking.answered(result)
        return result

    return generate


def _agenerating(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begun(self)
        if begun is None:
            return await original(self, *args, **kwargs)
        asking = Asking(begun, self, kwargs)
        try:
            with CallScope(begun.call):
                result = await original(self, *args, **kwargs)
        except BaseException as error:
            asking.ended(error)
            raise
        asking.answered(result)
        return result

    return generate


@guarded
def _begun(model: object) -> Begun | None:
    """Return the call that this model is asked for; none within what another model's own method does."""
    begun, above = begun_for(model), current_call()
    return begun if begun is not None and above in (None, begun.call) else None


class Asking:
    """One request of a call to a model: an attempt, unless a library below says itself what it tries."""

    def __init__(self, begun: Begun, model: Any, options: Mapping[str, Any]) -> None:
        self._begun = begun
        self._model = model
        self._options = options
        self._attempt: Attempt | None = None
        self._before = begun.call.attempt_count
        self._started = now()
        begun.is_asked = True
        if self._before:
            self._forget_earlier()

    @guarded
    def read(self, stream: Any) -> Any:
        """Return the model's stream, whose reads are told."""
        call = self._begun.call
        if not (hasattr(type(stream), "__next__") or hasattr(type(stream), "__anext__")):
            return stream
        self._begun.is_read = True
        if not call.request.stream:  # the answer is put together from it
            call.request = replace(call.request, stream=True)
        return timing(stream, call, reader(call, self.gave) if call.observed else None, self.ended)

    @guarded
    def gave(self, at: int) -> None:
        """Note that the model has begun to answer."""
        self._count(at)

    @guarded
    def answered(self, result: Any) -> None:
        call = self._begun.call
        self._count(now())
        if call.observed and not self._begun.is_read and not stream_proxy.is_mock(result):
            read_answer(call, result)

    @guarded
    def ended(self, error: BaseException | None) -> None:
        """Note the end of the model's stream, or of asking at all."""
        if error is None:
            return
        self._begun.is_read = False  # another attempt may be
        self._count(now())
        if self._attempt is not None:
            self._attempt.ended, self._attempt.error_type = now(), type(error).__qualname__

    def _count(self, at: int) -> None:
        call = self._begun.call
        if self._attempt is not None or call.attempt_count != self._before:
            return
        name, provider = call.request.model, call.request.provider
        if self._begun.is_group:
            name, provider = model_of(self._model, self._options)
            call.answered_by(provider, *server_of(self._model, provider))
        self._attempt = Attempt(name, provider, self._started, ended=at)
        call.attempted(self._attempt)

    def _forget_earlier(self) -> None:
        """Forget what an earlier attempt said: the answer that follows says its own."""
        call = self._begun.call
        call.response_id = call.response_model = call.usage = call.error_type = None
        call.finish_reasons.clear()


_METHODS: dict[str, Callable[[Any], Any]] = {
    "_stream": _streaming,
    "_astream": _streaming,
    "_stream_chat_model_events": _streaming,
    "_astream_chat_model_events": _streaming,
    "_generate": _generating,
    "_agenerate": _agenerating,
}
_OURS = {wrap(prepare).__code__ for wrap in _METHODS.values()}


def _forked() -> None:
    global _applying  # noqa: PLW0603  # another thread of the parent may have held it
    _applying = threading.RLock()


after_fork(_forked)
