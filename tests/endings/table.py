"""The table of endings: what the provider does, how the caller leaves, and how the call has to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import litellm

from otel_tokenstream.demo.provider import Script
from tests.endings import leaving
from tests.endings.dspy_ways import DSPY
from tests.endings.entries import LAST, TIMEOUT, Entry
from tests.endings.langchain_ways import LANGCHAIN
from tests.endings.lion_ways import LION
from tests.endings.litellm_ways import CHAT, OTHERS
from tests.endings.sdk_ways import SDKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUPS = {
    "litellm: chat and text": CHAT,
    "litellm: other APIs": OTHERS,
    "DSPy": DSPY,
    "LangChain": LANGCHAIN,
    "OpenAI and Anthropic": SDKS,
    "lionpride and lionagi": LION,
}
ENTRIES = tuple(entry for entries in GROUPS.values() for entry in entries)

PIECES = ["a", "b", "c", LAST]


def provider_that(ending: Any = "natural", pieces: list[str] | None = None, **more: Any) -> Script:
    return Script(pieces=PIECES if pieces is None else pieces, gap=0.002, ending=ending, **more)


NEVER_ENDS = provider_that("hang")
PATIENCE = 30.0


@dataclass(frozen=True, eq=False)
class Ending:
    """One row. ``leave`` is how the caller leaves, by "sync" and "async"; a missing one does not exist there.

    A library, or a single entry, whose streams end otherwise stands in ``differs``.
    """

    name: str
    outcome: str
    script: Script
    leave: Mapping[str, Callable[..., Any]]
    closes: bool = False
    """The caller calls close() or aclose(), which not every stream has."""
    timeout: float = PATIENCE
    differs: Mapping[str, str] = field(default_factory=dict)

    def exists_for(self, entry: Entry) -> bool:
        if (
            self.name in entry.crashes
            or (self.closes and not entry.closes)
            or (self.timeout < PATIENCE and not entry.times_out)
        ):
            return False
        if entry.reads_on and self.outcome in ("abandoned", "cancelled"):
            return False
        return ("async" if entry.is_async else "sync") in self.leave

    def expected(self, entry: Entry) -> str:
        return self.differs.get(entry.name, self.differs.get(entry.library, self.outcome))


TO_THE_END = {"sync": leaving.to_the_end, "async": leaving.to_the_end_async}

# Since 1.109 litellm raises at the end of OpenAI's and Anthropic's streams that give no finish reason.
MISSES_THE_REASON = hasattr(litellm.CustomStreamWrapper, "_should_fail_on_clean_eof")
RAISING = (
    *("litellm", "anthropic", "streamify over litellm, async"),
    *("LangChain over litellm", "LangChain over litellm, async"),
)

# DSPy cancels the task that reads the stream when the program leaves what it made of it.
RELAYED = {"streamify": "cancelled"}

ENDINGS = (
    Ending("read to the end", "completed", provider_that(), TO_THE_END),
    Ending("cut off by the token limit", "completed", provider_that("length"), TO_THE_END),
    Ending("HTTP 500", "failed", provider_that("http_error", status=500), TO_THE_END),
    Ending("HTTP 429", "failed", provider_that("http_error", status=429), TO_THE_END),
    Ending("error in the stream under HTTP 200", "failed", provider_that("error_frame"), TO_THE_END),
    Ending("connection closed in mid-stream", "failed", provider_that("cut"), TO_THE_END),
    Ending("connection closed before the first chunk", "failed", provider_that("cut", []), TO_THE_END),
    Ending("connection reset in mid-stream", "failed", provider_that("reset"), TO_THE_END),
    Ending("timeout of the client in mid-stream", "failed", NEVER_ENDS, TO_THE_END, timeout=TIMEOUT),
    Ending(
        "no finish reason",
        "completed",
        provider_that("none"),
        TO_THE_END,
        # Without its last event litellm raises.
        differs={"responses": "failed", **(dict.fromkeys(RAISING, "failed") if MISSES_THE_REASON else {})},
    ),
    Ending(
        "the caller's exception in the loop",
        "abandoned",
        NEVER_ENDS,
        {"sync": leaving.callers_exception, "async": leaving.callers_exception_async},
        differs=RELAYED,
    ),
    Ending(
        "break",
        "abandoned",
        NEVER_ENDS,
        {"sync": leaving.break_and_drop, "async": leaving.break_and_drop_async},
        differs=RELAYED,
    ),
    Ending(
        "break at the finish reason",
        "completed",
        provider_that(),
        {"sync": leaving.break_at_the_finish_reason, "async": leaving.break_at_the_finish_reason_async},
    ),
    Ending(
        "break and close",
        "closed",
        NEVER_ENDS,
        {"sync": leaving.break_and_close, "async": leaving.break_and_close_async},
        closes=True,
        differs=RELAYED,
    ),
    Ending(
        "exception in a with block",
        "closed",
        NEVER_ENDS,
        {"sync": leaving.with_block, "async": leaving.with_block_async},
        closes=True,
        differs=RELAYED,
    ),
    Ending(
        "found by the garbage collector",
        "abandoned",
        NEVER_ENDS,
        {"sync": leaving.closed_by_the_collector, "async": leaving.closed_by_the_collector_async},
        differs=RELAYED,
    ),
    Ending(
        "task cancelled in the call",
        "cancelled",
        provider_that("hang", [], before_headers=PATIENCE),
        {"async": leaving.cancelled_in_the_call},
    ),
    Ending(
        "task cancelled before the first chunk",
        "cancelled",
        provider_that("hang", []),
        {"async": leaving.cancelled_before_the_first_chunk},
    ),
    Ending("task cancelled in mid-stream", "cancelled", NEVER_ENDS, {"async": leaving.cancelled_in_mid_stream}),
    Ending(
        "task cancelled after the finish reason",
        "completed",
        provider_that(),
        {"async": leaving.cancelled_after_the_finish_reason},
    ),
    Ending("wait_for() around the loop", "cancelled", NEVER_ENDS, {"async": leaving.time_out_of_the_callers}),
)
