"""The processes the demo starts; whatever happens, they end with it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

SECONDS_TO_END = 8.0
HOST = "127.0.0.1"
# A proxy meant for the internet must not be asked for a server on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ChildError(RuntimeError):
    """A process of the demo did not start or ended too early; the message carries the end of its output."""


class Children:
    """Starts processes and ends them, by process id, when the ``with`` block is left."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _signals_ignored():
            for process in reversed(self._running):
                end(process)

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, shown: bool = False
    ) -> subprocess.Popen[bytes]:
        """Output goes to the terminal if ``shown``, else to a file that ``ready`` quotes when things go wrong."""
        with contextlib.ExitStack() as stack:
            output = None if shown else stack.enter_context(self._log(name).open("wb"))
            process = subprocess.Popen(  # noqa: S603 - commands of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if shown else subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
            )
        self._running.append(process)
        return process

    def ready(self, name: str, process: subprocess.Popen[bytes], url: str, within: float) -> None:
        """Wait until ``url`` answers."""
        deadline = time.monotonic() + within
        while not _answers(url):
            if process.poll() is not None:
                msg = f"the {name} ended with exit code {process.returncode}:\n{self._tail(name)}"
                raise ChildError(msg)
            if time.monotonic() > deadline:
                msg = f"the {name} does not answer at {url} after {within:g} s:\n{self._tail(name)}"
                raise ChildError(msg)
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"

    def _tail(self, name: str) -> str:
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-20:])


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it if it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port(preferred: int = 0) -> int:
    """The preferred port of this machine, or another one if it is taken."""
    with socket.socket() as listener:
        if sys.platform != "win32":  # there, the option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, preferred))
        except OSError:
            listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def get(url: str) -> bytes:
    with _opener.open(url, timeout=10) as response:
        return bytes(response.read())


def _answers(url: str) -> bool:
    try:
        get(url)
    except (urllib.error.URLError, OSError):
        return False
    return True


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ending takes seconds at most; a second Ctrl-C must not leave processes behind."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
