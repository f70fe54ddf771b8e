"""A line that tells how a stream goes, beside a program that knows nothing of it."""

from __future__ import annotations

import sys
from typing import Any

import litellm
from connection import CONNECTION, MODEL, STREAMED

from otel_tokenstream import subscribe


class Progress:
    """Called with every event, on a thread of its own: it may be slow, the program is not."""

    def __init__(self) -> None:
        self.chunks = self.characters = 0
        self.first = 0.0

    def __call__(self, event: Any) -> None:
        if event.type == "token":
            self.chunks, self.characters = event.chunk + 1, self.characters + event.chars
            elapsed = event.offset_us / 1e6
            self.first = self.first or elapsed
            rate = f", {self.chunks / (elapsed - self.first):.0f} chunks/s" if elapsed > self.first else ""
            self.show(f"{self.chunks} chunks, {self.characters} characters{rate}, {elapsed:.1f} s")
        elif event.type == "stall":
            self.show(f"{self.chunks} chunks, and nothing for {event.wait_us / 1e6:.0f} s")
        elif event.type == "end":
            self.finish(event)

    def finish(self, end: Any) -> None:
        elapsed, rate = end.duration_us / 1e6, ""
        # Tokens are what the provider reported. A chunk may hold several, so chunks are not counted as tokens.
        if end.output_tokens and elapsed > self.first:
            rate = f", {end.output_tokens} tokens, {end.output_tokens / (elapsed - self.first):.0f} tokens/s"
        self.show(f"{end.outcome}: {end.chunks} chunks{rate}, first token after {self.first:.2f} s, {elapsed:.2f} s")
        print(file=sys.stderr)

    def show(self, line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif line.startswith(("completed", "failed", "cancelled", "closed", "abandoned")):
            print(line, end="", file=sys.stderr, flush=True)


def answer(question: str) -> str:
    messages = [{"role": "user", "content": question}]
    chunks = litellm.completion(model=MODEL, messages=messages, **STREAMED, **CONNECTION)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


with subscribe(Progress(), text=False):
    text = answer("How did the printing press change books?")
print(text)
