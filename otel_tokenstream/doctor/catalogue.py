"""All checks, in the order in which they are made and printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.doctor import (
    configuration,
    exporting,
    instrumentation,
    outlets,
    packages,
    probing,
    processes,
    running,
)

if TYPE_CHECKING:
    from otel_tokenstream.doctor.findings import Check

GROUPS: dict[str, tuple[Check, ...]] = {
    "Packages": packages.CHECKS,
    "Instrumentation": instrumentation.CHECKS,
    "Configuration": configuration.CHECKS,
    "Processes": processes.CHECKS,
    "Export": exporting.CHECKS,
    "Live outlets and losses": outlets.CHECKS,
    "Libraries": probing.CHECKS,
    "The program's run": running.CHECKS,
}
