"""An answer that Ctrl-C interrupts is kept, and goes on where it stopped; the two spans are linked."""

from __future__ import annotations

from contextlib import suppress

import litellm
from connection import CONNECTION, MODEL, STREAMED

from otel_tokenstream import TokenCollector, correlate

QUESTION = "How does a lighthouse work?"
GO_ON = f'Your answer to "{QUESTION}" was interrupted. Go on right after its last letter, repeating nothing.'


def show(messages: list[dict[str, str]]) -> None:
    for chunk in litellm.completion(model=MODEL, messages=messages, **STREAMED, **CONNECTION):
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)


def main() -> None:
    print("Ctrl-C interrupts the answer.\n")
    messages = [{"role": "user", "content": QUESTION}]
    before = None
    while True:
        # A link leads from the span of this part to that of the part before.
        with correlate(continues=before), TokenCollector() as collected:
            try:
                show(messages)
                break
            except KeyboardInterrupt:
                text = collected.get_text()
        print(f"\n\n[{len(text)} characters kept. Enter goes on, Ctrl-C ends.] ", end="", flush=True)
        input()
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": GO_ON}]
        before = collected.events[-1].span_context
    print()


with suppress(KeyboardInterrupt, EOFError):
    main()
