"""A program that streams with litellm and knows nothing of telemetry.

    opentelemetry-instrument python plain_program.py healthy=120 late=300

Behaves as told for so many seconds each, and prints when each begins. What it emits depends on the environment alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from otel_tokenstream.demo.provider import Script, ScriptedProvider

WORDS = [f"word{index} " for index in range(24)]
MODELS = {
    "gpt-4o-mini": Script(WORDS, first_piece=0.15, gap=0.01),
    "gpt-4o": Script(WORDS, first_piece=0.4, gap=0.02),
    "o3-mini": Script(WORDS, first_piece=3.5, gap=0.01),
    "claude-late": Script(WORDS, first_piece=4.2, gap=0.01),
    "claude-stalling": Script(WORDS, first_piece=0.2, gap=0.01, pauses={10: 20}),
    "claude-down": Script(ending="http_error", status=503, error_type="overloaded_error"),
    "claude-cut": Script(WORDS, first_piece=0.2, gap=0.01, ending="cut", ends_after=12),
    "steady": Script(WORDS, first_piece=0.2, gap=0.005),
}
# One for each reader. A fault hits one model; the others go on as before.
ASKED = ("gpt-4o-mini", "gpt-4o", "o3-mini", "claude", "claude", "claude")
FAULTS = {
    "healthy": MODELS["gpt-4o"],
    "late": MODELS["claude-late"],
    "stalling": MODELS["claude-stalling"],
    "failing": [MODELS["claude-down"], MODELS["claude-down"], MODELS["claude-cut"]],
    "slow_consumer": MODELS["steady"],
}
# Between two streams of a reader, in seconds.
PAUSE = 4


async def read(provider, model, pause):
    # What litellm raises has no class in common.
    with contextlib.suppress(Exception):
        stream = await litellm.acompletion(
            model=f"openai/{model}",
            messages=[{"role": "user", "content": "Say something."}],
            stream=True,
            stream_options={"include_usage": True},
            api_base=provider.base_url,
            api_key="none",
            timeout=90,
            num_retries=0,
            max_retries=0,
        )
        async for _ in stream:
            if pause:
                await asyncio.sleep(pause)


async def reader(provider, model, pause, until):
    while time.monotonic() < until:
        await read(provider, model, pause)
        await asyncio.sleep(PAUSE)


async def phase(provider, behaviour, seconds):
    script = FAULTS[behaviour]
    # A list is played once and its last script from then on.
    provider.scripts["claude"] = script * 200 if isinstance(script, list) else script
    until = time.monotonic() + seconds
    pause = 1.5 if behaviour == "slow_consumer" else 0
    await asyncio.gather(*(reader(provider, model, pause if model == "claude" else 0, until) for model in ASKED))


def main():
    litellm.suppress_debug_info = True
    with ScriptedProvider() as provider:
        provider.scripts.update(MODELS)
        # The first call of a process imports for seconds: alone it is one late stream and not six.
        asyncio.run(read(provider, "gpt-4o-mini", 0))
        for argument in sys.argv[1:]:
            behaviour, _, seconds = argument.partition("=")
            print(behaviour, time.time(), flush=True)
            asyncio.run(phase(provider, behaviour, float(seconds)))
        print("done", flush=True)


if __name__ == "__main__":
    main()
