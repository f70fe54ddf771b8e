"""Whether anything is instrumented at all, once, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.coexistence import span_makers
from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning
from otel_tokenstream.doctor.libraries import PREFIX
from otel_tokenstream.doctor.surroundings import DISABLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.doctor.surroundings import Surroundings

_AUTO = 'pip install "otel-tokenstream[auto]"'


def _libraries(around: Surroundings) -> Iterator[Finding]:
    if not around.libraries:
        yield fault(
            "the instrumentors of otel-tokenstream are not registered: opentelemetry-instrument cannot find them",
            "pip install --force-reinstall --no-deps otel-tokenstream",
        )
        return
    there = [each for each in around.libraries if around.version(each.package) is not None]
    absent = [each for each in around.libraries if each not in there]
    if not there:
        names = ", ".join(each.package for each in absent)
        extra = next((each.extra for each in absent if each.package == "litellm"), absent[0].extra)
        yield fault(
            f"none of {names} is installed: nothing can be recorded", f'pip install "otel-tokenstream[{extra}]"'
        )
        return
    off = [each for each in there if each not in around.recorded]
    for each in off:
        seen = f"{each.instrumentor} is switched off by {DISABLED}: calls of {each.package} have no spans"
        yield fault(seen, _enabling(around))
    if not off:
        without = f"; not installed: {', '.join(each.package for each in absent)}" if absent else ""
        yield ok(f"{', '.join(each.package for each in there)} will be instrumented{without}")


def without_ours(disabled: str) -> str:
    """Return a list of disabled instrumentations that leaves ours on."""
    names = [name.strip() for name in disabled.split(",")]
    return ",".join(name for name in names if name and name != "*" and not name.startswith(PREFIX))


def _enabling(around: Surroundings) -> str:
    kept = without_ours(around.variable(DISABLED))
    return f"export {DISABLED}={kept}" if kept else f"unset {DISABLED}"


def _sdk(around: Surroundings) -> Iterator[Finding]:
    if not around.has_sdk:
        yield fault("the OpenTelemetry SDK is not installed: nothing is recorded or sent", _AUTO)
    elif not around.has_distro:
        yield fault(
            "no distro is installed: opentelemetry-instrument starts no SDK, so nothing is recorded or sent", _AUTO
        )
    elif around.is_true("OTEL_SDK_DISABLED"):
        yield fault("OTEL_SDK_DISABLED is true: nothing is recorded", "unset OTEL_SDK_DISABLED")
    else:
        yield ok(f"SDK {around.version('opentelemetry-sdk')} with a distro")


def _doubles(around: Surroundings) -> Iterator[Finding]:
    found = {
        entry.name: module
        for entry in around.instrumentors
        for module in span_makers(each.module for each in around.recorded)
        if entry.value.startswith(f"{module}:") and not around.is_disabled(entry.name)
    }
    if not found:
        yield ok("no other instrumentation gives the same calls a second span")
        return
    off = ",".join(sorted(around.disabled | set(found)))
    yield warning(
        f"{', '.join(sorted(found.values()))} instruments the same libraries: each model call has two spans",
        f"export {DISABLED}={off}",
    )


def _start(around: Surroundings) -> Iterator[Finding]:
    start = around.start
    if start is None:
        return
    if start.problem:
        yield fault(f"opentelemetry-instrument does not start its SDK: {start.problem}", start.fix)
        return
    expected = [each.instrumentor for each in around.recorded]
    missing = [name for name in expected if name not in start.instrumented]
    for name in missing:
        said = f": {start.said}" if start.said else ""
        yield fault(f"{name} was not loaded by opentelemetry-instrument{said}", "pip check")
    if not missing:
        yield ok(f"opentelemetry-instrument loads {', '.join(start.instrumented) or 'none of ours'}")


CHECKS = (
    Check("libraries", "instrumentors that are disabled, or have no library", _libraries),
    Check("sdk", "SDK and distro installed, and not switched off by `OTEL_SDK_DISABLED`", _sdk),
    Check("doubles", "other instrumentations that give each call a second span", _doubles),
    Check("start", "a process under `opentelemetry-instrument` loads the SDK and our instrumentors", _start, "auto"),
)
