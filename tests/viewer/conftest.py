from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scenes import Application

from otel_tokenstream.viewer import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from browser import Browser

    from otel_tokenstream.viewer.server import Viewer


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    with running(database=tmp_path / "viewer.db") as viewer:
        yield viewer


@pytest.fixture
def application(viewer: Viewer) -> Iterator[Callable[..., Application]]:
    """Starts applications that export to the viewer; closed before the viewer is."""
    started: list[Application] = []

    def start(service: str = "checkout", protocol: str = "http") -> Application:
        started.append(Application(viewer, service, protocol))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def browser(started_browser: Browser) -> Iterator[Browser]:
    """Whatever a test does, the page must leave the console empty: no error, no policy violation."""
    started_browser.prefer("light")
    started_browser.console()
    yield started_browser
    assert started_browser.console() == []
