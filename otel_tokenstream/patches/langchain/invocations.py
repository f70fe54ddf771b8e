"""The beginning and end of a model's call: LangChain's own methods, which every model inherits.

What a model's class does itself, ``_stream`` and ``_generate``, is in ``models``.
"""

from __future__ import annotations

import sys
import weakref
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.layered import Begun, begun_for, hand_over_outer
from otel_tokenstream.core.call.model_call import COMPLETED, ModelCall, now
from otel_tokenstream.core.call.nesting import current_call
from otel_tokenstream.core.runtime.guard import fault, guarded
from otel_tokenstream.patches.langchain import models, tree
from otel_tokenstream.patches.langchain.chunks import read_answer
from otel_tokenstream.patches.langchain.first_read import begun_at_first_read
from otel_tokenstream.patches.langchain.requests import CHAT, TEXT, request
from otel_tokenstream.patches.lifecycle import begin
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Context
    from types import TracebackType

    from otel_tokenstream.core.emit.telemetry import Telemetry

_PACKAGE = "langchain_core.language_models"
_CHAT_MODELS, _MODELS = f"{_PACKAGE}.chat_models", f"{_PACKAGE}.llms"

# Of the arguments with which a model is asked, those that are LangChain's own.
_NO_OPTIONS = {"new_arg_supported", "run_manager", "callbacks", "tags", "metadata", "run_name", "run_id"}

# By the object that the program holds of a call that LangChain reads in a task of its own.
_read_apart: weakref.WeakKeyDictionary[Any, ModelCall] = weakref.WeakKeyDictionary()


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    def patch(module: str, attribute: str, wrap: Callable[..., Any], entry: str, since: tuple[int, ...] = ()) -> Patch:
        entries = (PublicEntry(entry, since),)
        return Patch(module, attribute, partial(wrap, telemetry), optional=bool(since), entries=entries)

    for module, name in ((_CHAT_MODELS, "BaseChatModel"), (_MODELS, "BaseLLM")):
        yield patch(module, f"{name}.stream", partial(_streaming, sync=True), f"{name}.stream")
        yield patch(module, f"{name}.astream", partial(_streaming, sync=False), f"{name}.astream")
    yield patch(_CHAT_MODELS, "BaseChatModel._generate_with_cache", _generating, "BaseChatModel.invoke")
    yield patch(_CHAT_MODELS, "BaseChatModel._agenerate_with_cache", _agenerating, "BaseChatModel.ainvoke")
    yield patch(_MODELS, "BaseLLM._generate_helper", _generating, "BaseLLM.invoke")
    yield patch(_MODELS, "BaseLLM._agenerate_helper", _agenerating, "BaseLLM.ainvoke")
    # Where the cache has all answers, LangChain does not reach the two before.
    yield Patch(_MODELS, "BaseLLM.generate", partial(_keeping, telemetry), optional=True)
    yield Patch(_MODELS, "BaseLLM.agenerate", partial(_akeeping, telemetry), optional=True)
    since = (1, 4)
    events = "BaseChatModel.stream_events"
    yield patch(_CHAT_MODELS, "BaseChatModel._iter_v2_events", _events, events, since)
    yield patch(_CHAT_MODELS, "BaseChatModel._aiter_v2_events", _aevents, f"{events}, async", since)
    yield Patch(f"{_PACKAGE}.chat_model_stream", "AsyncChatModelStream.aclose", _aclose, optional=True)


class beginning:  # noqa: N801  # reads as a verb where it is used
    """Begin a call of a model for the block, unless it is part of one; a block that raises ends it.

    ``given`` is the model's input, ``parent`` has the run that the call belongs to, and ``asks``
    says which models the call may ask where it is not this one alone.
    """

    __slots__ = ("_asks", "_begin", "_begun", "_context", "_model", "_parent", "_telemetry")

    def __init__(
        self,
        telemetry: Telemetry,
        model: Any,
        given: Any,
        options: Mapping[str, Any],
        *,
        stream: bool,
        parent: Any,
        asks: Callable[[object], bool] | None = None,
    ) -> None:
        about = partial(request, model, given, options, stream=stream, settings=telemetry.settings)
        self._begin = begin(telemetry, lambda: about(operation=CHAT if is_chat(model) else TEXT), fields=True)
        self._telemetry = telemetry
        self._model = model
        self._parent = parent
        self._asks = asks
        self._begun: Begun | None = None
        self._context: Context | None = None

    def keep_context(self) -> None:
        """Let the call begin later as if it were now: under the span that is current now."""
        with tree.within(self._parent):
            self._context = copy_context()

    def applies(self) -> bool:
        """Return whether there is a call to begin: the package is active, and no call of this model is under way."""
        return self._telemetry.enabled and guarded(self._is_part)() is False

    def __enter__(self) -> Begun | None:
        context, self._context = self._context, None
        return self._enter() if context is None else context.run(self._enter)

    def _enter(self) -> Begun | None:
        if not self.applies():
            return None
        with tree.within(self._parent):
            call = self._begin.__enter__()
        if call is not None:
            self._begun = Begun(call, self._asks or partial(_is, self._model), is_group=self._asks is not None)
        return self._begun

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._begun is not None:
            guarded(_note_last_read)(self._begun.call)
            self._begin.__exit__(kind, error, traceback)

    def _is_part(self) -> bool:
        models.prepare(self._model)
        return current_call() is not None or begun_for(self._model) is not None


def _is(model: object, other: object) -> bool:
    return other is model


def is_chat(model: Any) -> bool:
    return isinstance(model, sys.modules[_CHAT_MODELS].BaseChatModel)


def _note_last_read(call: ModelCall) -> None:
    """Note the read that was under way where a call that gave nobody a stream has failed."""
    if call.read_started and call.request.stream and not call.ended:
        call.blocked(call.read_started, now(), finished=False)


