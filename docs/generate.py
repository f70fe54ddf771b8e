"""Write the pages that derive from the code: docs/signals.md, docs/settings.md, docs/entries.md.

docs/versions.md, the line on versions in README.md and the versions that ``otel-tokenstream doctor`` knows derive from
docs/versions.json, which ``make test-versions`` writes.

With ``--check`` nothing is written; the exit code is 1 if a file is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.doctor.catalogue import GROUPS
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

One internal span for each call of a module, named after its class; the parent of the calls that the module makes.

{module_attributes}
## Events

On the span when it ends, or as log records of the same name while the stream runs, or both, as
`OTEL_TOKENSTREAM_EVENTS` says.

{events}
{event_attributes}
## Log records of a call

Whatever `OTEL_TOKENSTREAM_EVENTS` says. Their attributes are the span's, with those that `correlate` adds.

{records}
## Metrics

Independent of trace sampling, and recorded in the span's context, so that exemplars lead to traces.

{metrics}
## Names of the conventions by setting

`OTEL_TOKENSTREAM_METRIC_NAMES` chooses between the names of the semantic conventions 1.41 (`old`, the default, which
most back ends know) and those of the GenAI conventions 0.1 (`new`); `both` emits all of them. Dashboards and alerts of
this repository work with each.

{conventions}
Whatever the setting says, `gen_ai.response.finish_reasons` reads `error` for a choice that was cut before it had a
reason, token counts by modality stand under the names of 0.1, and `gen_ai.*` span attributes do not differ otherwise.

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

A message about a bad option names the setting, the value and the allowed values. `instrument()` raises
`SettingError`. Under `opentelemetry-instrument`, and in a configuration file, it is logged once as an
error and the default is used, because raising there would switch off every instrumentation of the process.
"""

ENTRIES_PAGE = """\
# What is seen of each library

Generated from `tests/entries/table.py` by `make docs`. Each row is a test with the real library over real HTTP, with
all instrumentors of this package: the entry is called, in its async form too where it has one, and its stream is read
to the end. The span then has exactly the marked facts. Every row has one span a call, with its model, provider,
server, duration and outcome.

- *chunks*: it is a stream. Each chunk is timed, with time to the first token, gaps, waits and stalls.
- *text*: the answer, where [content](content.md) is captured.
- *usage*: the token counts that the provider reported. Those that a library estimates do not count here.
- *reason*, *model*, *id*: the finish reason, the model that answered, the answer's id.

"""

