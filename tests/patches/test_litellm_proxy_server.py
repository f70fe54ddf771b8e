from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests.patches.bedrock_provider import BedrockProvider
from tests.patches.litellm_entries import QUESTION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider


CLAUDE, GEMINI, BEDROCK = "claude-sonnet-4-5", "gemini-2.5-flash", "anthropic.claude-sonnet-4-5-20250929-v1:0"
KEY = "sk-1234567890abcdef1234567890abcdef"
CONFIGURATION = """
model_list:
  - model_name: letters
    litellm_params: {{model: deepseek/letters, api_base: "{base}/v1", api_key: none}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5, api_base: "{base}", api_key: none}}
  - model_name: bedrock-claude
    litellm_params: {{model: bedrock/{bedrock}, api_base: "{base}", aws_region_name: us-east-1}}
  - model_name: vllm-letters
    litellm_params: {{model: letters, custom_llm_provider: vllm, api_base: "{base}"}}
  - model_name: azure-letters
    litellm_params: {{model: azure/letters, api_base: "{base}", api_key: none}}
general_settings:
  custom_auth: serve.who_calls
  pass_through_endpoints:
    - {{path: "/ours", target: "{base}/v1/chat/completions", auth: true, headers: {{Authorization: none}}}}
"""
SERVE = """
import gc, socket, sys
from contextlib import suppress
gc.disable()  # what is imported stays
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from otel_tokenstream import LiteLLMInstrumentor


async def who_calls(request, api_key):
    from litellm.proxy._types import UserAPIKeyAuth

    return UserAPIKeyAuth(
        api_key=api_key, key_alias="billing-service", team_id="team-1", team_alias="billing", end_user_id="customer-7"
    )


if __name__ == "__main__":
    provider = TracerProvider()
    out = open(sys.argv[1], "a", buffering=1)
    line = lambda span: span.to_json(indent=None) + "\\n"
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
    LiteLLMInstrumentor().instrument(tracer_provider=provider)

    import uvicorn
    from litellm.proxy.proxy_server import app

    gc.enable()
    with suppress(ImportError):  # of other versions
        from litellm.router_rust import core
        core._sleep_seconds = lambda _: 0.01  # before a retry
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))

        class Server(uvicorn.Server):
            async def startup(self, sockets=None):
                await super().startup(sockets)
                print(f"http://127.0.0.1:{place.getsockname()[1]}", flush=True)

        Server(uvicorn.Config(app, log_level="error")).run([place])
"""


class Proxy:
    """litellm's proxy server in a process of its own."""

    def __init__(self, address: str, spans: Path) -> None:
        self.client = httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        self._spans = spans
        self._seen = 0

    async def span(self) -> dict[str, Any]:
        """The next span that is exported."""
        for _ in range(1_000):
            lines = self._spans.read_text().splitlines()
            if len(lines) > self._seen:
                break
            await asyncio.sleep(0.1)
        self._seen += 1
        assert len(lines) == self._seen
        return json.loads(lines[-1])


