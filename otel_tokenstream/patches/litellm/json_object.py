"""JSON as the libraries' own classes have it: fields are attributes."""

from __future__ import annotations

import json
from typing import Any


class JsonObject(dict[str, Any]):
    """A JSON object whose fields are attributes too, None where it has none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)


def parsed(body: object) -> Any:
    """Return a body of JSON, None where it is none."""
    try:
        return json.loads(body, object_hook=JsonObject) if isinstance(body, bytes) else None
    except ValueError:
        return None
