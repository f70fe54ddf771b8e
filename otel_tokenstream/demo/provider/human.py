"""Human-like pace and the named scripts of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.demo.provider.replies import call_tool, think
from otel_tokenstream.demo.provider.script import Piece, Script

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SENTENCE_ENDS = (".", "!", "?", ":", "\n")


def human_pace(pieces: Sequence[str | Piece], chance: random.Random) -> list[float]:
    """Log-normal gaps with a median of 24 ms, about twice that at the start of a sentence."""
    gaps = []
    for piece in pieces:
        text = piece.text if isinstance(piece, Piece) else piece
        slower = 2.2 if text.rstrip(" ").endswith(SENTENCE_ENDS) else 1.0
        gaps.append(min(0.024 * slower * chance.lognormvariate(0, 0.45), 0.4))
    return gaps


HUMAN = Script(first_piece=(0.3, 0.5), gap=human_pace)

NAMED_SCRIPTS: dict[str, Script] = {
    "human": HUMAN,
    "thinking": Script(pieces=think, first_piece=(0.3, 0.5), gap=human_pace),
    "tools": Script(pieces=call_tool, first_piece=(0.3, 0.5), gap=human_pace),
    "stall": Script(first_piece=(0.3, 0.5), gap=human_pace, pauses={40: 2.5}),
    "slow-start": Script(first_piece=3.0, gap=human_pace),
    "cut": Script(first_piece=(0.3, 0.5), gap=human_pace, ending="cut", ends_after=30),
    "error": Script(
        ending="http_error",
        status=503,
        before_headers=0.2,
        error_type="overloaded_error",
        error_message="The model is overloaded. Try again later.",
    ),
}
