"""What calls OpenAI's SDK, as it is installed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import openai as installed

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its functions depend on its version.
openai: Any = installed

_CHAT: dict[str, Any] = {"model": "test", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def probes(base_url: str) -> Iterator[Probe]:
    """Yield plain and streamed calls of both clients; ``base_url`` is the scripted provider's, with /v1."""
    for kind, entry in (("OpenAI", "openai, sync"), ("AsyncOpenAI", "openai, async")):
        client = getattr(openai, kind)(base_url=base_url, api_key="none", max_retries=0)
        for stream in (False, True):
            call = partial(client.chat.completions.create, **_CHAT, stream=stream)
            yield Probe(f"{kind} chat{' streamed' if stream else ''}", call, entry)
