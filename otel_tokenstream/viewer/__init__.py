"""An OTLP receiver, store and page for a laptop without containers."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer

__all__ = ["running", "serve"]


def running(
    http_port: int = 0,
    grpc_port: int = 0,
    database: Path | None = None,
    retention_days: float = 7,
    max_bytes: int = 512 * 2**20,
) -> Viewer:
    """A viewer for a ``with`` block, in this process; port 0 takes a free one.

    Raises ModuleNotFoundError when the extra is not installed, and what serve raises.
    """
    try:
        from otel_tokenstream.viewer.retention import Retention  # noqa: PLC0415  # the extra may be missing
        from otel_tokenstream.viewer.server import Viewer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = f"the viewer needs {error.name}: pip install 'otel-tokenstream[viewer]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    return Viewer(http_port, grpc_port, database, Retention(retention_days, max_bytes))


def serve(
    http_port: int = 4318, grpc_port: int = 4317, database: Path | None = None, retention_days: float = 7
) -> None:
    """Runs until SIGINT or SIGTERM; prints the page's address when it is ready. For the main thread.

    Raises OSError when a port is taken, ValueError when the database is not the viewer's or the
    retention is not above 0.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running(http_port, grpc_port, database, retention_days) as viewer:
            print(f"otel-tokenstream viewer: {viewer.url}", flush=True)  # noqa: T201  # what the user waits for
            while not stopped.wait(0.5):  # without a timeout, Windows would not let Ctrl-C through
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
