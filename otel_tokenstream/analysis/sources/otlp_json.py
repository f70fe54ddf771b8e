"""OTLP in JSON, as the Collector's file exporter, protobuf's own mapping and Tempo write it, into a Recording."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.stream import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tokenstream.analysis.attributes import Attributes
    from otel_tokenstream.analysis.recording import Recording
    from otel_tokenstream.analysis.stream import Event


_LAST_NS = 2**63 - 1
"""In the year 2262; OTLP's times go further than Python's."""


class NotOtlpError(ValueError):
    """The document is JSON, but not of OTLP."""


def add(document: Any, recording: Recording) -> None:
    """Traces and log records; metrics are passed over. Raises NotOtlpError."""
    try:
        for message in document if isinstance(document, list) else [document]:
            _add_message(message, recording)
    except NotOtlpError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        text = f"not OTLP in JSON: {type(error).__name__}: {error}"
        raise NotOtlpError(text) from error


def _add_message(message: Any, recording: Recording) -> None:
    message = message.get("trace", message)  # Tempo's answer
    groups = message.get("resourceSpans", message.get("batches"))
    if groups is None and not {"resourceLogs", "resourceMetrics"} & message.keys() and message:
        text = "not OTLP in JSON: neither resourceSpans nor resourceLogs in it"
        raise NotOtlpError(text)
    for group in groups or ():
        resource = _attributes(group.get("resource", {}).get("attributes", ()))
        for scope in group.get("scopeSpans", group.get("instrumentationLibrarySpans", ())):
            for span in scope.get("spans", ()):
                recording.add_span(_span(span, resource))
    for group in message.get("resourceLogs", ()):
        for scope in group.get("scopeLogs", ()):
            for record in scope.get("logRecords", ()):
                recording.add_log_event(_id(record, "traceId"), _id(record, "spanId"), _log_event(record))


def _span(span: Attributes, resource: Attributes) -> Span:
    return Span(
        _id(span, "traceId"),
        _id(span, "spanId"),
        _id(span, "parentSpanId"),
        _time_ns(span, "startTimeUnixNano"),
        _time_ns(span, "endTimeUnixNano"),
        _attributes(span.get("attributes", ())),
        list(_events(span.get("events", ()))),
        resource,
    )


def _time_ns(span: Attributes, name: str) -> int:
    return min(max(int(span.get(name, 0)), 0), _LAST_NS)


def _events(events: Iterable[Attributes]) -> Iterator[Event]:
    for event in events:
        yield str(event.get("name", "")), _attributes(event.get("attributes", ()))


def _log_event(record: Attributes) -> Event:
    attributes = _attributes(record.get("attributes", ()))
    # Before the field existed, and behind some pipelines, the name travels as an attribute.
    return str(record.get("eventName") or attributes.get("event.name", "")), attributes


def _id(of: Attributes, name: str) -> str:
    """OTLP's JSON has ids in hexadecimal, protobuf's own mapping in base64."""
    value = of.get(name) or ""
    if len(value) in {16, 32}:
        return str(value).lower()
    return base64.b64decode(value).hex()


def _attributes(pairs: Iterable[Attributes]) -> Attributes:
    return {pair["key"]: _plain(pair.get("value", {})) for pair in pairs}


def _plain(value: Attributes) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            number = float(content)
            return number if math.isfinite(number) else None
        if kind == "arrayValue":
            return [_plain(item) for item in content.get("values", ())]
        if kind == "kvlistValue":
            return _attributes(content.get("values", ()))
        return content
    return None
