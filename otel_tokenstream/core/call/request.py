"""Facts of a model call: its request, its token counts, and the requests it took to answer it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """A request, as known when the call is made. ``parameters`` are span attributes by name."""

    operation: str
    provider: str
    model: str
    stream: bool
    server_address: str | None = None
    server_port: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: object = None
    system: object = None
    tools: object = None

    def __post_init__(self) -> None:
        # They are in the span's name, which costs the whole batch if it cannot be encoded, and in every signal.
        for name in ("operation", "provider", "model", "server_address"):
            value = getattr(self, name)
            if value is not None and not value.isascii():
                object.__setattr__(self, name, repaired(value))

    def destination(self) -> dict[str, Any]:
        """Attributes of where the request goes, by their names; a value that is not known is absent."""
        known = (
            (signals.PROVIDER_NAME, self.provider),
            (signals.SERVER_ADDRESS, self.server_address),
            (signals.SERVER_PORT, self.server_port),
        )
        return {name: value for name, value in known if value is not None}


@dataclass(frozen=True)
class Usage:
    """Token counts as reported; ``None`` is a count that was not reported.

    The last three are parts of ``input``, ``cache_read`` and ``output`` by modality: text, image or audio.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    input_by: Mapping[str, int] | None = None
    cache_read_by: Mapping[str, int] | None = None
    output_by: Mapping[str, int] | None = None

    def followed_by(self, later: Usage | None) -> Usage:
        """Return what two reports say together: counts of the later one, and the earlier one's where it has none."""
        if later is None:
            return self
        counts: dict[str, Any] = {name: count for name, count in vars(later).items() if count}
        return replace(later, **{**vars(self), "estimated": later.estimated, **counts})


@dataclass
class Attempt:
    """One request among those it took to answer a call; times as the call's, ``ended`` 0 while it runs."""

    model: str
    provider: str
    started: int
    ended: int = 0
    error_type: str | None = None
    invented: bool = False
    """The library made the answer up without a request."""
    routed: str = ""
    """The model by the name the library was given, which may say more: how and where to ask for it."""
