"""Exceptions of signal handlers that get lost in a loop of litellm's streams, with this package and without it.

``python benchmarks/interrupts.py [INTERRUPTS]``. Each line is a process of its own that streams over
HTTP from a provider in another process, and gets an alarm at a random moment of each turn, whose
handler raises KeyboardInterrupt: in the call, a read, the end of a stream, or a collection of garbage,
which takes about half of a turn. What the loop does not see is lost; where Python says where, that is named.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from random import Random
from typing import Any

from otel_tokenstream.demo.provider import Script, ScriptedProvider

WAYS = ("read to the end", "left by break", "held by cycles")
PIECES = 20


class Cycle:
    def __init__(self, kept: object) -> None:
        self.kept, self.myself = kept, self


def turn(way: str, asked: dict[str, Any]) -> None:
    import gc

    import litellm

    stream = litellm.completion(**asked)
    for number, _ in enumerate(stream):
        if way != "read to the end" and number == PIECES // 2:
            break
    if way == "held by cycles":
        Cycle(stream)
    del stream
    gc.collect()


def loop(way: str, interrupts: int, asked: dict[str, Any]) -> dict[str, Any]:
    raised = seen = 0
    places: Counter[str] = Counter()

    def handler(*_: object) -> None:
        nonlocal raised
        raised += 1
        raise KeyboardInterrupt

    def unraisable(found: Any) -> None:
        places[getattr(found.object, "__qualname__", type(found.object).__qualname__)] += 1

    random, usual = Random(7), 0.1
    for _ in range(3):
        began = time.perf_counter()
        turn(way, asked)
        usual = time.perf_counter() - began
    sys.unraisablehook = unraisable
    signal.signal(signal.SIGALRM, handler)
    turns = 0
    while raised < interrupts:
        turns += 1
        began = time.perf_counter()
        try:
            signal.setitimer(signal.ITIMER_REAL, max(random.random() * usual, 1e-4))
            turn(way, asked)
            signal.setitimer(signal.ITIMER_REAL, 0)
            usual = 0.9 * usual + 0.1 * (time.perf_counter() - began)
        except KeyboardInterrupt:
            seen += 1
    return {"raised": raised, "lost": raised - seen, "turns": turns, "in": dict(places)}


def child(way: str, interrupts: int, base_url: str, ours: bool) -> None:
    captured: Any = None
    if ours:
        from otel_tokenstream.testing import capture

        captured = capture()
        spans = captured.__enter__()
    question = [{"role": "user", "content": "Why?"}]
    asked = {"model": "openai/test", "messages": question, "api_base": base_url, "api_key": "none", "stream": True}
    found = loop(way, interrupts, {**asked, "max_retries": 0})
    if ours:
        from otel_tokenstream.core.call import in_flight

        in_flight.finish_dropped()
        found["spans"] = len(spans.generations)
        found["left open"] = len(in_flight.snapshot())
    print(json.dumps(found), flush=True)
    os._exit(0)  # what litellm's threads still do is of no interest


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        _, _, way, interrupts, base_url, ours = sys.argv
        child(way, int(interrupts), base_url, ours == "ours")
        return
    interrupts = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with ScriptedProvider() as provider:
        provider.scripts["test"] = Script(pieces=["a"] * PIECES, gap=0.002)
        for way in WAYS:
            for who in ("ours", "bare"):
                command = [sys.executable, __file__, "--child", way, str(interrupts), provider.base_url, who]
                environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
                run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                print(f"{way}, {who}: {run.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
