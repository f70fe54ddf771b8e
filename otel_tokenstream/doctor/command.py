"""``otel-tokenstream doctor``: its words, its output, its exit code."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from otel_tokenstream.doctor.catalogue import GROUPS
from otel_tokenstream.doctor.findings import Check, Finding, warning
from otel_tokenstream.doctor.secrets import hidden
from otel_tokenstream.doctor.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DESCRIPTION = """\
Say why there are no traces, two of each, no token numbers, or losses. Run it where the program runs: in its
environment of packages and with its variables. One line a check: ok, warning or fault, what was seen, what mends it.

  otel-tokenstream doctor                        checks the environment, and calls each entry of litellm and DSPy
                                                 on a scripted provider on this machine
  otel-tokenstream doctor -- python app.py       runs the program under opentelemetry-instrument instead, with a
                                                 receiver of its own, and says what came and what did not

A span and a metric named after doctor are sent to the receiver that is configured. Secrets are not printed.

exit code: 0, or 1 if there is a fault
"""


def main(argv: Sequence[str]) -> int:
    """Return the exit code; ``argv`` is what follows ``doctor``."""
    words, command = list(argv), list[str]()
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="otel-tokenstream doctor",
        usage="otel-tokenstream doctor [--json] [--no-probe] [-- COMMAND ...]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")
    parser.add_argument("--no-probe", action="store_true", help="call no library, which takes about half a minute")
    arguments = parser.parse_args(words)
    around = Surroundings(os.environ, command, probe=not arguments.no_probe and not command)
    findings = []
    for check, finding in examine(around):
        findings.append((check, finding))
        if not arguments.json:
            print(as_line(check, finding), flush=True)  # noqa: T201
    is_fault = any(finding.level == "fault" for _, finding in findings)
    if arguments.json:
        told = [{"check": check.name, **asdict(finding)} for check, finding in findings]
        print(json.dumps({"version": 1, "ok": not is_fault, "findings": told}, indent=2))  # noqa: T201
    return int(is_fault)


def examine(around: Surroundings) -> Iterator[tuple[Check, Finding]]:
    """Make all checks; one that fails itself is a warning."""
    for check in (check for checks in GROUPS.values() for check in checks):
        try:
            found = list(check.looks(around))
        except Exception as error:  # noqa: BLE001  # the others must be made nevertheless
            found = [warning(f"the check itself failed with {type(error).__name__}: {error}", "report it")]
        for each in found:
            yield check, replace(each, seen=hidden(each.seen, around.environ), fix=hidden(each.fix, around.environ))


def as_line(check: Check, finding: Finding) -> str:
    """Return one line of text, whatever line breaks a library's message has."""
    said = f"{finding.level:<8} {check.name}: {finding.seen}"
    return " ".join((f"{said}. Fix: {finding.fix}" if finding.fix else said).split("\n"))
