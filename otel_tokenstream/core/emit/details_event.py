"""One call as a log record, with its prompt and answer: where the conventions put content that is to be on events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core.emit import span_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import Logger

    from otel_tokenstream.core.call.model_call import ModelCall


_MOST_DIGITS = 20


def emit_details(logger: Logger, call: ModelCall, content: Mapping[str, str]) -> None:
    """Emit the record of a call that has ended, in the call's context.

    ``content`` is JSON, as on spans. On events the conventions want the structure itself.
    """
    known = signals.RECORDS[signals.DETAILS_RECORD].attributes
    response = {name: value for name, value in span_data.response_attributes(call).items() if name in known}
    structured = {name: json.loads(value, parse_int=_fitted) for name, value in content.items()}
    emit_record(logger, call, signals.DETAILS_RECORD, SeverityNumber.INFO, {**response, **structured})


def emit_record(
    logger: Logger, call: ModelCall, name: str, severity: SeverityNumber, attributes: Mapping[str, Any]
) -> None:
    """Emit a record about a call that has ended, with the attributes of its request, in the call's context."""
    logger.emit(
        LogRecord(
            timestamp=call.anchor + call.ended - call.started,
            context=call.context,
            severity_number=severity,
            event_name=name,
            attributes={**span_data.request_attributes(call.request), **attributes},
        )
    )


def _fitted(digits: str) -> int | str:
    """Return a number as text where OTLP has no room for it: the exporter would leave the whole attribute out."""
    if len(digits) > _MOST_DIGITS:
        return digits
    number = int(digits)
    return number if -(1 << 63) <= number < 1 << 63 else digits
