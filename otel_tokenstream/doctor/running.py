"""``doctor -- COMMAND``: the program under ``opentelemetry-instrument``, with a receiver of doctor's own."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream import signals
from otel_tokenstream.coexistence import span_makers
from otel_tokenstream.doctor import intake
from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning
from otel_tokenstream.doctor.instrumentation import without_ours
from otel_tokenstream.doctor.outlets import INTERNAL
from otel_tokenstream.doctor.starting import INSTRUMENT
from otel_tokenstream.doctor.surroundings import DISABLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.doctor.surroundings import Surroundings

_FLUSH = "call otel_tokenstream.flush() before the program ends"
_SDK_DROPS = tuple(f"otel.sdk.{each}" for each in ("processor.span.processed", "processor.log.processed"))
_PATIENCE = 30.0  # seconds for a program to end after Ctrl-C


@dataclass(frozen=True)
class Run:
    """``code`` is the program's exit code, ``problem`` why it was not run, with its ``fix``."""

    received: intake.Received = field(default_factory=intake.Received)
    code: int = 0
    seconds: float = 0.0
    problem: str = ""
    fix: str = ""

    @property
    def calls(self) -> list[intake.ReceivedSpan]:
        return [span for span in self.received.spans if signals.OUTCOME in span.attributes]


def run(command: Sequence[str], environ: Mapping[str, str]) -> Run:
    """Run it to its end. Its output goes to standard error, since standard output has the findings."""
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return Run(problem=f"there is no program {command[0]}", fix="give the program after --, as the shell finds it")
    # A command that begins with opentelemetry-instrument needs no second one.
    words = [program, *command[1:]] if Path(program).stem == "opentelemetry-instrument" else [*INSTRUMENT, *command]
    try:
        with intake.receiving() as (endpoint, received):
            began = time.monotonic()
            process = subprocess.Popen(words, env=_environment(environ, endpoint), stdout=2)  # noqa: S603  # the user's own
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:  # the program has got it too; a second one is for us
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_PATIENCE)
                    if process.poll() is None:
                        process.kill()
            return Run(received, code, time.monotonic() - began)
    except ModuleNotFoundError:
        return Run(problem="the receiver needs opentelemetry-proto", fix='pip install "otel-tokenstream[otlp]"')
    except OSError as error:
        return Run(problem=f"{command[0]} cannot be run: {error.strerror}", fix="give a program after --")


