"""What calls lionagi, as it is installed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import lionagi as installed

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its functions depend on its version.
lionagi: Any = installed

_ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}


def probes(base_url: str) -> Iterator[Probe]:
    """Yield a call and a stream of a model; ``base_url`` is the scripted provider's, with /v1."""
    model = lionagi.iModel(provider="openai", model="test", base_url=base_url, api_key="none")
    # It would count tokens by a table from the internet, and refuse a server on this machine.
    model.endpoint.config.requires_tokens = False
    model.endpoint.config.allow_local_network = True
    yield Probe("iModel.invoke", partial(model.invoke, **_ASKED), "Endpoint.call")
    yield Probe("iModel.stream", partial(model.stream, **_ASKED), "iModel.stream")
    yield Probe("Endpoint.stream", partial(model.endpoint.stream, {"model": "test", **_ASKED}), "Endpoint.stream")