def _streaming(telemetry: Telemetry, original: Callable[..., Any], *, sync: bool) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # LangChain's name
        made = original(self, input, config, **kwargs)
        streamed = guarded(streams_itself)(self, kwargs, sync=sync) is not False
        return begun_at_first_read(made, beginning(telemetry, self, input, kwargs, stream=streamed, parent=config))

    return stream


def streams_itself(model: Any, options: Mapping[str, Any], *, sync: bool, run_manager: Any = None) -> bool:
    """Return whether LangChain will have the model stream."""
    if not is_chat(model):
        base = sys.modules[_MODELS].BaseLLM
        own = [type(model)._stream is not base._stream]  # noqa: SLF001
        own += [] if sync else [type(model)._astream is not base._astream]  # noqa: SLF001
        return any(own)
    options = {name: value for name, value in options.items() if name not in ("async_api", "run_manager")}
    if run_manager is None:
        return bool(model._should_stream(async_api=not sync, **{**options, "stream": True}))  # noqa: SLF001
    about = {"async_api": not sync, "run_manager": run_manager, **options}
    by_events = getattr(model, "_should_use_protocol_streaming", None)
    return bool(model._should_stream(**about) or (by_events is not None and by_events(**about)))  # noqa: SLF001


def _generating(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        given, options, manager = _arguments(args, kwargs)
        streamed = guarded(_streams_underneath)(self, options, manager, sync=True) is True
        with beginning(telemetry, self, given, options, stream=streamed, parent=manager) as begun:
            if begun is None:
                return original(self, *args, **kwargs)
            with begun:
                result = original(self, *args, **kwargs)
            return _answered(begun, self, result)

    return generate


def _agenerating(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        given, options, manager = _arguments(args, kwargs)
        streamed = guarded(_streams_underneath)(self, options, manager, sync=False) is True
        with beginning(telemetry, self, given, options, stream=streamed, parent=manager) as begun:
            if begun is None:
                return await original(self, *args, **kwargs)
            with begun:
                result = await original(self, *args, **kwargs)
            return _answered(begun, self, result)

    return generate


def _arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any], Any]:
    """(input, options, run manager) of the methods that ask a model for one answer, chat's or a completion's."""
    arguments = {**dict(zip(("messages", "stop", "run_manager"), args, strict=False)), **kwargs}
    given = arguments.pop("messages", arguments.pop("prompts", None))
    managers = arguments.pop("run_managers", None) or arguments.get("run_manager") or arguments.get("callbacks")
    manager = next(iter(managers), None) if isinstance(managers, list) else managers
    return given, {name: arguments[name] for name in arguments if name not in _NO_OPTIONS}, manager


def _streams_underneath(model: Any, options: Mapping[str, Any], manager: Any, *, sync: bool) -> bool:
    return is_chat(model) and streams_itself(model, options, sync=sync, run_manager=manager or ())


def _keeping(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """Begin the call of a completion model that has a cache before LangChain looks into the cache."""
    begun_early = _generating(telemetry, original)

    @wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (begun_early if guarded(keeps_answers)(self) else original)(self, *args, **kwargs)

    return generate


def _akeeping(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    begun_early = _agenerating(telemetry, original)

    @wraps(original)
    async def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await (begun_early if guarded(keeps_answers)(self) else original)(self, *args, **kwargs)

    return generate


def keeps_answers(model: Any) -> bool:
    """Return whether LangChain's cache is in use for a model."""
    kept = model.cache
    if kept is None or kept is True:
        kept = sys.modules["langchain_core.globals"].get_llm_cache()
    return kept is not None and kept is not False


def _answered(begun: Begun, model: Any, result: Any) -> Any:
    call = begun.call
    try:
        if not begun.is_asked:
            call.cache_hit = keeps_answers(model)
            if call.observed and not stream_proxy.is_mock(result):
                read_answer(call, result)
            if call.cache_hit:
                call.usage = None  # another call's
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("LangChain's result", problem)
    finished(call)
    return result


def finished(call: ModelCall) -> None:
    call.read_started = 0
    call.end(COMPLETED)


def _events(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """The events of one answer, which ``stream_events`` reads when the program does."""

    @wraps(original)
    def iter_events(self: Any, messages: Any, *, run_manager: Any, stream: Any, **kwargs: Any) -> Any:
        events = original(self, messages, run_manager=run_manager, stream=stream, **kwargs)
        with beginning(telemetry, self, messages, kwargs, stream=True, parent=run_manager) as begun:
            return events if begun is None else _to_the_last(begun, events)

    return iter_events


def _aevents(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for ``astream_events``, which reads them in a task of its own."""

    @wraps(original)
    def aiter_events(self: Any, messages: Any, *, run_manager: Any, stream: Any, **kwargs: Any) -> Any:
        events = original(self, messages, run_manager=run_manager, stream=stream, **kwargs)
        with beginning(telemetry, self, messages, kwargs, stream=True, parent=run_manager) as begun:
            if begun is None:
                return events
            guarded(_read_apart.__setitem__)(stream, begun.call)
            return _to_the_last(begun, events)

    return aiter_events


def _to_the_last(begun: Begun, events: Any) -> Any:
    begun.is_last = _finishes
    return hand_over_outer(begun, events, "LangChain's stream of events")


@guarded
def _finishes(event: Any) -> bool:
    """Return whether it is the event after which LangChain reads no further."""
    return bool(event["event"] == "message-finish")


def _aclose(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def aclose(self: Any) -> None:
        call = guarded(_read_apart.get)(self)
        if call is not None:
            call.closing = stream_proxy.outcome_of_closing()
        await original(self)

    return aclose
