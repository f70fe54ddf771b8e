"""A chat in the terminal that remembers what was said and tells how each answer came. An empty line ends it."""

from __future__ import annotations

from statistics import median
from typing import Any
from uuid import uuid4

import litellm
import openai
from connection import CONNECTION, MODEL, STREAMED

from otel_tokenstream import TokenCollector, correlate


def answer(messages: list[dict[str, str]]) -> Any:
    """Print the answer as it comes, or what there is of it, and return the last event of its stream."""
    with TokenCollector() as collected:
        try:
            for chunk in litellm.completion(model=MODEL, messages=messages, **STREAMED, **CONNECTION):
                if chunk.choices:
                    print(chunk.choices[0].delta.content or "", end="", flush=True)
        except openai.APIError as error:  # litellm's errors are its subclasses, time-outs too
            print(f" … {type(error).__name__}", end="")
    messages.append({"role": "assistant", "content": collected.get_text() or "(no answer)"})
    return collected.events[-1]


def told(end: Any) -> str:
    first = f"first token after {end.first_token_us / 1e6:.2f} s, " if end.first_token_us is not None else ""
    tokens = f", {end.input_tokens} tokens in, {end.output_tokens} out" if end.output_tokens is not None else ""
    return f"{end.outcome}, {end.chunks} chunks, {first}{end.duration_us / 1e6:.2f} s in all{tokens}"


def main() -> None:
    messages: list[dict[str, str]] = []
    ends = []
    # On every span of the session, so that they are found together.
    with correlate(conversation_id=uuid4().hex):
        while question := ask():
            messages.append({"role": "user", "content": question})
            ends.append(answer(messages))
            print(f"\n  [turn {len(ends)}: {told(ends[-1])}]\n")
    if ends:
        firsts = [end.first_token_us / 1e6 for end in ends if end.first_token_us is not None]
        middle = f", first token after {median(firsts):.2f} s (median)" if firsts else ""
        print(f"\n{len(ends)} turns, {sum(end.chunks for end in ends)} chunks{middle}")


def ask() -> str:
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


main()
