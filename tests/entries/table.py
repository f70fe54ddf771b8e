"""The table of entries: libraries, ways to ask, and what is seen of each. docs/entries.md shows it."""

from __future__ import annotations

from tests.entries.dspy_entries import DSPY
from tests.entries.langchain_entries import LANGCHAIN
from tests.entries.lion_entries import LIONAGI, LIONPRIDE
from tests.entries.litellm_entries import LITELLM
from tests.entries.sdk_entries import ANTHROPIC, OPENAI

ENTRIES = (*LITELLM, *DSPY, *LANGCHAIN, *OPENAI, *ANTHROPIC, *LIONPRIDE, *LIONAGI)
