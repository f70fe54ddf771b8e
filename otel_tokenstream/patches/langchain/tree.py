"""LangChain's tree of runs as spans: chains, nodes of a graph, agents, tools and retrievers.

LangChain tells of each run by callbacks that name the run above. A span is made from these names alone and never
attached in the program's context. Where LangChain makes a context for what a run does, the run's span is put into that.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, create_key, get_current, get_value, set_value
from opentelemetry.trace import SpanKind

from otel_tokenstream import signals
from otel_tokenstream.core.content import correlation
from otel_tokenstream.core.content.attributes import value_attribute
from otel_tokenstream.core.content.redaction import redacted, sanitize
from otel_tokenstream.core.emit.agents import INVOKE_AGENT, calls_in
from otel_tokenstream.core.runtime.context import detach
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context

    from otel_tokenstream.core.emit.internal_span import Step
    from otel_tokenstream.core.emit.telemetry import Telemetry

_HIDDEN = "langsmith:hidden"
_UNSEEN_TYPES = ("prompt", "parser")
_GRAPH = "LangGraph"
# Raised by a graph that stops to ask a person, or to hand over to another graph.
_NO_ERROR = "GraphBubbleUp"
# Of runs whose end LangChain never tells: more than these are taken for ended.
_RUNS_KEPT = 10_000
_PLACES = ("langchain_core.runnables.config", "langgraph._internal._runnable")

_RUN_KEY = create_key("otel_tokenstream_langchain_run")


class _Run:
    """A run with its span, or one that is left out and stands for the one above it."""

    __slots__ = ("context", "root", "step")

    def __init__(self, context: Context, root: _Root, step: Step | None) -> None:
        self.context = context
        self.root = root
        self.step = step


class _Root:
    """What the runs of one program have in common."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        self.spans = 0


_runs: dict[Any, _Run] = {}


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    if not (telemetry.settings.langchain_steps or telemetry.settings.langchain_ids):
        return
    manager = "langchain_core.callbacks.manager"
    yield Patch(manager, "_configure", partial(_configuring, telemetry), optional=True)
    yield Patch(manager, "AsyncCallbackManager.on_llm_start", _starting_without_ours, optional=True)
    for module in _PLACES:
        yield Patch(module, "_set_config_context", _setting_context, optional=True)


def forget() -> None:
    _runs.clear()