@pytest.fixture(scope="module")
def running_provider() -> Iterator[BedrockProvider]:
    with BedrockProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def served(running_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    pytest.importorskip("backoff", reason="litellm's proxy needs its extra")
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None
    assert litellm.origin is not None
    routes = Path(litellm.origin).parent / "proxy" / "pass_through_endpoints" / "llm_passthrough_endpoints.py"
    if "OPENAI_API_BASE" not in routes.read_text():
        pytest.skip("the routes of old versions of litellm lead to the providers' own servers only")
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "config.yaml").write_text(CONFIGURATION.format(base=running_provider.address, bedrock=BEDROCK))
    (folder / "serve.py").write_text(SERVE)
    variables = {
        "CONFIG_FILE_PATH": "config.yaml",
        "LITELLM_MASTER_KEY": KEY,
        "OPENAI_API_BASE": running_provider.address,
        "OPENAI_API_KEY": "none",
        "ANTHROPIC_API_BASE": running_provider.address,
        "ANTHROPIC_API_KEY": "none",
        "GEMINI_API_BASE": running_provider.address,
        "GEMINI_API_KEY": "none",
        "AWS_BEDROCK_RUNTIME_ENDPOINT": running_provider.address,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION_NAME": "us-east-1",
        "OTEL_TOKENSTREAM_PROXY_ATTRIBUTES": "team,key_alias,end_user",
    }
    process = subprocess.Popen(
        [sys.executable, "serve.py", "spans"],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield next(line for line in process.stdout if line.startswith("http")).strip(), folder / "spans"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture
async def proxy(served: tuple[str, Path], provider: ScriptedProvider) -> AsyncIterator[Proxy]:
    address, spans = served
    spans.write_text("")
    provider.scripts |= dict.fromkeys(MODELS, Script(pieces=list(ANSWER), first_piece=0.4, gap=0.1))
    proxy = Proxy(address, spans)
    async with proxy.client:
        yield proxy


MODELS = "letters", CLAUDE, GEMINI, BEDROCK
ANSWER = "abcd"
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
CHAT = {"model": "letters", "messages": QUESTION, **WITH_USAGE}
MESSAGES = {"model": CLAUDE, "messages": QUESTION, "stream": True, "max_tokens": 99}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Why are there tides?"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Why are there tides?"}]}]}
INVOKE = {"messages": QUESTION, "max_tokens": 99, "anthropic_version": "bedrock-2023-05-31"}
# Path, body, the span's name.
ROUTES = {
    "the proxy's own": ("/v1/chat/completions", CHAT, "chat letters"),
    "the proxy's own messages": ("/v1/messages", {**MESSAGES, "model": "claude"}, "chat claude"),
    "OpenAI's chat": ("/openai/v1/chat/completions", CHAT, "chat letters"),
    "OpenAI's completions": (
        "/openai/v1/completions",
        {"model": "letters", "prompt": "Why?", **WITH_USAGE},
        "text_completion letters",
    ),
    "OpenAI's responses": (
        "/openai/v1/responses",
        {"model": "letters", "input": "Why?", "stream": True},
        "chat letters",
    ),
    "Anthropic's": ("/anthropic/v1/messages", MESSAGES, f"chat {CLAUDE}"),
    "Gemini's": (
        f"/gemini/v1/models/{GEMINI}:streamGenerateContent?alt=sse",
        CONTENTS,
        f"generate_content {GEMINI}",
    ),
    "Gemini's as an array": (
        f"/gemini/v1/models/{GEMINI}:streamGenerateContent",
        CONTENTS,
        f"generate_content {GEMINI}",
    ),
    "a configured one": ("/ours", CHAT, "chat letters"),
    "Bedrock's Converse by group": ("/bedrock/model/bedrock-claude/converse-stream", CONVERSE, "chat bedrock-claude"),
    "Bedrock's Invoke by group": (
        "/bedrock/model/bedrock-claude/invoke-with-response-stream",
        INVOKE,
        "chat bedrock-claude",
    ),
    "vLLM's by group": ("/vllm/v1/chat/completions", {**CHAT, "model": "vllm-letters"}, "chat vllm-letters"),
    "Azure's by group": ("/azure/openai/v1/chat/completions", {**CHAT, "model": "azure-letters"}, "chat azure-letters"),
}
each_route = pytest.mark.parametrize("route", ROUTES)


@each_route
async def test_a_stream_through_the_proxy_is_one_span(proxy: Proxy, provider: ScriptedProvider, route: str) -> None:
    """Handed on as bytes or made anew, it says what came, and for whom."""
    path, body, name = ROUTES[route]
    answer = await proxy.client.post(path, json=body)
    span = await proxy.span()

    assert answer.status_code == 200
    attributes = span["attributes"]
    assert (span["name"], attributes[signals.OUTCOME]) == (name, "completed")
    assert attributes[signals.FINISH_REASONS] in (["stop"], ["end_turn"], ["STOP"])
    assert attributes[signals.USAGE_OUTPUT_TOKENS] == len(ANSWER)
    assert attributes[signals.CHUNKS] > 1  # several events may come in one read
    assert attributes[signals.SERVER_PORT] == provider.port
    assert attributes[signals.WAIT_TOTAL_MS] > 200
    assert attributes[signals.TEAM] == "billing"
    assert attributes[signals.KEY_ALIAS] == "billing-service"
    assert attributes[signals.END_USER] == "customer-7"


@each_route
async def test_a_client_that_goes_has_left_the_stream(proxy: Proxy, provider: ScriptedProvider, route: str) -> None:
    """It did not fail, and that litellm may read on for its accounts is not the client's stream."""
    path, body, name = ROUTES[route]
    provider.scripts |= dict.fromkeys(MODELS, Script(pieces=["a"] * 100, gap=0.05))
    async with proxy.client.stream("POST", path, json=body) as left:
        await anext(left.aiter_raw())
    span = await proxy.span()

    assert span["name"] == name
    assert span["attributes"][signals.OUTCOME] in ("closed", "cancelled", "abandoned")
    assert span["status"]["status_code"] == "UNSET"
    assert span["attributes"][signals.CHUNKS] < 50


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script(pieces=["a", "b"], gap=0, ending="cut"), "ReadError"),
        (Script(pieces=["a", "b"], gap=0, ending="error_frame"), "server_error"),
        (Script(ending="http_error", status=503), "503"),
    ],
    ids=["cut", "error in the stream", "status"],
)
async def test_an_error_of_the_provider_fails_a_passed_through_stream(
    proxy: Proxy, provider: ScriptedProvider, script: Script, error: str
) -> None:
    """The client gets what the provider sent; the span says that it failed."""
    provider.scripts["letters"] = script
    with contextlib.suppress(httpx.RemoteProtocolError):
        await proxy.client.post("/openai/v1/chat/completions", json=CHAT)
    span = await proxy.span()

    assert span["attributes"][signals.OUTCOME] == "failed"
    assert span["attributes"][signals.ERROR_TYPE] == error
    assert span["status"] == {"status_code": "ERROR"}


