from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import TEXT
from otel_tokenstream.core.call.model_call import ABANDONED, CANCELLED, CLOSED, COMPLETED, FAILED
from otel_tokenstream.core.call.request import Request, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.testing import Capture

    Record = Callable[..., tuple[Telemetry, Capture]]

SECRET = "the prompt was: open sesame"
COUNTERS = {
    signals.INFERENCE_USAGE_INPUT,
    signals.INFERENCE_USAGE_OUTPUT,
    signals.INFERENCE_USAGE_CACHE_READ,
    signals.INFERENCE_USAGE_CACHE_WRITE,
    signals.INFERENCE_USAGE_REASONING,
}


def ended(telemetry: Telemetry, outcome: str, error: BaseException | None = None, **about: Any) -> None:
    choices = about.pop("choices", 1)
    reasons = about.pop("reasons", {})
    parameters = {signals.REQUEST_CHOICE_COUNT: choices} if choices > 1 else {}
    call = telemetry.start(Request("chat", "scripted", "test", stream=True, parameters=parameters))
    assert call is not None
    call.chunk(call.started, call.started + 1_000_000, TEXT, 4, None, None)
    call.finish_reasons.update(reasons)
    for name, value in about.items():
        setattr(call, name, value)
    call.end(outcome, error)


def counted(captured: Capture, name: str) -> dict[str, float]:
    """Tokens of a counter by modality."""
    counts: Counter[str] = Counter()
    for point in captured.metrics[name]:
        counts[point.attributes[signals.TOKEN_MODALITY]] += point.value
    return dict(counts)


def exceptions(captured: Capture) -> list[Any]:
    records = (each.log_record for each in captured._logs.get_finished_logs())
    return [record for record in records if record.event_name == signals.EXCEPTION_RECORD]


# --- Counters of tokens --------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["new", "both"])
def test_tokens_are_counted_by_modality(record: Record, names: str) -> None:
    """Parts that the provider reports stand under their modality, the rest of the whole under unknown."""
    telemetry, captured = record(metric_names=names)
    usage = Usage(
        100, 50, cache_read=20, cache_write=5, reasoning=7,
        input_by={"audio": 30, "text": 60}, cache_read_by={"text": 20}, output_by={"text": 50},
    )  # fmt: skip
    ended(telemetry, COMPLETED, usage=usage, reasons={0: "stop"})

    assert counted(captured, signals.INFERENCE_USAGE_INPUT) == {"audio": 30, "text": 60, "unknown": 10}
    assert counted(captured, signals.INFERENCE_USAGE_OUTPUT) == {"text": 50}
    assert counted(captured, signals.INFERENCE_USAGE_CACHE_READ) == {"text": 20}
    assert counted(captured, signals.INFERENCE_USAGE_CACHE_WRITE) == {"unknown": 5}
    assert counted(captured, signals.INFERENCE_USAGE_REASONING) == {"unknown": 7}


def test_parts_larger_than_the_whole_are_not_counted(record: Record) -> None:
    """The sum over all modalities is the number of tokens that the provider reported."""
    telemetry, captured = record(metric_names="new")
    ended(telemetry, COMPLETED, usage=Usage(10, 5, input_by={"text": 8, "image": 8}), reasons={0: "stop"})

    assert counted(captured, signals.INFERENCE_USAGE_INPUT) == {"unknown": 10}


@pytest.mark.parametrize("usage", [None, Usage(10, 5, estimated=True)], ids=["none", "estimated"])
def test_a_call_without_reported_usage_adds_zero(record: Record, usage: Usage | None) -> None:
    """A failed call begins the series all the same, so that rates see the first tokens."""
    telemetry, captured = record(metric_names="new")
    ended(telemetry, FAILED, RuntimeError(), usage=usage)

    assert counted(captured, signals.INFERENCE_USAGE_INPUT) == {"unknown": 0}
    assert counted(captured, signals.INFERENCE_USAGE_OUTPUT) == {"unknown": 0}
    assert signals.INFERENCE_USAGE_REASONING not in captured.metrics


