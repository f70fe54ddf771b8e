"""An OTLP receiver, store and page for a laptop without containers."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
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
    objectives: Path | None = None,
    host: str = "127.0.0.1",
    *,
    token: bool = False,
) -> Viewer:
    """A viewer for a ``with`` block, in this process; port 0 takes a free one.

    ``objectives`` is a file like grafana/objectives.yaml; without it first tokens are judged as the alerts do.

    ``host`` is the address to listen on. Beyond this machine, or with ``token``, every request must carry the viewer's
    token (``reach.token``), and behind a reverse proxy any name is answered to.

    Raises ModuleNotFoundError when the extra is not installed, and what serve raises.
    """
    try:
        from otel_tokenstream.viewer.reach import Reach  # noqa: PLC0415
        from otel_tokenstream.viewer.retention import Retention  # noqa: PLC0415  # the extra may be missing
        from otel_tokenstream.viewer.server import Viewer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = f"the viewer needs {error.name}: pip install 'otel-tokenstream[viewer]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    return Viewer(
        http_port, grpc_port, database, Retention(retention_days, max_bytes), objectives, Reach.of(host, token=token)
    )


def serve(
    http_port: int = 4318,
    grpc_port: int = 4317,
    database: Path | None = None,
    retention_days: float = 7,
    objectives: Path | None = None,
    host: str = "127.0.0.1",
    *,
    token: bool = False,
) -> None:
    """Runs until SIGINT or SIGTERM; prints the page's address when it is ready. For the main thread.

    Raises OSError when a port is taken, ValueError when the database is not the viewer's, a port cannot be, the
    retention is not above 0, or the file of objectives says what is not allowed.
    """
    _allow_connections()
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running(
            http_port, grpc_port, database, retention_days, objectives=objectives, host=host, token=token
        ) as viewer:
            print(f"otel-tokenstream viewer: {viewer.entrance}", flush=True)  # noqa: T201  # what the user waits for
            if viewer.reach.token:
                header = f"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{viewer.reach.token}"
                print(f"applications send to it with {header}", flush=True)  # noqa: T201
            while not stopped.wait(0.5):  # without a timeout, Windows would not let Ctrl-C through
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _allow_connections() -> None:
    """Let the process have as many open files as it may: each connection is one, and the usual limit is 1024."""
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ModuleNotFoundError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_FILES = 8192
