"""Retrievers: a span around each call, by the conventions. The query and what was found are content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from otel_tokenstream import signals
from otel_tokenstream.core.content.attributes import value_attribute
from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.dspy import optimizers
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span

    from otel_tokenstream.core.emit.telemetry import Telemetry

_PLACES = (
    ("dspy.retrievers.retrieve", "Retrieve"),
    ("dspy.retrieve.retrieve", "Retrieve"),  # before DSPy 3.0
    ("dspy.retrievers.embeddings", "Embeddings"),
    ("dspy.dsp.colbertv2", "ColBERTv2"),
)

# dspy.Retrieve asks the retriever that DSPy is configured with: one retrieval, one span.
_retrieving: ContextVar[bool] = ContextVar("otel_tokenstream_retrieving", default=False)


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for module, retriever in _PLACES:
        entry = PublicEntry(f"dspy.{retriever}")
        yield Patch(module, f"{retriever}.__call__", partial(_call, telemetry), optional=True, entries=(entry,))


def _call(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        if optimizers.suppressed() or _retrieving.get():
            return original.__get__(self)(*args, **kwargs)
        # Where a retriever runs is not known: most of them are servers.
        about = _about(telemetry, self, args, kwargs)
        with telemetry.step("retrieval", about, kind=SpanKind.CLIENT) as span:
            with set_contextvar(_retrieving, True):
                found = original.__get__(self)(*args, **kwargs)
            _write_found(telemetry, span, found)
            return found

    return __call__


@guarded
def _about(telemetry: Telemetry, retriever: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {signals.OPERATION_NAME: "retrieval", signals.DSPY_MODULE: type(retriever).__name__}
    k = kwargs.get("k", args[1] if len(args) > 1 else None) or getattr(retriever, "k", None)
    if isinstance(k, int):
        about[signals.RETRIEVAL_TOP_K] = k
    if telemetry.settings.content_on_spans:
        query = value_attribute(kwargs.get("query", args[0] if args else None), telemetry.settings)
        if query is not None:
            about[signals.RETRIEVAL_QUERY] = query
    return about


@guarded
def _write_found(telemetry: Telemetry, span: Span, found: Any) -> None:
    if not (telemetry.settings.content_on_spans and span.is_recording()):
        return
    passages = getattr(found, "passages", found)
    if isinstance(passages, Iterable) and not isinstance(passages, (str, Mapping)):
        shown = value_attribute([_document(each) for each in passages], telemetry.settings)
        if shown is not None:
            span.set_attribute(signals.RETRIEVAL_DOCUMENTS, shown)


def _document(passage: Any) -> dict[str, Any]:
    """Return the parts of a passage that the conventions name, as far as the retriever tells them."""
    if isinstance(passage, str):
        return {"content": passage}
    told = passage if isinstance(passage, Mapping) else getattr(passage, "toDict", dict)()
    found = {"id": told.get("pid", told.get("id")), "score": told.get("score")}
    text = told.get("long_text") or told.get("text") or told.get("content")
    return {key: value for key, value in {**found, "content": text}.items() if value is not None}
