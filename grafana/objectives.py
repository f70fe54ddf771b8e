"""The objectives that rules and dashboards are generated from."""

from __future__ import annotations

from pathlib import Path

from otel_tokenstream.analysis.objectives import Objectives, load

SHIPPED = Path(__file__).parent / "objectives.yaml"


def shipped() -> Objectives:
    """Read ``objectives.yaml``; raises ValueError with what is allowed."""
    return load(SHIPPED)
