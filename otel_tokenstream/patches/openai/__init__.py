"""OpenAI's SDK: chat, completions and responses, of OpenAI and of whoever speaks its protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.patches import sdk_requests
from otel_tokenstream.patches.litellm.apis import chat, completions, responses
from otel_tokenstream.patches.sdk_requests import Sdk
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

_HELPERS = (
    ("openai.lib.streaming.chat._completions", ("ChatCompletionStream", "AsyncChatCompletionStream")),
    ("openai.lib.streaming.responses._responses", ("ResponseStream", "AsyncResponseStream")),
)


def table(telemetry: Telemetry) -> PatchTable:
    return PatchTable([*sdk_requests.patches(telemetry, _SDK), *_helpers()], "openai")


def _helpers() -> Iterator[Patch]:
    """The helpers' streams close the connection past the stream that they read."""
    for module, names in _HELPERS:
        for name in names:
            yield Patch(module, f"{name}.close", sdk_requests.closing, optional=True)


def _provider(client: Any) -> str:
    azure = any(each.__name__.endswith("AzureOpenAI") for each in type(client).__mro__)
    return "azure.ai.openai" if azure else "openai"


def _naming(entry: Endpoint) -> Endpoint:
    """Return the entry for chunks that come from the provider as they are, with the model that answered."""

    def reader(call: ModelCall) -> Reader:
        read_chunk = entry.reader(call)

        def read(asked: int, arrived: int, chunk: Any) -> None:
            read_chunk(asked, arrived, chunk)
            if call.response_model is None:
                call.response_model = getattr(chunk, "model", None) or None

        return read

    return replace(entry, reader=reader)


_SDK = Sdk(
    package="openai",
    apis={
        "/chat/completions": _naming(chat.ENDPOINT),
        "/completions": _naming(completions.ENDPOINT),
        "/responses": responses.ENDPOINT,
    },
    provider=_provider,
)
