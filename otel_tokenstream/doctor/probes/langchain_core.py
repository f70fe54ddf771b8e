"""What calls LangChain's chat models, by the one of its own that needs no provider."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

# Where it is installed.
from langchain_core.language_models import GenericFakeChatModel  # type: ignore[import-not-found, unused-ignore]
from langchain_core.messages import AIMessage  # type: ignore[import-not-found, unused-ignore]

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator


def probes(_: str) -> Iterator[Probe]:
    """Yield plain, awaited and streamed calls."""
    for name in ("invoke", "ainvoke", "stream", "astream"):
        yield Probe(name, partial(_call, name), f"BaseChatModel.{name}")


def _call(name: str) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage("a b c d")]))
    return getattr(model, name)("Why?")
