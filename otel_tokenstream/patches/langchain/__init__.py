"""LangChain: every model that is one of its chat models or completion models, whoever provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.patches.langchain import groups, invocations, models, tree
from otel_tokenstream.patches.table import PatchTable

if TYPE_CHECKING:
    from otel_tokenstream.core.emit.telemetry import Telemetry


class _Table(PatchTable):
    def remove(self) -> None:
        super().remove()
        models.restore()
        tree.forget()


def table(telemetry: Telemetry) -> PatchTable:
    patches = [*invocations.patches(telemetry), *groups.patches(telemetry), *tree.patches(telemetry)]
    return _Table(patches, "langchain_core")
