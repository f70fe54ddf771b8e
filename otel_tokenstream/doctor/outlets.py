"""Live outlets, and the counters that tell of losses."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok
from otel_tokenstream.doctor.secrets import HIDDEN
from otel_tokenstream.settings import SettingError, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.doctor.surroundings import Surroundings

INTERNAL = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
_PATIENCE = 3.0  # seconds
_EXTRAS = {"redis": ("redis", 6379), "rediss": ("redis", 6379), "amqp": ("rabbitmq", 5672), "amqps": ("rabbitmq", 5671)}
_CLIENTS = {"redis": "redis", "rabbitmq": "pika"}


def _outlets(around: Surroundings) -> Iterator[Finding]:
    try:
        targets = Settings.load(environ=around.environ).live
    except SettingError:  # the check of settings tells of it
        return
    if not targets:
        yield ok("none is configured (OTEL_TOKENSTREAM_LIVE)")
    for target in targets:
        yield _outlet(around, target)


def _outlet(around: Surroundings, target: str) -> Finding:
    if target == "terminal":
        return ok("terminal")
    parts = urlsplit(target)
    extra, port = _EXTRAS[parts.scheme]
    if around.version(_CLIENTS[extra]) is None:
        return fault(
            f"{parts.scheme}:// needs {_CLIENTS[extra]}, which is not installed: no live event is sent",
            f'pip install "otel-tokenstream[{extra}]"',
        )
    try:
        where = parts.hostname or "localhost", parts.port or port
        with socket.create_connection(where, timeout=_PATIENCE):
            return ok(f"{where[0]}:{where[1]} takes connections")
    except (OSError, ValueError) as error:
        user = f"{HIDDEN}@" if parts.username or parts.password else ""
        shown = f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}"
        return fault(
            f"{shown} takes no connection ({getattr(error, 'strerror', None) or error}): live events are dropped and "
            "counted in tokenstream.live.dropped",
            "start the broker, or correct its address in OTEL_TOKENSTREAM_LIVE",
        )


def _losses(around: Surroundings) -> Iterator[Finding]:
    if around.is_true(INTERNAL):
        yield ok("the SDK counts what it drops (otel.sdk.*), as tokenstream.live.dropped and tokenstream.faults do")
    else:
        yield ok(f"tokenstream.live.dropped and tokenstream.faults count losses; {INTERNAL}=true adds the SDK's")


CHECKS = (
    Check(
        "live outlets",
        "client libraries of `OTEL_TOKENSTREAM_LIVE`, and whether its brokers take connections",
        _outlets,
    ),
    Check("losses", "the counters of lost data; with a command they are read", _losses),
)