def test_the_old_names_have_none_of_the_new_signals(record: Record) -> None:
    """The default emits what back ends of today know, and nothing twice."""
    telemetry, captured = record()
    ended(telemetry, FAILED, RuntimeError(), usage=Usage(10, 5))

    assert not signals.NEW_NAMES & set(captured.metrics)
    assert COUNTERS <= signals.NEW_NAMES
    assert exceptions(captured) == []


def test_span_attributes_have_the_parts_by_modality(record: Record) -> None:
    """A part that was not reported is absent."""
    telemetry, captured = record()
    usage = Usage(100, 50, input_by={"audio": 30}, cache_read_by={"image": 3}, output_by={"image": 40})
    ended(telemetry, COMPLETED, usage=usage, reasons={0: "stop"})

    attributes = captured.generations[0].attributes
    by_modality = {
        name: value for name, value in attributes.items() if any(f".{m}." in name for m in signals.MODALITIES)
    }
    assert by_modality == {
        "gen_ai.usage.audio.input_tokens": 30,
        "gen_ai.usage.image.cache_read.input_tokens": 3,
        "gen_ai.usage.image.output_tokens": 40,
    }


# --- Finish reasons ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "choices", "reasons", "expected"),
    [
        (COMPLETED, 1, {0: "stop"}, ("stop",)),
        (FAILED, 1, {}, ("error",)),
        (CANCELLED, 1, {}, ("error",)),
        (CLOSED, 1, {}, ("error",)),
        (ABANDONED, 1, {}, ("error",)),
        (CLOSED, 3, {1: "stop"}, ("error", "stop", "error")),
        (FAILED, 2, {0: "length"}, ("length", "error")),
    ],
)
def test_a_choice_that_was_cut_ends_in_error(
    record: Record, outcome: str, choices: int, reasons: dict[int, str], expected: tuple[str, ...]
) -> None:
    """The convention puts error in the place of a reason that never came."""
    telemetry, captured = record()
    ended(telemetry, outcome, choices=choices, reasons=reasons)

    assert captured.generations[0].attributes[signals.FINISH_REASONS] == expected


# --- The record of an exception ------------------------------------------------------------------


def test_a_failed_call_has_a_record_of_its_exception(record: Record) -> None:
    """It is a warning in the call's span, with the class of the error; its text is content and stays."""
    telemetry, captured = record(metric_names="new")
    ended(telemetry, FAILED, TimeoutError(SECRET))

    (found,) = exceptions(captured)
    assert found.attributes[signals.EXCEPTION_TYPE] == "builtins.TimeoutError"
    assert found.attributes[signals.REQUEST_MODEL] == "test"
    assert found.severity_number.name == "WARN"
    assert found.span_id == captured.generations[0].span.context.span_id
    assert SECRET not in str(dict(found.attributes))


def test_the_record_has_the_redacted_message_where_content_is_captured_on_events(record: Record) -> None:
    """Content capture on events includes what an exception says, through the hook."""
    telemetry, captured = record(
        metric_names="both", capture_content="EVENT_ONLY", redact=lambda text: text.replace("sesame", "[word]")
    )
    ended(telemetry, FAILED, TimeoutError(SECRET))

    (found,) = exceptions(captured)
    assert found.attributes[signals.EXCEPTION_MESSAGE] == "the prompt was: open [word]"


@pytest.mark.parametrize("outcome", [COMPLETED, CANCELLED, CLOSED, ABANDONED])
def test_a_call_that_did_not_fail_has_no_such_record(record: Record, outcome: str) -> None:
    """Leaving a stream is no exception of the model's."""
    telemetry, captured = record(metric_names="new")
    ended(telemetry, outcome)

    assert exceptions(captured) == []


def test_an_error_that_came_as_content_is_recorded_by_its_word(record: Record) -> None:
    """There is no exception then, and the record says what the provider called it."""
    telemetry, captured = record(metric_names="new")
    ended(telemetry, COMPLETED, error_type="overloaded_error")

    assert [each.attributes[signals.EXCEPTION_TYPE] for each in exceptions(captured)] == ["overloaded_error"]
