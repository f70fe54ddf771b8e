from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.demo.provider import Script
from tests import zero_code

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

# litellm gives openai a client of httpx; openai's own, which a program may hand over, is of httpx2 since 3.
# Both entries are on at the start; each fork but the last has one of them switched off.
BOTH_CLIENTS = """
import asyncio, gc, json, litellm, openai, os
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor

at = dict(base_url="{base_url}", api_key="none")
request = dict(model="openai/steady", messages=[dict(role="user", content="hi")], stream=True)

async def asynchronous():
    client = openai.AsyncOpenAI(**at)
    async for _ in await litellm.acompletion(**request, client=client):
        pass

def play():
    list(litellm.completion(**request, api_base=at["base_url"], api_key="none"))
    list(litellm.completion(**request, client=openai.OpenAI(**at)))
    asyncio.run(asynchronous())
    print(json.dumps(openai.OpenAI(**at)._client.__class__.__mro__[-2].__module__.partition(".")[0]), flush=True)

litellm.token_counter("steady", text="hi")  # imports what a first call would, and starts no thread
gc.freeze()
for off in (HTTPX2ClientInstrumentor, HTTPXClientInstrumentor, None):
    child = os.fork()
    if child == 0:
        if off:
            off().uninstrument()
        play()
        break
    assert os.waitpid(child, 0)[1] == 0
"""
SCENE = Path(__file__).with_name("scene.py")
ORDERS = ("genai-http-ours", "ours-http-genai", "openinference", "openinference-ours", "ours-openinference")


@pytest.fixture(scope="module")
def played(running_provider: ScriptedProvider) -> dict[str, dict[str, Any]]:
    """Of each order of instrumentations the spans of each call, and what the process said."""
    running_provider.scripts["steady"] = Script(gap=0.001)
    done = subprocess.run(
        [sys.executable, str(SCENE), running_provider.base_url, *ORDERS],
        env={**os.environ, "DSPY_CACHEDIR": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = {order: {} for order in ORDERS}
    for line in done.stdout.splitlines():
        told = json.loads(line)
        found[told["order"]].update(told)
    return found


@pytest.mark.parametrize("order", ["genai-http-ours", "ours-http-genai"])
def test_one_inference_span_with_the_requests_under_it(played: dict[str, dict[str, Any]], order: str) -> None:
    """With the official instrumentations switched on before or after ours, a call has one span, with our outcome."""
    trees = played[order]["spans"]
    for title, spans in trees.items():
        inference = [span for span in spans if span["outcome"] is not None or span["name"] == "chat steady"]
        assert [span["outcome"] for span in inference] == ["completed"], (title, spans)

    for title in ("litellm stream", "litellm async stream", "litellm plain", "dspy litellm stream"):
        requests = [span for span in trees[title] if span["name"] == "POST"]
        assert [span["parent"] for span in requests] == ["chat steady"], title

    parents = {span["name"]: span["parent"] for span in trees["served stream"]}
    assert parents == {
        "POST /ask": None,
        "chat steady": "POST /ask",
        "POST /ask http send": "POST /ask",
        "POST": "chat steady",
    }


@pytest.mark.parametrize("order", ["openinference-ours", "ours-openinference"])
def test_openinference_keeps_its_spans_and_the_duplicate_is_named(
    played: dict[str, dict[str, Any]], order: str
) -> None:
    """Nobody's span is lost or renamed, and where ours comes second it says how to have only one."""
    alone, together = played["openinference"]["spans"], played[order]["spans"]
    for title, spans in together.items():
        theirs = [span["name"] for span in spans if not span["scope"].startswith("otel_tokenstream")]
        assert sorted(theirs) == sorted(span["name"] for span in alone[title]), title
        assert [span["outcome"] for span in spans if span["outcome"]] == ["completed"], title
    if order.endswith("ours"):
        assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=litellm" in played[order]["messages"]


@pytest.fixture(scope="module")
def clients(running_provider: ScriptedProvider) -> dict[tuple[str, ...], tuple[str, list[dict[str, Any]]]]:
    """By the entries that are on: of which library openai's own client is, and the spans."""
    running_provider.scripts["steady"] = Script(gap=0.001)
    run = zero_code.run(
        BOTH_CLIENTS.format(base_url=running_provider.base_url),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(set(zero_code.OTHERS.split(",")) - {"httpx", "httpx2"}),
        OTEL_TRACES_EXPORTER="console",
        OTEL_BSP_SCHEDULE_DELAY="600000",  # printed at the exit, after what the program prints
    )
    assert run.returncode == 0, run.stderr
    printed, runs, decode = run.stdout, [], json.JSONDecoder().raw_decode
    while printed := printed.lstrip():
        value, end = decode(printed)
        if isinstance(value, str):
            runs.append((value, []))
        else:
            runs[-1][1].append(value)
        printed = printed[end:]
    return dict(zip([("httpx",), ("httpx2",), ("httpx", "httpx2")], runs, strict=True))


@pytest.mark.parametrize("entries", [("httpx",), ("httpx2",), ("httpx", "httpx2")], ids="-".join)
def test_the_http_entries_of_the_command_stand_beside_ours(
    clients: dict[tuple[str, ...], tuple[str, list[dict[str, Any]]]], entries: tuple[str, ...]
) -> None:
    """Each call is one span of ours, with one request below it where its client's entry is on."""
    own_client, spans = clients[entries]
    calls = [span for span in spans if span["name"] == "chat steady"]
    assert [span["parent_id"] for span in calls] == [None] * 3
    assert [span["attributes"]["tokenstream.outcome"] for span in calls] == ["completed"] * 3
    used = ("httpx", own_client, own_client)
    seen = [call["context"]["span_id"] for call, client in zip(calls, used, strict=True) if client in entries]
    assert sorted(span["parent_id"] for span in spans if span not in calls) == sorted(seen)
