"""Writes what the documentation derives from the code: docs/signals.md, docs/settings.md, the tables of README.md.

With ``--check`` nothing is written; the exit code tells whether a file is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream import signals
from otel_tokenstream.settings import Setting, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent

SIGNALS = """\
# What is recorded

Generated from `otel_tokenstream/signals.py` by `make docs`.

Instrumentation scope `{scope}`, schema `{schema}`. Names under `gen_ai.`,
`server.`, `error.` and `user.` are those of the OpenTelemetry semantic conventions; names under
`tokenstream.` and `dspy.` are this package's own. A value that was not measured is absent: it is
never replaced by a default. Durations are seconds in metrics and in the convention's attributes,
integer milliseconds in the package's own span attributes, integer microseconds in events.

## The span of a model call

One span for each call of the application, of kind client, named after operation and model. It
covers the library's retries and fallbacks, and ends when the stream ends, however it ends.

{span_attributes}
## The span of a DSPy module

One internal span for each call of a module, named after its class; the parent of what the module calls.

{module_attributes}
## Events

On the span when it ends, or as log records of the same name while the stream runs, or both, as
`OTEL_TOKENSTREAM_EVENTS` says.

{events}
{event_attributes}
## Log records of a call

Where content is captured on events, whatever `OTEL_TOKENSTREAM_EVENTS` says. Their attributes are
the span's, with those that `correlate` adds.

{records}
## Metrics

Independent of trace sampling, and recorded in the span's context, so that exemplars lead to traces.
`OTEL_TOKENSTREAM_METRIC_NAMES` chooses between `gen_ai.client.operation.*` and `gen_ai.client.inference.*`.

{metrics}
## Advised bucket bounds

In the unit of the histogram. A view of the application overrides them.

{buckets}"""

SETTINGS_INTRODUCTION = """\
# Settings

Generated from `otel_tokenstream/settings.py` by `make docs`.

Each setting has one name in three places: an option of `instrument()` and of the declarative
configuration file (first column), an environment variable (second column), and, except for content
capture, a flag of `opentelemetry-instrument`: the variable in lower case without `OTEL_`, for
example `--tokenstream_stall_threshold 5`. An option wins over a flag or variable, and that over the default.

A bad option or value names the setting, the value and what is allowed. `instrument()` raises
`SettingError`. Under `opentelemetry-instrument`, and in a configuration file, it is logged once as an
error and the default is used, because raising there would switch off every instrumentation of the process.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def code(name: object) -> str:
    return f"`{name}`"


def names(values: Iterable[str]) -> str:
    return ", ".join(code(value) for value in values)


# --- Signals ------------------------------------------------------------------------------


def attributes(of: Iterable[signals.Attribute]) -> str:
    return table(("Attribute", "Type", "Unit", "Meaning"), ((code(a.name), a.type, a.unit, a.brief) for a in of))


def span_attributes(*prefixes: str) -> str:
    return attributes(each for each in signals.SPAN_ATTRIBUTES.values() if each.name.startswith(prefixes))


def events() -> str:
    rows = [(code(each.name), each.brief, names(each.attributes)) for each in signals.EVENTS.values()]
    return table(("Event", "Meaning", "Attributes, in this order"), rows)


def records() -> str:
    rows = [(code(each.name), each.brief, names(each.attributes)) for each in signals.RECORDS.values()]
    return table(("Log record", "Meaning", "Attributes, where the span would have them"), rows)


def metrics() -> str:
    rows = [(code(m.name), m.kind, m.unit, m.brief, names(m.attributes)) for m in signals.METRICS.values()]
    return table(("Metric", "Kind", "Unit", "Meaning", "Attributes"), rows)


def buckets() -> str:
    by_bounds: dict[tuple[float, ...], list[str]] = {}
    for each in signals.METRICS.values():
        if each.buckets:
            by_bounds.setdefault(each.buckets, []).append(each.name)
    rows = [(", ".join(f"{bound:.15g}" for bound in bounds), names(of)) for bounds, of in by_bounds.items()]
    return table(("Bounds", "Histograms"), rows)


def signals_page() -> str:
    return SIGNALS.format(
        scope=signals.SCOPE,
        schema=signals.SCHEMA_URL,
        span_attributes=span_attributes("gen_ai.", "server.", "error.", "user.", "tokenstream."),
        module_attributes=span_attributes("dspy."),
        events=events(),
        records=records(),
        event_attributes=attributes(signals.EVENT_ATTRIBUTES.values()),
        metrics=metrics(),
        buckets=buckets(),
    )


# --- Settings -----------------------------------------------------------------------------


def default(setting: Setting) -> str:
    if setting.default in (None, frozenset(), ()):
        return "none"
    value = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return f"{code(value)} {setting.unit}".rstrip()


def settings_short() -> str:
    rows = [(code(each.environment), default(each), each.brief) for each in catalogue().values()]
    return table(("Variable", "Default", "Meaning"), rows)


def settings_page() -> str:
    rows = [
        (code(each.name), code(each.environment), default(each), each.allowed, each.zero, each.brief)
        for each in catalogue().values()
    ]
    head = ("Option", "Variable", "Default", "Allowed", "0 means", "Meaning")
    return "\n".join((SETTINGS_INTRODUCTION, table(head, rows)))


# --- Files --------------------------------------------------------------------------------


def between_markers(text: str, part: str, content: str) -> str:
    """Replace what stands between ``<!-- generated: part -->`` and the next ``<!-- end -->``."""
    pattern = re.compile(rf"(<!-- generated: {part} -->\n).*?(<!-- end -->)", re.DOTALL)
    replaced, found = pattern.subn(lambda match: f"{match[1]}{content}{match[2]}", text)
    if found != 1:
        msg = f"README.md must have the marker <!-- generated: {part} --> once, and <!-- end --> after it"
        raise SystemExit(msg)
    return replaced


def readme() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for part, content in (
        ("span attributes", span_attributes("tokenstream.")),
        ("events", table(("Event", "Meaning"), ((code(e.name), e.brief) for e in signals.EVENTS.values()))),
        ("metrics", table(("Metric", "Meaning"), ((code(m.name), m.brief) for m in signals.METRICS.values()))),
        ("settings", settings_short()),
    ):
        text = between_markers(text, part, content)
    return text


def documents() -> dict[Path, str]:
    return {
        ROOT / "docs" / "signals.md": signals_page(),
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "README.md": readme(),
    }


def stale() -> list[Path]:
    """Files that differ from what the code says."""
    return [
        path
        for path, content in documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of date")
    check = parser.parse_args().check
    outdated = stale()
    for path in outdated:
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code says: run make docs\n")
        else:
            path.write_text(documents()[path], encoding="utf-8")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
