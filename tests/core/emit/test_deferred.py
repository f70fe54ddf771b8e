from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.core.emit import deferred
from otel_tokenstream.core.emit.deferred import DeferredTelemetry
from otel_tokenstream.core.emit.telemetry import active, flush
from otel_tokenstream.core.runtime.guard import faults
from otel_tokenstream.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NONE: dict[str, Any] = {"tracer_provider": None, "meter_provider": None, "logger_provider": None}


class Provider:
    """Notes that it was flushed, and makes tracers."""

    flushed = False

    def get_tracer(self, *_: object, **__: object) -> object:
        return object()

    def force_flush(self, *_: object) -> bool:
        self.flushed = True
        return True


@pytest.fixture
def defer() -> Iterator[Callable[..., DeferredTelemetry]]:
    made: list[DeferredTelemetry] = []

    def make(library: str, **changes: Any) -> DeferredTelemetry:
        providers = {name: changes.pop(name, None) for name in NONE}
        made.append(DeferredTelemetry(library, Settings(**changes), providers))
        return made[-1]

    yield make
    for each in made:
        each.switch_off()


def test_it_is_made_when_first_asked_for_and_is_the_active_one(defer: Callable[..., DeferredTelemetry]) -> None:
    """A step of the program finds it though no library was imported."""
    waiting = defer("tested", model_limit=7)
    found = active()
    assert found is waiting.get()
    assert found.enabled
    assert found.settings.model_limit == 7


def test_the_settings_of_the_first_instrumentation_rule(defer: Callable[..., DeferredTelemetry]) -> None:
    """Also where the second library is imported first: what they share goes by the first one's limits."""
    defer("first", model_limit=0)
    second = defer("second", model_limit=7).get()
    assert second.instruments.model("model") == "_OTHER"
    assert active() is second


def test_telemetry_is_not_created_after_uninstrumenting(defer: Callable[..., DeferredTelemetry]) -> None:
    """Uninstrumenting before the import leaves nothing that waits."""
    waiting = defer("tested")
    waiting.switch_off()
    assert active() is None
    with pytest.raises(RuntimeError, match="tested"):
        waiting.get()


def test_flush_reaches_providers_that_were_given(defer: Callable[..., DeferredTelemetry]) -> None:
    """A program that has not imported the library yet has spans of its own there."""
    provider = Provider()
    defer("tested", tracer_provider=provider)
    assert flush(60)
    assert provider.flushed


def test_one_that_cannot_be_made_is_in_nobodys_way(defer: Callable[..., DeferredTelemetry]) -> None:
    """It raises where it is asked for itself, and is counted where others are."""
    broken = defer("broken", tracer_provider=object())
    with pytest.raises(AttributeError):
        broken.get()
    defer("broken again", tracer_provider=object())
    before = faults.total()
    good = defer("good")
    assert active() is good.get()
    assert faults.total() == before + 1
    assert not deferred._waiting


FORKED = """
import os, threading
from otel_tokenstream.core.emit import deferred, telemetry
from otel_tokenstream.settings import Settings

waiting = deferred.DeferredTelemetry("tested", Settings(), {})
held = threading.Event()

def hold():
    with deferred._making:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if not child:
    os._exit(0 if telemetry.active() is waiting.get() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_meanwhile_makes_its_own() -> None:
    """A lock that another thread of the parent holds is not the child's."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout == "0\n"
