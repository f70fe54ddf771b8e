"""Live events into a Redis Stream: one entry an event, in order, none twice."""

from __future__ import annotations

import time
from secrets import token_hex
from typing import TYPE_CHECKING, Any

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    message = 'Redis Streams need the redis extra: pip install "otel-tokenstream[redis]"'
    raise ModuleNotFoundError(message, name=error.name) from None

from otel_tokenstream.live.broker_sink import BrokerSink
from otel_tokenstream.live.wire import Sent, flat

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAM_KEY = "tokenstream:tokens"
_MARK_KEPT = 3_600
_TIMEOUT = 5.0


class RedisSink(BrokerSink):
    """Appends events to a stream; for ``attach``.

    ``max_length`` is about how many entries the stream keeps, ``expire`` for how many seconds
    (None: as long as they fit). ``rediss://`` is TLS; ``options`` go to ``redis.Redis``
    (``ssl_ca_certs``, ``ssl_certfile``, ``username``, ...).
    """

    def __init__(
        self,
        url: str,
        *,
        stream_key: str = STREAM_KEY,
        max_length: int = 100_000,
        expire: float | None = None,
        **options: Any,
    ) -> None:
        client = connected(url, options)
        place = "{host}:{port}".format_map({"host": "", "port": "", **client.get_connection_kwargs()})
        super().__init__(_Stream(client, stream_key, max_length, expire), f"Redis at {place}")


def connected(url: str, options: Mapping[str, Any]) -> redis.Redis:
    """Return a client that connects at its first command, and never repeats one by itself: that would double events."""
    ours = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT, "encoding_errors": "replace"}
    fixed = {"retry": Retry(NoBackoff(), 0), "decode_responses": True, "protocol": 2}
    return redis.Redis.from_url(url, **{**ours, **options, **fixed})


class _Stream:
    errors = (redis.RedisError, OSError)
    unroutable = 0

    def __init__(self, client: redis.Redis, key: str, max_length: int, expire: float | None) -> None:
        self._client = client
        self._key = key
        self._max_length = max_length
        self._expire = expire
        self._in_doubt = False
        self._begin()

    def publish(self, batch: list[Sent]) -> None:
        """Append all at once or nothing.

        When the connection breaks before the answer nobody knows which: a mark that is set
        together with the entries tells afterwards.
        """
        if self._in_doubt and self._client.get(self._mark) == str(self._number):
            self._settle(batch)
            return
        together = self._client.pipeline(transaction=True)
        for sent in batch:
            together.xadd(self._key, flat(sent), maxlen=self._max_length, approximate=True)  # type: ignore[arg-type]  # its dict is invariant
        if self._expire is not None:
            oldest = max(round((time.time() - self._expire) * 1_000), 0)
            together.xtrim(self._key, minid=oldest, approximate=True)
            together.pexpire(self._key, max(round(self._expire * 1_000), 1))
        together.set(self._mark, self._number, ex=_MARK_KEPT)
        try:
            together.execute()
        except redis.ResponseError:  # an answer: nothing was appended
            raise
        except self.errors:
            self._in_doubt = True
            raise
        self._settle(batch)

    def disconnect(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()

    def forget(self) -> None:
        self._begin()  # the pool sees by itself that the process is another one

    def _begin(self) -> None:
        # In braces, so that a cluster keeps both keys in one place.
        self._mark = f"{{{self._key}}}:sent:{token_hex(8)}"
        self._number = 0
        self._in_doubt = False

    def _settle(self, batch: list[Sent]) -> None:
        batch.clear()
        self._number += 1
        self._in_doubt = False