BY_GROUP = [name for name in ROUTES if name.endswith("by group")]
each_group = pytest.mark.parametrize("route", BY_GROUP)


@each_group
async def test_a_client_that_goes_lets_a_groups_connection_go(
    proxy: Proxy, provider: ScriptedProvider, route: str
) -> None:
    """For models of its router litellm cancels what waits for the provider: nobody reads on."""
    path, body, _ = ROUTES[route]
    provider.scripts |= dict.fromkeys(MODELS, Script(pieces=["a"] * 1000, gap=0.05))
    async with proxy.client.stream("POST", path, json=body) as left:
        await anext(left.aiter_raw())
    span = await proxy.span()
    (exchange,) = await asyncio.to_thread(provider.log.settled)

    assert span["attributes"][signals.OUTCOME] in ("cancelled", "closed")
    assert exchange.ended == "disconnected"


@each_group
async def test_an_error_before_a_groups_stream_is_one_failed_span(
    proxy: Proxy, provider: ScriptedProvider, route: str
) -> None:
    """Whatever litellm retries and however it answers the client."""
    path, body, name = ROUTES[route]
    provider.scripts |= dict.fromkeys(MODELS, Script(ending="http_error", status=503))
    answer = await proxy.client.post(path, json=body)
    span = await proxy.span()

    assert answer.status_code >= 400
    assert (span["name"], span["attributes"][signals.OUTCOME]) == (name, "failed")
    assert span["attributes"][signals.ERROR_TYPE] == "HTTPStatusError"
    assert span["attributes"].get(signals.ATTEMPTS, 1) == len(provider.log.exchanges())


async def test_an_error_in_a_groups_stream_fails_it(proxy: Proxy, provider: ScriptedProvider) -> None:
    """The client gets Bedrock's exception as it is."""
    path, body, _ = ROUTES["Bedrock's Converse by group"]
    script = Script(pieces=["a", "b"], gap=0.05, ending="error_frame", error_type="throttlingException")
    provider.scripts[BEDROCK] = script
    answer = await proxy.client.post(path, json=body)
    span = await proxy.span()

    assert b"throttlingException" in answer.content
    assert span["attributes"][signals.OUTCOME] == "failed"
    assert span["attributes"][signals.ERROR_TYPE] == "throttlingException"


@pytest.mark.parametrize(("action", "body"), [("converse", CONVERSE), ("invoke", INVOKE)], ids=["converse", "invoke"])
async def test_a_groups_plain_answer_is_one_span(proxy: Proxy, action: str, body: dict[str, Any]) -> None:
    """The client gets the provider's body."""
    answer = await proxy.client.post(f"/bedrock/model/bedrock-claude/{action}", json=body)
    span = await proxy.span()

    assert ANSWER in answer.text
    assert span["name"] == "chat bedrock-claude"
    assert span["attributes"][signals.OUTCOME] == "completed"
    assert span["attributes"][signals.FINISH_REASONS] == ["end_turn"]
    assert span["attributes"][signals.USAGE_OUTPUT_TOKENS] == len(ANSWER)
    assert span["attributes"][signals.TEAM] == "billing"


async def test_a_plain_answer_that_is_passed_through_is_one_span(proxy: Proxy) -> None:
    """Usage and finish reason from its body; the client gets its bytes."""
    answer = await proxy.client.post("/openai/v1/chat/completions", json={"model": "letters", "messages": QUESTION})
    attributes = (await proxy.span())["attributes"]

    assert answer.json()["choices"][0]["message"]["content"] == ANSWER
    assert attributes[signals.OUTCOME] == "completed"
    assert attributes[signals.USAGE_OUTPUT_TOKENS] == len(ANSWER)
    assert attributes[signals.FINISH_REASONS] == ["stop"]


async def test_requests_for_other_things_than_text_are_no_generation(proxy: Proxy) -> None:
    """Lists of models, files and the like go through the same function and are no generation."""
    answer = await proxy.client.get("/openai/v1/models")
    await proxy.client.post("/openai/v1/chat/completions", json=CHAT)

    assert answer.status_code == 200
    assert (await proxy.span())["name"] == "chat letters"
