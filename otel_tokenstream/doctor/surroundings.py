"""The surroundings that checks read: variables, packages, and the report of a started process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import TYPE_CHECKING

from otel_tokenstream.doctor.libraries import libraries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_tokenstream.doctor.libraries import Library
    from otel_tokenstream.doctor.running import Run
    from otel_tokenstream.doctor.starting import Start

DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_TRUE = "true"


@dataclass
class Surroundings:
    """``command`` is the program to run, empty where none was given."""

    environ: Mapping[str, str]
    command: Sequence[str] = ()
    probe: bool = True

    def variable(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def is_true(self, name: str) -> bool:
        return self.variable(name).lower() == _TRUE

    @cached_property
    def _installed(self) -> dict[str, tuple[Distribution, str]]:
        """Each with its version, read once: reading it parses all that the distribution says of itself."""
        found: dict[str, tuple[Distribution, str]] = {}
        for each in distributions():
            metadata = each.metadata
            if metadata["Name"]:
                found.setdefault(normalized(metadata["Name"]), (each, metadata["Version"]))
        return found

    @cached_property
    def packages(self) -> dict[str, Distribution]:
        """The installed distributions by normalized name; the first one on the path is the one that is imported."""
        return {name: package for name, (package, _) in self._installed.items()}

    def version(self, name: str) -> str | None:
        return self._installed.get(normalized(name), (None, None))[1]

    @cached_property
    def instrumentors(self) -> list[EntryPoint]:
        return list(entry_points(group="opentelemetry_instrumentor"))

    @cached_property
    def libraries(self) -> list[Library]:
        """Return those that have an instrumentor here, installed or not."""
        return libraries(self.instrumentors)

    @property
    def recorded(self) -> list[Library]:
        """Return those that are installed and whose instrumentor is not disabled."""
        return [
            each
            for each in self.libraries
            if self.version(each.package) is not None and not self.is_disabled(each.instrumentor)
        ]

    @cached_property
    def disabled(self) -> set[str]:
        return {name.strip() for name in self.variable(DISABLED).split(",") if name.strip()}

    def is_disabled(self, instrumentor: str) -> bool:
        return bool(self.disabled & {instrumentor, "*"})

    @property
    def has_sdk(self) -> bool:
        return self.version("opentelemetry-sdk") is not None

    @property
    def has_distro(self) -> bool:
        return bool(entry_points(group="opentelemetry_configurator"))

    @property
    def can_start(self) -> bool:
        """Return whether ``opentelemetry-instrument`` would start an SDK at all."""
        return self.has_sdk and self.has_distro and not self.is_true("OTEL_SDK_DISABLED")

    @cached_property
    def start(self) -> Start | None:
        """A process under ``opentelemetry-instrument``; None where there is nothing to start."""
        from otel_tokenstream.doctor import starting  # noqa: PLC0415  # a process that many checks do without

        return starting.start(self.environ) if self.can_start else None

    @cached_property
    def run(self) -> Run | None:
        """The program's run; None where no command was given, or no SDK can be started for it."""
        from otel_tokenstream.doctor import running  # noqa: PLC0415  # as above

        return running.run(self.command, self.environ) if self.command and self.has_sdk and self.has_distro else None


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
