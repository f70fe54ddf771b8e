"""Of which kind content is that no API calls text: by what it says of itself, whatever is added to these APIs."""

from __future__ import annotations

from typing import Any

from otel_tokenstream.core.call.chunk_kinds import AUDIO, IMAGE, OTHER, VIDEO
from otel_tokenstream.patches.openai_shape import get

_MEDIA = (IMAGE, AUDIO, VIDEO)
_FORMS = ("mimeType", "mime_type", "media_type", "type")
_HOLDERS = ("image_url", "audio_url", "video_url", "inlineData", "inline_data", "fileData", "file_data", "source")


def kind_of(block: Any, *names: str) -> str:
    """Return the kind of a block of media, and ``other`` where nothing tells; ``names`` are those it is known by."""
    words = [*(get(block, name) for name in _FORMS), *names]
    for name in _HOLDERS:
        held = get(block, name)
        if held is not None:
            url = held if isinstance(held, str) else get(held, "url")
            words += [*(get(held, form) for form in _FORMS), str(url)[:32].removeprefix("data:") if url else None, name]
    for word in words:
        for kind in _MEDIA:
            if isinstance(word, str) and kind in word[:32].lower():
                return kind
    return OTHER
