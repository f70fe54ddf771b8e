from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.viewer import running
from tests.viewer.scenes import Application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser


@pytest.fixture
def viewer(tmp_path: Path, http_port: int) -> Iterator[Viewer]:
    with running(http_port, database=tmp_path / "viewer.db") as viewer:
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
def open_browser(viewer: Viewer, open_browser: Browser) -> Browser:
    """The browser, set up after the viewer, so that it leaves the page before the viewer stops."""
    del viewer
    return open_browser