def _configuring(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """Let every manager of callbacks have our handler, as those that LangChain's own tracers have."""
    handler: Any = None

    @guarded
    def added(manager: Any) -> None:
        nonlocal handler
        if handler is None:
            handler = _handler(telemetry)
        if not any(each is handler for each in manager.handlers):
            manager.add_handler(handler, True)  # LangChain's parameter has another name in 1.0

    @wraps(original)
    def _configure(*args: Any, **kwargs: Any) -> Any:
        manager = original(*args, **kwargs)
        added(manager)
        return manager

    return _configure


def _starting_without_ours(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keep our handler out of the start of a completion model, which it ignores.

    An async manager tells that start to the handlers that run inline, and to all others only where there is none.
    """

    @wraps(original)
    async def on_llm_start(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await original(guarded(_without_ours)(self) or self, *args, **kwargs)

    return on_llm_start


def _without_ours(manager: Any) -> Any:
    found = copy(manager)
    found.handlers = [each for each in manager.handlers if not getattr(type(each), "is_tokenstreams", False)]
    return found


def _handler(telemetry: Telemetry) -> Any:
    base: Any = sys.modules["langchain_core.callbacks.base"].BaseCallbackHandler

    class TokenstreamHandler(base):  # type: ignore[misc]  # LangChain's class, which is not imported for its type
        """Tells the tree of runs. It is called on the run's own thread, in its own context."""

        def __copy__(self) -> Any:
            return self

        def __deepcopy__(self, _: Any) -> Any:
            return self

        def __reduce__(self) -> Any:
            # A program may send its callbacks to another process, where the runs of this one are not known.
            return base, ()

        is_tokenstreams = True
        run_inline = True
        ignore_llm = ignore_chat_model = ignore_retry = ignore_custom_event = True

        def on_chain_start(self, _: Any, __: Any, **about: Any) -> None:
            _chain_started(telemetry, about)

        def on_chain_end(self, _: Any, *, run_id: Any, **__: Any) -> None:
            _ended(run_id)

        def on_chain_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
            _ended(run_id, error)

        def on_tool_start(self, serialized: Any, input_str: Any, **about: Any) -> None:
            _tool_started(telemetry, serialized, input_str, about)

        def on_tool_end(self, output: Any, *, run_id: Any, **_: Any) -> None:
            _write(telemetry, run_id, signals.TOOL_CALL_RESULT, output)
            _ended(run_id)

        def on_tool_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
            _ended(run_id, error)

        def on_retriever_start(self, _: Any, query: Any, **about: Any) -> None:
            _retriever_started(telemetry, query, about)

        def on_retriever_end(self, documents: Any, *, run_id: Any, **_: Any) -> None:
            _write(telemetry, run_id, signals.RETRIEVAL_DOCUMENTS, _documents(documents))
            _ended(run_id)

        def on_retriever_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
            _ended(run_id, error)

    return TokenstreamHandler()


# --- Starts ---------------------------------------------------------------------------------


@guarded
def _chain_started(telemetry: Telemetry, about: Mapping[str, Any]) -> None:
    tags, metadata = about.get("tags") or (), about.get("metadata") or {}
    name = redacted(telemetry.settings.redact, str(about.get("name") or "chain"))
    if _HIDDEN in tags or about.get("run_type") in _UNSEEN_TYPES:
        _start(telemetry, about, None)
    elif name == metadata.get("lc_agent_name") or name == _GRAPH:
        if telemetry.settings.new_names:
            _start(telemetry, about, partial(telemetry.agent, INVOKE_AGENT, name, {}))
        else:
            named = {signals.OPERATION_NAME: INVOKE_AGENT, signals.AGENT_NAME: name}
            _start(telemetry, about, partial(telemetry.step, f"{INVOKE_AGENT} {name}", named))
    else:
        _start(telemetry, about, partial(telemetry.step, name))


@guarded
def _tool_started(telemetry: Telemetry, serialized: Any, given: Any, about: Mapping[str, Any]) -> None:
    settings = telemetry.settings
    name = redacted(settings.redact, str((serialized or {}).get("name") or about.get("name") or "tool"))
    attributes = {
        signals.OPERATION_NAME: "execute_tool",
        signals.TOOL_NAME: name,
        signals.TOOL_TYPE: "function",
        signals.TOOL_CALL_ID: sanitize(about.get("tool_call_id"), settings.redact),
    }
    if settings.content_on_spans:
        inputs = about.get("inputs")
        attributes[signals.TOOL_CALL_ARGUMENTS] = value_attribute(given if inputs is None else inputs, settings)
    told = {key: value for key, value in attributes.items() if value is not None}
    run = _start(telemetry, about, partial(telemetry.step, f"execute_tool {name}", told))
    calls = calls_in(run.context) if run is not None and settings.new_names else None
    if calls is not None:
        calls.tools += 1


@guarded
def _retriever_started(telemetry: Telemetry, query: Any, about: Mapping[str, Any]) -> None:
    attributes: dict[str, Any] = {signals.OPERATION_NAME: "retrieval"}
    if telemetry.settings.content_on_spans:
        shown = value_attribute(query, telemetry.settings)
        attributes.update({signals.RETRIEVAL_QUERY: shown} if shown is not None else {})
    _start(telemetry, about, partial(telemetry.step, "retrieval", attributes, SpanKind.CLIENT))


def _start(telemetry: Telemetry, about: Mapping[str, Any], made: Callable[[], Step] | None) -> _Run | None:
    """Begin a run; it has no span where ``made`` is None, or where its program has as many as are wanted."""
    run_id, parent_id = about["run_id"], about.get("parent_run_id")
    above = _runs.get(parent_id)
    # The program may have a span of its own below the run above.
    ambient = above is None or get_value(_RUN_KEY) == parent_id
    context = get_current() if above is None or ambient else above.context
    root = _Root() if above is None else above.root
    if above is None and telemetry.settings.langchain_ids:
        context = correlation.also(context, _ids(about, telemetry.settings.langchain_ids))
    step = None
    if made is not None and root.spans < telemetry.settings.langchain_steps:
        with _attached(context):  # which may say whose run it is
            step = made()
    if step is not None:
        root.spans += 1
        context = step.begin_within(context)
    _runs[run_id] = run = _Run(set_value(_RUN_KEY, run_id, context), root, step)
    if len(_runs) > _RUNS_KEPT:
        _ended(next(iter(_runs)))
    return run


def _ids(about: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, str]:
    """Return the ids of a program's run as ``correlate`` takes them."""
    thread = (about.get("metadata") or {}).get("thread_id")
    found = {"thread_id": ("conversation_id", thread), "run_id": ("request_id", about["run_id"])}
    given = [found[name] for name in wanted]
    return {name: str(value) for name, value in given if value not in (None, "")}


# --- Ends -----------------------------------------------------------------------------------


@guarded
def _ended(run_id: Any, error: BaseException | None = None) -> None:
    run = _runs.pop(run_id, None)
    if run is None or run.step is None:
        return
    raised = None if error is None or any(each.__name__ == _NO_ERROR for each in type(error).__mro__) else type(error)
    run.step.end_apart(raised)


@guarded
def _write(telemetry: Telemetry, run_id: Any, name: str, value: Any) -> None:
    run = _runs.get(run_id)
    if run is None or run.step is None or not telemetry.settings.content_on_spans:
        return
    content = getattr(value, "content", value)
    shown = value_attribute(content, telemetry.settings)
    if shown is not None:
        run.step.tell(name, shown)


def _documents(documents: Any) -> list[dict[str, Any]]:
    found = []
    for each in documents if isinstance(documents, (list, tuple)) else ():
        metadata = getattr(each, "metadata", None) or {}
        told = {"id": getattr(each, "id", None), "score": metadata.get("score"), "content": each.page_content}
        found.append({key: value for key, value in told.items() if value is not None})
    return found


# --- Where a call of a model belongs ----------------------------------------------------------


def within(parent: Any) -> AbstractContextManager[object]:
    """Make the context of the run current that a configuration or run manager names, where that is not so already."""
    context = _context_of(parent)
    return nullcontext() if context is None else _attached(context)


@guarded
def _context_of(parent: Any) -> Context | None:
    if not _runs:
        return None
    run_id = _parent_id(parent)
    run = _runs.get(run_id)
    return None if run is None or get_value(_RUN_KEY) == run_id else run.context


def _parent_id(parent: Any) -> Any:
    """Return the id of the run above, as a run manager has it, or the callbacks of a configuration."""
    if parent is not None and not isinstance(parent, dict):
        return getattr(parent, "parent_run_id", None)
    callbacks = (parent or {}).get("callbacks")
    if callbacks is None:
        inherited = sys.modules["langchain_core.runnables.config"].var_child_runnable_config.get()
        callbacks = (inherited or {}).get("callbacks")
    return getattr(callbacks, "parent_run_id", None)


@contextmanager
def _attached(context: Context) -> Iterator[None]:
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def _setting_context(original: Callable[..., Any]) -> Callable[..., Any]:
    """Put a run's span into the context that LangChain makes for what the run does, a copy that goes with it."""

    @wraps(original)
    def _set_config_context(config: Any, *args: Any, **kwargs: Any) -> Any:
        token = original(config, *args, **kwargs)
        context = _context_of(config)
        if context is not None:
            attach(context)
        return token

    return _set_config_context
