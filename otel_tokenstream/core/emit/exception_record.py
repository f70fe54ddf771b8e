"""The error that ended a call, as a log record.

Source: event ``gen_ai.client.inference.exception`` of the GenAI semantic conventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry._logs import SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core.emit.details_event import emit_record
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from opentelemetry._logs import Logger

    from otel_tokenstream.core.call.model_call import ModelCall


def emit_exception(logger: Logger, call: ModelCall, message: str | None) -> None:
    """Emit the record of a call that failed, in the call's context; ``message`` is content."""
    raised = call.exception_type or call.error_type
    about = {signals.EXCEPTION_TYPE: repaired(raised) if raised is not None else None}
    about[signals.EXCEPTION_MESSAGE] = message
    known = {name: value for name, value in about.items() if value is not None}
    emit_record(logger, call, signals.EXCEPTION_RECORD, SeverityNumber.WARN, known)
