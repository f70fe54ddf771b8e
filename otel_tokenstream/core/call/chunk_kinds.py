"""The kinds of content that a chunk may bring, as ``tokenstream.kind`` has them."""

from __future__ import annotations

TEXT = "text"
REASONING = "reasoning"
TOOL_CALL = "tool_call"
REFUSAL = "refusal"
AUDIO = "audio"
IMAGE = "image"
VIDEO = "video"
TOOL_RESULT = "tool_result"
OTHER = "other"
EMPTY = "empty"
MIXED = "mixed"
