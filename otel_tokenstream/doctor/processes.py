"""Servers that fork and loops that patch: known from the command, and from the variables and files servers read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_tokenstream.doctor.surroundings import Surroundings

GEVENT = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"
_SERVERS = ("gunicorn", "uwsgi", "celery")
_LARGEST = 1 << 20  # bytes of a program that are searched
_POOLS = re.compile(r"(?:-P|--pool)[ =]?(\w+)")


def _words(around: Surroundings) -> list[str]:
    """Return the command's words, and those that gunicorn takes from its variable."""
    words = list(around.command)
    if not words or "gunicorn" in _server(words):
        words += shlex.split(around.variable("GUNICORN_CMD_ARGS"))
    return words


def _server(words: Sequence[str]) -> str:
    """Return the name of the server among the first words, empty for another program."""
    for word in words[:6]:
        name = Path(word).name
        if name in _SERVERS:
            return name
    return ""


def _text_of(pattern: str, words: Sequence[str]) -> str:
    """Return the configuration files that the words name, and the one a server finds by itself."""
    named = [word.rpartition("=")[2].removeprefix("python:") for word in words]
    files = [Path(name) for name in [*named, pattern] if name.endswith((".py", ".ini", ".yaml", ".yml"))]
    return "\n".join(_read(path) for path in dict.fromkeys(files))


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        return ""


def _forks(around: Surroundings) -> Iterator[Finding]:
    words = _words(around)
    server = _server(words)
    if server == "gunicorn" or (not around.command and _is_gunicorn_here(around)):
        yield from _gunicorn(words)
    elif server == "uwsgi":
        yield from _uwsgi(around, words)
    elif server == "celery" and "worker" in words:
        yield from _celery(words)
    elif around.command:
        yield ok("the command is no server known to fork")
    else:
        yield ok("no server that forks is configured here; with -- COMMAND its words are looked at")


def _is_gunicorn_here(around: Surroundings) -> bool:
    return bool(around.variable("GUNICORN_CMD_ARGS")) or Path("gunicorn.conf.py").exists()


def _gunicorn(words: Sequence[str]) -> Iterator[Finding]:
    preload = re.search(r"^\s*preload_app\s*=\s*True", _text_of("gunicorn.conf.py", words), re.MULTILINE)
    if "--preload" in words or preload:
        yield warning(
            "gunicorn preloads the program: calls made before the fork are counted again by each worker",
            "make no model call while the program loads, or leave --preload and preload_app out",
        )
    else:
        yield ok("gunicorn loads the program in each worker")


def _uwsgi(around: Surroundings, words: Sequence[str]) -> Iterator[Finding]:
    given = " ".join(words) + "\n" + _text_of("", words)
    if not _is_given("enable-threads", given, around) and not _is_given("threads", given, around):
        yield fault(
            "uwsgi runs without threads: the SDK's exporters never send", "add --enable-threads to uwsgi's options"
        )
    elif not _is_given("lazy-apps", given, around) and not _is_given("lazy", given, around):
        yield warning(
            "uwsgi loads the program before it forks: calls made then are counted again by each worker",
            "add --lazy-apps to uwsgi's options",
        )
    else:
        yield ok("uwsgi has threads and loads the program in each worker")


def _is_given(option: str, text: str, around: Surroundings) -> bool:
    if around.variable(f"UWSGI_{option.upper().replace('-', '_')}").lower() not in ("", "0", "false"):
        return True
    return re.search(rf"(?:--|^\s*){option}(?:\s*[=:]\s*(?!false|0\b)\S+|\s|$)", text, re.MULTILINE) is not None


def _celery(words: Sequence[str]) -> Iterator[Finding]:
    pool = _POOLS.search(" ".join(words))
    if pool is None or pool[1] in ("prefork", "processes"):
        yield warning(
            "the children of Celery's prefork pool run no exit handlers: what a task recorded last can be lost",
            "call otel_tokenstream.flush() at the end of each task, or run celery worker --pool threads",
        )
    else:
        yield ok(f"Celery's pool {pool[1]} does not fork")


def _gevent(around: Surroundings) -> Iterator[Finding]:
    patched = around.variable(GEVENT)
    if patched and patched != "patch_all":
        yield fault(f"{GEVENT} is {patched!r}, which does nothing", f"export {GEVENT}=patch_all")
    elif patched and around.version("gevent") is None:
        yield fault(f"{GEVENT} is set and gevent is not installed", f"pip install gevent, or unset {GEVENT}")
    elif not patched and _uses_gevent(_words(around)):
        yield fault(
            "gevent patches the process after the SDK has started: its threads and locks can hang",
            f"export {GEVENT}=patch_all",
        )
    else:
        yield ok("gevent patches before the SDK starts" if patched else "gevent is not used by what is known here")


def _uses_gevent(words: Sequence[str]) -> bool:
    line = " ".join(words)
    if re.search(r"(?:-k|--worker-class|-P|--pool)[ =]?(?:gevent|geventwebsocket)|--gevent\b", line):
        return True
    programs = [Path(word) for word in words if word.endswith(".py")]
    return any(re.search(r"^\s*(?:\w+\.)*(?:monkey\.)?patch_all\(", _read(each), re.MULTILINE) for each in programs)


CHECKS = (
    Check("fork servers", "gunicorn with preload, uwsgi, Celery's prefork pool", _forks),
    Check("gevent", "whether gevent patches before the SDK starts", _gevent),
)
