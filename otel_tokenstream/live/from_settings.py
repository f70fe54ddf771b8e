"""Outlets by the names that ``OTEL_TOKENSTREAM_LIVE`` lists: a terminal, or a broker by its address.

The instrumentors share them: with litellm and DSPy instrumented there is one of each, which is
closed when the last of them is uninstrumented.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from otel_tokenstream.core.runtime import forking
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.live.sink import Attachment, Sink, attach

if TYPE_CHECKING:
    from collections.abc import Iterable

    Key = tuple[str, bool]

_logger = logging.getLogger(__name__)

_open: dict[Key, tuple[Attachment, int]] = {}
_changing = threading.Lock()


class OutletError(RuntimeError):
    """An outlet cannot be opened; the message says what to do, and has no address, which may hold a password."""


def sink_for(target: str) -> Sink:
    """Return the sink for ``terminal``, or for the address of a broker.

    Raises:
        OutletError: the client library is not installed, or the address cannot be read.

    """
    scheme = target.partition(":")[0]
    try:
        return _sink(target)
    except ValueError as error:
        message = f"OTEL_TOKENSTREAM_LIVE has an address of {scheme}:// that cannot be read: give host, port and path"
        raise OutletError(message) from error


def _sink(target: str) -> Sink:
    if target == "terminal":
        from otel_tokenstream.live.terminal import Terminal  # noqa: PLC0415  # only what is used is loaded

        return Terminal()
    if target.startswith("redis"):
        _require("redis", extra="redis")
        from otel_tokenstream.live.redis import RedisSink  # noqa: PLC0415  # as above

        return RedisSink(target)
    _require("pika", extra="rabbitmq")
    from otel_tokenstream.live.rabbitmq import RabbitMQSink  # noqa: PLC0415  # as above

    return RabbitMQSink(target)


class Outlets:
    """The outlets of one instrumentor.

    Raises:
        OutletError: see ``sink_for``; those that could be opened are closed again.

    """

    def __init__(self, targets: Iterable[str], *, text: bool) -> None:
        self._keys: list[Key] = []
        try:
            for target in targets:
                _use((target, text))
                self._keys.append((target, text))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for key in self._keys:
            _leave(key)
        self._keys = []


def _use(key: Key) -> None:
    target, text = key
    with _changing:
        if key in _open:
            attachment, users = _open[key]
        else:
            attachment, users = attach(sink_for(target), text=text), 0
        _open[key] = (attachment, users + 1)


@guarded
def _leave(key: Key) -> None:
    with _changing:
        attachment, users = _open.pop(key)
        if users > 1:
            _open[key] = (attachment, users - 1)
            return
    attachment.close()


def _require(module: str, *, extra: str) -> None:
    if find_spec(module) is None:
        message = f"OTEL_TOKENSTREAM_LIVE asks for {extra}: pip install 'otel-tokenstream[{extra}]'"
        raise OutletError(message)


@cache
def log_once(problem: str) -> None:
    """Log why live events do not go where they should; both instrumentors find out."""
    _logger.error("otel-tokenstream: %s. Going on without live outlets.", problem)


def _forked() -> None:
    global _changing  # noqa: PLW0603  # another thread of the parent may have held it
    _changing = threading.Lock()


forking.after_fork(_forked)