def _environment(environ: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """Return the program's environment, but everything is recorded and sent here.

    What keeps telemetry away is told by the checks before; here it would only hide what the program does.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("OTEL_EXPORTER_", "OTEL_TRACES_", "OTEL_METRICS_", "OTEL_LOGS_"))
        and name not in ("OTEL_SDK_DISABLED", "OTEL_CONFIG_FILE")
    }
    exporters = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "otlp")
    return {
        **kept,
        **exporters,
        DISABLED: without_ours(environ.get(DISABLED, "")),
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "2000",  # ms: of a program that is killed, the last ones are wanted
        "NO_PROXY": ",".join(filter(None, [environ.get("NO_PROXY", ""), "127.0.0.1"])),
        "no_proxy": ",".join(filter(None, [environ.get("no_proxy", ""), "127.0.0.1"])),
        INTERNAL: "true",
    }


def _program(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    if ran is None:
        return
    name = shlex.join(around.command)
    if ran.problem:
        yield fault(ran.problem, ran.fix)
    elif ran.code:
        ended = f"exit code {ran.code}" if ran.code > 0 else f"signal {-ran.code}"
        yield warning(f"{name} ended with {ended} after {ran.seconds:.1f} s", "look at what it printed")
    else:
        yield ok(f"{name} ended after {ran.seconds:.1f} s")


def _spans(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    if ran is None or ran.problem:
        return
    others = Counter(span.scope for span in ran.received.spans if signals.OUTCOME not in span.attributes)
    told = ", ".join(f"{count} of {scope}" for scope, count in others.most_common(5))
    recorded = ", ".join(each.package for each in around.recorded) or "a library that has an instrumentation"
    if ran.calls:
        by_model = Counter(f"{_model(span)} {span.attributes[signals.OUTCOME]}" for span in ran.calls)
        calls = ", ".join(f"{count} {what}" for what, count in by_model.most_common(5))
        yield ok(f"{len(ran.calls)} model calls came: {calls}{f'; other spans: {told}' if told else ''}")
    elif others:
        yield fault(
            f"no model call came, only other spans: {told}",
            f"call the model through {recorded}: calls of other clients are not seen",
        )
    elif ran.received.points:
        yield fault(
            f"the SDK ran in the program, and no span came: it made no call through {recorded}, or ended too early",
            _FLUSH,
        )
    else:
        yield fault(
            "nothing came at all: no SDK was started in the program, or it was killed before anything was sent",
            f"start the program with this environment's Python, {sys.executable}",
        )


def _model(span: intake.ReceivedSpan) -> str:
    return str(span.attributes.get(signals.REQUEST_MODEL, span.name))


def _twice(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    if ran is None or not ran.calls:
        return
    makers = span_makers(each.module for each in around.libraries)
    known = {module for entry in around.instrumentors for module in makers if entry.value.startswith(module)}
    scopes = Counter(
        span.scope
        for span in ran.received.spans
        if span.scope not in (signals.SCOPE, *known) and _is_model_call(span) and _is_beside(span, ran.calls)
    )
    if not scopes:
        yield ok("each model call has one span")
    for scope, count in scopes.items():
        name = next((each.name for each in around.instrumentors if each.value.startswith(scope)), "")
        fix = f"export {DISABLED}={','.join(sorted(around.disabled | {name}))}" if name else f"switch {scope} off"
        yield warning(f"{scope} made {count} more spans of the same model calls", fix)


def _is_model_call(span: intake.ReceivedSpan) -> bool:
    kind = span.attributes.get("openinference.span.kind", span.attributes.get(signals.OPERATION_NAME))
    return kind in ("LLM", "chat", "text_completion", "generate_content")


def _is_beside(one: intake.ReceivedSpan, calls: Sequence[intake.ReceivedSpan]) -> bool:
    """Return whether it ran at the time of a call, in its trace."""
    return any(
        one.trace_id == call.trace_id and one.start_ns < call.end_ns and call.start_ns < one.end_ns for call in calls
    )


def _token_numbers(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    streams = [] if ran is None else [span for span in ran.calls if span.attributes.get(signals.OUTCOME) == "completed"]
    if not streams:
        return
    without = [span for span in streams if signals.USAGE_OUTPUT_TOKENS not in span.attributes]
    if without:
        yield warning(
            f"{len(without)} of {len(streams)} completed calls have no token numbers: the provider reported none",
            "export OTEL_TOKENSTREAM_REQUEST_USAGE=true",
        )
    else:
        yield ok(f"all {len(streams)} completed calls have token numbers")


def _metrics(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    if ran is None or not ran.received.spans:
        return
    ours = sorted(name for name in ran.received.metrics if name in signals.METRICS)
    if ours:
        yield ok(f"{len(ours)} metrics of ours came, {ran.received.log_records} log records")
    elif ran.calls:
        yield warning("spans came and no metric did: the program ended before they were sent", _FLUSH)


def _lost(around: Surroundings) -> Iterator[Finding]:
    ran = around.run
    if ran is None or not ran.received.points:
        return
    total = ran.received.total
    found = list(_losses(ran))
    if not found:
        yield ok(f"nothing: {total(signals.STREAMS):.0f} calls were counted, {len(ran.calls)} spans came")
    yield from found


def _losses(ran: Run) -> Iterator[Finding]:
    total = ran.received.total
    if faults := total(signals.FAULTS):
        yield fault(f"otel-tokenstream had {faults:.0f} faults of its own", "report the traceback in the program's log")
    if missing := total(signals.SEAMS_MISSING):
        yield fault(f"{missing:.0f} entries of the libraries are not seen", "pip install --upgrade otel-tokenstream")
    if dropped := total(signals.LIVE_DROPPED):
        yield warning(
            f"{dropped:.0f} live events were dropped", "see that the brokers of OTEL_TOKENSTREAM_LIVE keep up"
        )
    if dropped := sum(total(name, having=signals.ERROR_TYPE) for name in _SDK_DROPS):
        yield warning(f"the SDK dropped {dropped:.0f} spans or log records", "export OTEL_BSP_MAX_QUEUE_SIZE=8192")
    if active := total(signals.STREAM_ACTIVE):
        yield warning(f"{active:.0f} streams were still open when the program ended: they have no span", _FLUSH)
    if (counted := total(signals.STREAMS)) > len(ran.calls):
        yield warning(f"{counted:.0f} calls were counted and {len(ran.calls)} spans came", _FLUSH)


CHECKS = (
    Check("program", "whether the program after `--` ran and how it ended", _program, "auto, otlp"),
    Check("spans", "the model calls that came, or the spans that came instead", _spans, "auto, otlp"),
    Check("twice", "spans of other instrumentations for the same model calls", _twice, "auto, otlp"),
    Check("token numbers", "completed calls without usage", _token_numbers, "auto, otlp"),
    Check("metrics", "whether metrics came beside the spans", _metrics, "auto, otlp"),
    Check("lost", "faults, drops, open streams, calls without a span, by their counters", _lost, "auto, otlp"),
)
