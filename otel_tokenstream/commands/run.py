"""Run a program instrumented, with a viewer that shows its streams while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream.commands.program import NOT_FOUND, ProgramError, instrumented
from otel_tokenstream.commands.viewer_client import ViewerClient

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

DESCRIPTION = """\
Run a program under opentelemetry-instrument and show its streams in the viewer while they run:

  otel-tokenstream run -- python app.py

A viewer that runs already is used; otherwise one is started, which stays until Ctrl-C where there is a
terminal. Variables that you set (OTEL_*) are left as they are: with an endpoint of your own nothing is
started, and telemetry goes there. The exit code is the program's.
"""

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
_SETTLE_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--http-port", type=int, default=4318, metavar="N", help="of the viewer; default 4318")
    parser.add_argument("--database", type=Path, metavar="FILE", help="of a viewer that is started; as for view")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--exit", action="store_true", help="end with the program, also in a terminal")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after --: the program and its arguments")


def environment_for(url: str, command: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the program's environment; what is ``given`` wins.

    Log records leave within a fraction of a second, so that the page follows a stream while it runs.
    """
    defaults = {
        "OTEL_SERVICE_NAME": _service(command),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_TOKENSTREAM_EVENTS": "both",
    }
    if not any(given.get(name) for name in ENDPOINTS):
        defaults["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
        defaults["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        for name in ("NO_PROXY", "no_proxy"):
            if name in given:
                defaults[name] = given[name]
    if "OTEL_RESOURCE_ATTRIBUTES" in given and "service.name=" in given["OTEL_RESOURCE_ATTRIBUTES"]:
        del defaults["OTEL_SERVICE_NAME"]
    return {**defaults, **given}


def _service(command: Sequence[str]) -> str:
    """Return a name for the program: its script or module, else the command itself."""
    words = list(command)
    for at, word in enumerate(words[1:], 1):
        if word == "-m" and at + 1 < len(words):
            return words[at + 1]
        if word.endswith(".py"):
            return Path(word).stem
    return Path(words[0]).name


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code.

    Raises:
        ViewerError: the viewer's port is taken by something else.
        ModuleNotFoundError: a viewer is to be started and its extra is missing.

    """
    try:
        command = instrumented(arguments.command)
    except ProgramError as error:
        _say(str(error))
        return error.code
    url = f"http://127.0.0.1:{arguments.http_port}"
    theirs = [name for name in ENDPOINTS if os.environ.get(name)]
    with contextlib.ExitStack() as stack:
        started = False
        if theirs:
            _say(f"{theirs[0]} is set: streams go to {os.environ[theirs[0]]}, and no viewer is started")
        elif ViewerClient(url).is_there():
            _say(f"streams are shown at {url}")
        else:
            try:
                stack.enter_context(_viewer(arguments))
            except (OSError, ValueError, OverflowError) as error:
                _say(f"the viewer cannot start: {error}")
                return 1
            started = True
            _say(f"started a viewer; streams are shown at {url}")
        if arguments.open and not theirs:
            webbrowser.open(url)
        code = _run_program(command, environment_for(url, arguments.command, os.environ))
        if started:
            _stay(url, code, exit_now=arguments.exit or not sys.stdin.isatty())
    return code


def _viewer(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[object]:
    from otel_tokenstream.viewer import running  # noqa: PLC0415  # needs an extra

    return running(arguments.http_port, database=arguments.database)


def _run_program(command: Sequence[str], environment: Mapping[str, str]) -> int:
    with _signals() as passed_on:
        try:
            process = subprocess.Popen(command, env=dict(environment))  # noqa: S603  # the user's own
        except OSError as error:
            _say(f"{command[0]}: {error.strerror}")
            return NOT_FOUND
        passed_on.append(process)
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _signals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Leave Ctrl-C to the program, which the terminal tells too, and pass SIGTERM on to it."""
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
    }
    try:
        yield processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stay(url: str, code: int, *, exit_now: bool) -> None:
    """Keep the viewer that was started until Ctrl-C, or for as long as it takes to store what came last."""
    if exit_now:
        time.sleep(_SETTLE_SECONDS)
        return
    _say(f"the program ended with exit code {code}; the viewer stays at {url} until Ctrl-C")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


def _say(text: str) -> None:
    print(f"otel-tokenstream run: {text}", file=sys.stderr, flush=True)  # noqa: T201
