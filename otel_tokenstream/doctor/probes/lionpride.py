"""What calls lionpride, as it is installed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from lionpride.services.providers import oai_chat as installed

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its functions depend on its version.
oai_chat: Any = installed

_CHAT: dict[str, Any] = {"model": "test", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def probes(base_url: str) -> Iterator[Probe]:
    """Yield a call and a stream of an endpoint; ``base_url`` is the scripted provider's, with /v1."""
    endpoint = oai_chat.OAIChatEndpoint(config=oai_chat.create_oai_chat(base_url=base_url, api_key="none"))
    yield Probe("Endpoint.call", partial(endpoint.call, _CHAT), "Endpoint.call")
    yield Probe("Endpoint.stream", partial(endpoint.stream, _CHAT), "Endpoint.stream")