VERSIONS = """\
# Versions

Generated from `docs/versions.json`, which `make test-versions` writes, by `make docs`.

Each row is an environment of its own, on Linux, in which `tests/versions` ran: one stream is one span, sync and async,
with litellm imported before and after; modules, fields, tools and retrievers of DSPy; plain calls streamed underneath;
streams that break off; no function of litellm left unpatched. A row names what it holds back; everything else in it is
the newest that pip gives with that, on the day it ran. `make test-newest` runs the endings and the tests of the patches
as well, with the newest of everything.

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


def conventions() -> str:
    """Return the table of what each value of ``metric_names`` emits."""
    old, new = ("yes", "", "yes"), ("", "yes", "yes")
    rows = [
        (f"metric `{name}`", *(old if name in signals.OLD_NAMES else new))
        for name in signals.METRICS
        if name in signals.OLD_NAMES | signals.NEW_NAMES
    ]
    rows += [
        (f"log record `{signals.EXCEPTION_RECORD}` for a call that failed", *new),
        ("span of an agent or a whole program named after its class", "yes", "", ""),
        (f"that span named `invoke_agent` or `invoke_workflow` and the class, with `{signals.AGENT_NAME}`", *new),
    ]
    return table(("Signal", "`old`", "`new`", "`both`"), rows)


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
        module_attributes=span_attributes("dspy.", signals.AGENT_NAME),
        events=events(),
        records=records(),
        event_attributes=attributes(signals.EVENT_ATTRIBUTES.values()),
        metrics=metrics(),
        conventions=conventions(),
        buckets=buckets(),
    )


# --- Settings -----------------------------------------------------------------------------


def default(setting: Setting) -> str:
    if setting.default in (None, frozenset(), ()):
        return "none"
    value = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return f"{code(value)} {setting.unit}".rstrip()


def settings_page() -> str:
    rows = [
        (code(each.name), code(each.environment), default(each), each.allowed, each.zero, each.brief)
        for each in catalogue().values()
    ]
    head = ("Option", "Variable", "Default", "Allowed", "0 means", "Meaning")
    return "\n".join((SETTINGS_INTRODUCTION, table(head, rows)))


# --- Versions -----------------------------------------------------------------------------

LIBRARIES = {"litellm": "litellm", "dspy": "DSPy", "openai": "openai", "opentelemetry-sdk": "OpenTelemetry SDK"}


def results() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((ROOT / "docs" / "versions.json").read_text(encoding="utf-8"))
    return found


def outcome(row: dict[str, Any]) -> str:
    told = [f"{row['passed']} passed"]
    if row["skipped"]:
        told.append(f"{row['skipped']} skipped")
    if row["failed"]:
        told.append(f"{len(row['failed'])} failed: {names(row['failed'])}")
    return ", ".join(told)


def versions_page() -> str:
    rows = [
        (code(name), *(row.get(each, "none") for each in (*LIBRARIES, "python")), outcome(row))
        for name, row in results().items()
    ]
    return VERSIONS + table(("Row", *LIBRARIES.values(), "Python", "Tests"), rows)


def passed() -> list[dict[str, Any]]:
    """Return the rows that may be claimed: those in which no test failed."""
    return [row for row in results().values() if row["passed"] and not row["failed"]]


def ordered(versions: Iterable[str]) -> list[str]:
    return sorted(set(versions), key=lambda each: [int(number) for number in re.findall(r"\d+", each)])


def newest_tested() -> str:
    newest = {name: ordered(row[name] for row in passed() if name in row) for name in LIBRARIES}
    return json.dumps({name: found[-1] for name, found in newest.items() if found}, indent=1) + "\n"


def versions_short() -> str:
    """One line."""
    good = passed()

    def span(of: str) -> str:
        found = ordered(row[of] for row in good if of in row)
        return " to ".join(dict.fromkeys((found[0], found[-1]))) if found else "none"

    said = ", ".join(f"{name} {span(each)}" for each, name in {**LIBRARIES, "python": "Python"}.items())
    failed = len(results()) - len(good)
    less = f"; {failed} of {len(results())} environments have failures" if failed else ""
    return f"- Tested on Linux with {said}{less}: [docs/versions.md](docs/versions.md).\n"


# --- Entries ------------------------------------------------------------------------------


def entries_page() -> str:
    """Return the page of entries, a table for each library."""
    sys.path.insert(0, str(ROOT))
    from tests.entries.entry import FACTS  # noqa: PLC0415  # beside the package, which does not know its tests
    from tests.entries.table import ENTRIES  # noqa: PLC0415

    parts = []
    for library in dict.fromkeys(each.library for each in ENTRIES):
        of = [each for each in ENTRIES if each.library == library]
        rows = [(code(each.name), *("yes" if fact in each.seen else "-" for fact in FACTS)) for each in of]
        parts.append(f"## {library}\n\n{table(('Entry', *FACTS), rows)}")
    return ENTRIES_PAGE + "\n".join(parts)


# --- Doctor -------------------------------------------------------------------------------


def checks() -> str:
    rows = [(group, code(each.name), each.brief, each.needs) for group, of in GROUPS.items() for each in of]
    return table(("", "Check", "Looks at", "Extra"), rows)


# --- Files --------------------------------------------------------------------------------


def between_markers(path: Path, part: str, content: str) -> str:
    """Return a file with what stands between ``<!-- generated: part -->`` and the next ``<!-- end -->`` replaced."""
    replaced, found = re.subn(
        rf"(<!-- generated: {part} -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}{content}{match[2]}",
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if found != 1:
        msg = f"{path.name} must have the marker <!-- generated: {part} --> once, and <!-- end --> after it"
        raise SystemExit(msg)
    return replaced


def documents() -> dict[Path, str]:
    return {
        ROOT / "docs" / "signals.md": signals_page(),
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "entries.md": entries_page(),
        ROOT / "docs" / "versions.md": versions_page(),
        ROOT / "docs" / "doctor.md": between_markers(ROOT / "docs" / "doctor.md", "checks", checks()),
        ROOT / "otel_tokenstream" / "doctor" / "tested.json": newest_tested(),
        ROOT / "README.md": between_markers(ROOT / "README.md", "versions", versions_short()),
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
