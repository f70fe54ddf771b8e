"""What calls Anthropic's SDK, as it is installed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

# Where it is installed.
import anthropic as installed  # type: ignore[import-not-found, unused-ignore]

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its functions depend on its version.
anthropic: Any = installed

_MESSAGE: dict[str, Any] = {
    "model": "test",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}


def probes(base_url: str) -> Iterator[Probe]:
    """Yield plain and streamed calls of both clients; ``base_url`` is the scripted provider's, with /v1."""
    address = f"http://{urlsplit(base_url).netloc}"
    for kind, entry in (("Anthropic", "anthropic, sync"), ("AsyncAnthropic", "anthropic, async")):
        client = getattr(anthropic, kind)(base_url=address, api_key="none", max_retries=0)
        for stream in (False, True):
            call = partial(client.messages.create, **_MESSAGE, stream=stream)
            yield Probe(f"{kind} messages{' streamed' if stream else ''}", call, entry)
