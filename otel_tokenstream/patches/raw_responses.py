"""Raw responses of the SDKs, which give their answer or stream when they are parsed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from otel_tokenstream.patches.lifecycle import is_iterator

if TYPE_CHECKING:
    from collections.abc import Callable


def is_raw(result: object) -> bool:
    return hasattr(result, "http_response")


def when_parsed(response: Any, handed: Callable[[Any], Any]) -> None:
    """Let ``parse`` of this response return what ``handed`` makes of its result, awaited where that has to be."""
    kept, held = type(response), weakref.ref(response)

    def parse(*args: Any, **kwargs: Any) -> Any:
        result = kept.parse(held(), *args, **kwargs)
        return _awaited(result) if hasattr(result, "__await__") and not is_iterator(result) else handed(result)

    async def _awaited(result: Any) -> Any:
        return handed(await result)

    response.parse = parse
