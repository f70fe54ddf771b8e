"""Live events out of a Redis Stream, by a consumer group: what is not acknowledged is read again."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis

from otel_tokenstream.live.redis import connected
from otel_tokenstream.live.wire import WireError, event_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.live.wire import Sent

_COUNT = 500
_START = "0-0"

# Atomic, so that a lease that ran out meanwhile is not taken from its next holder.
_RENEW = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LeaseLostError(redis.RedisError):
    """Another consumer of the group reads now: what is unsettled is that one's."""


class RedisGroup:
    """Reads for one group, in which one consumer is served at a time: the one that holds the lease.

    A stream in two processes would be whole in neither. The others wait for the lease to be
    released, or to run out because its holder was killed.
    """

    errors = (redis.RedisError, OSError)

    def __init__(self, url: str, key: str, group: str, name: str, lease: float, options: Mapping[str, Any]) -> None:
        self._client = connected(url, options)
        self._key = key
        self._group = group
        self._name = name
        # In braces, so that a cluster keeps both keys in one place.
        self._lease_key = f"{{{key}}}:{group}:lease"
        self._lease = lease
        self._renewed: float | None = None
        self._claiming: str | None = None

    def read(self, within: float) -> list[tuple[str, Sent | None]]:
        """Return ids with events, None for what is not ours; wait for the first at most so many seconds."""
        try:
            return self._read(within)
        except redis.ResponseError as problem:
            if not str(problem).startswith("NOGROUP"):
                raise
            self._join()  # the stream expired or was deleted, and the group with it
            return []

    def _read(self, within: float) -> list[tuple[str, Sent | None]]:
        if not self._holds():
            time.sleep(min(within, self._lease / 10))
            return []
        if self._claiming is not None:
            return self._claimed()
        block = max(round(min(within, self._lease / 3) * 1_000), 1)
        answer: Any = self._client.xreadgroup(self._group, self._name, {self._key: ">"}, count=_COUNT, block=block)
        return _deliveries(answer[0][1]) if answer else []

    def acknowledge(self, tags: list[str]) -> None:
        self._client.xack(self._key, self._group, *tags)

    def close(self) -> None:
        """Let another consumer read at once; what is unsettled it reads again."""
        if self._renewed is not None:
            self._renewed = None
            with suppress(*self.errors):  # it runs out
                self._client.eval(_RELEASE, 1, self._lease_key, self._name)
        self._client.close()
        self._client.connection_pool.disconnect()

    def _holds(self) -> bool:
        now = time.monotonic()
        if self._renewed is not None and now - self._renewed < self._lease / 3:
            return True
        held = self._renewed is not None
        if not self._client.eval(_RENEW, 1, self._lease_key, self._name, round(self._lease * 1_000)):
            self._renewed = None
            if held:
                raise LeaseLostError
            return False
        self._renewed = now
        if not held:
            self._join()
        if not held or self._others_hold():
            self._claiming = _START
        return True

    def _join(self) -> None:
        try:
            self._client.xgroup_create(self._key, self._group, id="0", mkstream=True)
        except redis.ResponseError as problem:
            if not str(problem).startswith("BUSYGROUP"):
                raise

    def _others_hold(self) -> bool:
        """Return whether a consumer that had lost the lease without knowing has read on."""
        summary: Any = self._client.xpending(self._key, self._group)
        return any(consumer["name"] != self._name for consumer in summary["consumers"])

    def _claimed(self) -> list[tuple[str, Sent | None]]:
        """Take over what any consumer of the group has read and not acknowledged, oldest first."""
        answer: Any = self._client.xautoclaim(
            self._key, self._group, self._name, min_idle_time=0, start_id=self._claiming or _START, count=_COUNT
        )
        self._claiming = None if answer[0] == _START else answer[0]
        if self._claiming is None:
            for consumer in self._client.xinfo_consumers(self._key, self._group):
                if consumer["name"] != self._name and not consumer["pending"]:
                    self._client.xgroup_delconsumer(self._key, self._group, consumer["name"])
        return _deliveries(answer[1])


def _deliveries(entries: list[Any]) -> list[tuple[str, Sent | None]]:
    return [(entry, _event(fields)) for entry, fields in entries if entry is not None and fields is not None]


def _event(fields: Mapping[str, str]) -> Sent | None:
    try:
        return event_of(fields)
    except WireError:
        return None
