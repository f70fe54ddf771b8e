from __future__ import annotations

import gc
import itertools
import os
import signal
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.emit.telemetry import telemetry_for
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture
    from tests.viewer.browser import Browser


with suppress(ModuleNotFoundError):  # the oldest versions are tested without it
    from hypothesis import settings

    # How long an example takes says nothing on a busy machine.
    settings.register_profile("without a deadline", deadline=None)
    settings.load_profile("without a deadline")

# Each process that imports litellm would ask the internet for its prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

_TESTS_A_COLLECTION = 25
_tests = itertools.count(1)


def pytest_configure() -> None:
    gc.disable()  # what is imported stays, and is a lot to look at
    # A shell without job control has its background commands ignore it, and they their children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Collect garbage between tests only, and not what the collection of tests has imported.

    Streams of openai's are reference cycles. One that is found while httpcore holds the lock of its pool closes its
    connection there, which takes the lock a second time and hangs the thread, with this package and without it.
    """
    gc.freeze()


@pytest.fixture(autouse=True)
def every_call_ends() -> Iterator[None]:
    """A call that a test leaves open is counted by those after it."""
    before = in_flight.snapshot()
    yield
    regular = next(_tests) % _TESTS_A_COLLECTION == 0
    if regular or any(call not in before for call in in_flight.snapshot()):
        gc.collect()
        in_flight.finish_dropped()
    if regular:
        gc.freeze()  # the libraries imported since: each collection of a test would look at them again
    assert [call for call in in_flight.snapshot() if call not in before] == []


@pytest.fixture
def record() -> Iterator[Callable[..., tuple[Telemetry, Capture]]]:
    """Takes settings and returns the telemetry with them, and what it emits."""
    with ExitStack() as stack:

        def made(**settings: Any) -> tuple[Telemetry, Capture]:
            captured = stack.enter_context(capture(**settings))
            providers = (captured.tracer_provider, captured.meter_provider, captured.logger_provider)
            return telemetry_for(Settings.load(settings), *providers), captured

        yield made


@pytest.fixture(scope="session")
def running_provider() -> Iterator[ScriptedProvider]:
    from otel_tokenstream.demo.provider import ScriptedProvider

    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
def provider(running_provider: ScriptedProvider) -> ScriptedProvider:
    """The scripted provider with an empty log and only the built-in scripts."""
    running_provider.reset()
    return running_provider


@pytest.fixture(scope="session")
def http_port() -> int:
    """A port that no outgoing connection takes: a browser keeps what it has compiled for one address only."""
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    pytest.fail("no port is free between 20000 and 32768")


@pytest.fixture(scope="session")
def started_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from tests.viewer.browser import Browser

    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def open_browser(started_browser: Browser) -> Iterator[Browser]:
    """The browser, which leaves the test's pages before their servers stop."""
    started_browser.prefer("light")
    started_browser.resize(1360, 1000)
    yield started_browser
    started_browser.leave()
    started_browser.console()


@pytest.fixture
def browser(open_browser: Browser) -> Iterator[Browser]:
    """The browser, whose console must be empty after the test: no error, and nothing refused by a page's policy."""
    yield open_browser
    assert open_browser.console() == []
