"""One call as a log record, with its prompt and answer: where the conventions put content that is to be on events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core import summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import Logger

    from otel_tokenstream.core.generation import Generation


_MOST_DIGITS = 20


def emit_details(logger: Logger, call: Generation, content: Mapping[str, str]) -> None:
    """Emit the record of a call that has ended, in the call's context.

    ``content`` is JSON, as on spans. On events the conventions want the structure itself.
    """
    known = signals.RECORDS[signals.DETAILS_RECORD].attributes
    response = {name: value for name, value in summary.response_attributes(call).items() if name in known}
    structured = {name: json.loads(value, parse_int=_fitted) for name, value in content.items()}
    logger.emit(
        LogRecord(
            timestamp=call.anchor + call.ended - call.started,
            context=call.context,
            severity_number=SeverityNumber.INFO,
            event_name=signals.DETAILS_RECORD,
            attributes={**summary.request_attributes(call.request), **response, **structured},
        )
    )


def _fitted(digits: str) -> int | str:
    """Return a number as text where OTLP has no room for it: the exporter would leave the whole attribute out."""
    if len(digits) > _MOST_DIGITS:
        return digits
    number = int(digits)
    return number if -(1 << 63) <= number < 1 << 63 else digits


def longest_value(logger: Logger) -> int | None:
    """Return how long the SDK lets an attribute of a log record be, None for any length."""
    limits = getattr(getattr(logger, "_logger", logger), "_log_record_limits", None)
    longest: int | None = getattr(limits, "max_log_record_attribute_length", None)
    return longest
