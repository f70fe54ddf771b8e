from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import litellm
import pytest
from litellm_entries import QUESTION, at, drained, only

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider

LETTERS = Script(pieces=list("abc"), gap=0.002)
# As the proxy hands it on, with what must never leave beside it.
METADATA = {
    "user_api_key": "sk-secret",
    "user_api_key_alias": "billing-service",
    "user_api_key_team_id": "team-1",
    "user_api_key_team_alias": "billing",
    "user_api_key_end_user_id": "customer-7",
}


@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
async def test_what_the_setting_allows_is_on_the_span(provider: ScriptedProvider, name: str) -> None:
    """Team and key by their names, the end user by its own; of the rest of the metadata nothing."""
    with capture(proxy_attributes="team,end_user") as captured:
        where = at(provider, {"letters": LETTERS})
        call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, name: dict(METADATA)}
        await drained(litellm.acompletion, **call, **where)

    found = {key: value for key, value in only(captured).attributes.items() if value in METADATA.values()}
    assert found == {signals.TEAM: "billing", signals.END_USER: "customer-7"}


async def test_nothing_is_on_the_span_unless_it_is_allowed(provider: ScriptedProvider, tokenstream: Any) -> None:
    """Who called is nobody's business by default."""
    call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, "metadata": dict(METADATA)}
    await drained(litellm.acompletion, **call, **at(provider, {"letters": LETTERS}))

    assert not set(only(tokenstream).attributes.values()) & set(METADATA.values())


KEY = "sk-1234567890abcdef1234567890abcdef"
CONFIGURATION = """
model_list:
  - model_name: letters
    litellm_params: {{model: deepseek/letters, api_base: "{base}", api_key: none}}
"""


@contextmanager
def proxy(provider: ScriptedProvider, folder: Path, spans: Path) -> Iterator[str]:
    """litellm's proxy server as a process of its own; yields its address."""
    (folder / "config.yaml").write_text(CONFIGURATION.format(base=provider.base_url))
    (folder / "serve.py").write_text(SERVE)
    process = subprocess.Popen(
        [sys.executable, "serve.py", str(spans)],
        cwd=folder,
        env={**os.environ, "CONFIG_FILE_PATH": "config.yaml", "LITELLM_MASTER_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http"))
        yield address.strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


SERVE = """
import socket, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from otel_tokenstream import LiteLLMInstrumentor

provider = TracerProvider()
out = open(sys.argv[1], "w", buffering=1)
line = lambda span: " ".join([span.name, span.attributes["tokenstream.outcome"]]) + "\\n"
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
LiteLLMInstrumentor().instrument(tracer_provider=provider)

import uvicorn
from litellm.proxy.proxy_server import app

with socket.socket() as place:
    place.bind(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print(f"http://127.0.0.1:{place.getsockname()[1]}", flush=True)

    Server(uvicorn.Config(app, log_level="error")).run([place])
"""


@pytest.mark.slow
async def test_the_proxys_streams_and_their_clients_leaving(provider: ScriptedProvider, tmp_path: Path) -> None:
    """A stream through the server is one span; when its client goes, it was left and did not fail."""
    pytest.importorskip("backoff", reason="litellm's proxy needs its extra")
    provider.scripts["letters"] = Script(pieces=list("abcdefgh"), gap=0.1)
    spans, asked = tmp_path / "spans", {"model": "letters", "messages": QUESTION, "stream": True}
    with proxy(provider, tmp_path, spans) as address:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client:
            whole = await client.post(f"{address}/v1/chat/completions", json=asked)
            async with client.stream("POST", f"{address}/v1/chat/completions", json=asked) as left:
                await anext(left.aiter_lines())
        for _ in range(100):
            if len(spans.read_text().splitlines()) == 2:
                break
            await asyncio.sleep(0.1)

    assert whole.text.rstrip().endswith("data: [DONE]")
    first, second = spans.read_text().splitlines()
    assert first == "chat letters completed"
    assert second.removeprefix("chat letters ") in ("closed", "cancelled")
