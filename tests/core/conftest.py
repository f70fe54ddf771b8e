from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from calls import Ends

from otel_tokenstream.core.telemetry import telemetry_for
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.testing import Capture


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def record() -> Iterator[Callable[..., tuple[Telemetry, Capture]]]:
    """Takes settings and returns the telemetry with them, and what it emits."""
    with ExitStack() as stack:

        def made(**settings: Any) -> tuple[Telemetry, Capture]:
            captured = stack.enter_context(capture(**settings))
            providers = (captured.tracer_provider, captured.meter_provider, captured.logger_provider)
            return telemetry_for(Settings.load(settings), *providers), captured

        yield made
