"""A scripted stand-in for a model provider: real HTTP and server-sent events, known timing."""

from otel_tokenstream.demo.provider.log import Exchange, ExchangeLog
from otel_tokenstream.demo.provider.script import (
    NO_CHOICES,
    ROLE,
    Ending,
    Kind,
    Piece,
    Script,
    Usage,
    audio,
    reasoning,
    refusal,
    tool_call,
)
from otel_tokenstream.demo.provider.server import ScriptedProvider

__all__ = [
    "NO_CHOICES",
    "ROLE",
    "Ending",
    "Exchange",
    "ExchangeLog",
    "Kind",
    "Piece",
    "Script",
    "ScriptedProvider",
    "Usage",
    "audio",
    "reasoning",
    "refusal",
    "tool_call",
]
