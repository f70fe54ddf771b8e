from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

SCENE = Path(__file__).with_name("scene.py")


def play(provider: ScriptedProvider, *names: str) -> tuple[dict[str, list[dict[str, Any]]], str]:
    provider.scripts["steady"] = Script(gap=0.001)
    done = subprocess.run(
        [sys.executable, str(SCENE), provider.base_url, *names],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": os.devnull},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
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
