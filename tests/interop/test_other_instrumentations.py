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
BOTH_CLIENTS = """
import asyncio, litellm, openai

at = dict(base_url="{base_url}", api_key="none")
request = dict(model="openai/steady", messages=[dict(role="user", content="hi")], stream=True)

async def asynchronous():
    client = openai.AsyncOpenAI(**at)
    async for _ in await litellm.acompletion(**request, client=client):
        pass

list(litellm.completion(**request, api_base=at["base_url"], api_key="none"))
list(litellm.completion(**request, client=openai.OpenAI(**at)))
asyncio.run(asynchronous())
print(openai.OpenAI(**at)._client.__class__.__mro__[-2].__module__.partition(".")[0])
"""
SCENE = Path(__file__).with_name("scene.py")


def play(provider: ScriptedProvider, *names: str) -> tuple[dict[str, list[dict[str, Any]]], str]:
    provider.scripts["steady"] = Script(gap=0.001)
    done = subprocess.run(
        [sys.executable, str(SCENE), provider.base_url, *names],
        env={**os.environ, "DSPY_CACHEDIR": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("order", [("genai", "http", "ours"), ("ours", "http", "genai")], ids="-".join)
def test_one_inference_span_with_the_requests_under_it(provider: ScriptedProvider, order: tuple[str, ...]) -> None:
    """With the official instrumentations switched on before or after ours, a call has one span, with our outcome."""
    trees, _ = play(provider, *order)
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


@pytest.mark.parametrize("order", [("openinference", "ours"), ("ours", "openinference")], ids="-".join)
def test_openinference_keeps_its_spans_and_the_duplicate_is_named(
    provider: ScriptedProvider, order: tuple[str, ...]
) -> None:
    """Nobody's span is lost or renamed, and where ours comes second it says how to have only one."""
    alone, _ = play(provider, "openinference")
    together, messages = play(provider, *order)
    for title, spans in together.items():
        theirs = [span["name"] for span in spans if not span["scope"].startswith("otel_tokenstream")]
        assert sorted(theirs) == sorted(span["name"] for span in alone[title]), title
        assert [span["outcome"] for span in spans if span["outcome"]] == ["completed"], title
    if order[-1] == "ours":
        assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=litellm" in messages


@pytest.mark.parametrize("entries", [("httpx",), ("httpx2",), ("httpx", "httpx2")], ids="-".join)
def test_the_http_entries_of_the_command_stand_beside_ours(
    provider: ScriptedProvider, entries: tuple[str, ...]
) -> None:
    """Each call is one span of ours, with one request below it where its client's entry is on."""
    provider.scripts["steady"] = Script(gap=0.001)
    run = zero_code.run(
        BOTH_CLIENTS.format(base_url=provider.base_url),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(set(zero_code.OTHERS.split(",")) - set(entries)),
        OTEL_TRACES_EXPORTER="console",
        OTEL_BSP_SCHEDULE_DELAY="600000",  # printed at the exit, after what the program prints
    )
    assert run.returncode == 0, run.stderr
    own_client, _, printed = run.stdout.partition("\n")
    spans, decode = [], json.JSONDecoder().raw_decode
    while printed := printed.lstrip():
        span, end = decode(printed)
        spans.append(span)
        printed = printed[end:]
    calls = [span for span in spans if span["name"] == "chat steady"]
    assert [span["parent_id"] for span in calls] == [None] * 3
    assert [span["attributes"]["tokenstream.outcome"] for span in calls] == ["completed"] * 3
    clients = ("httpx", own_client, own_client)
    seen = [call["context"]["span_id"] for call, client in zip(calls, clients, strict=True) if client in entries]
    assert sorted(span["parent_id"] for span in spans if span not in calls) == sorted(seen)
