"""Keeps secrets out of what is printed: header values, passwords in addresses, keys and tokens in variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HIDDEN = "***"
_SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(?:\w+_)?HEADERS$")
_USER = re.compile(r"(?<=//)[^/\s@'\"]+(?=@)")
_SHORTEST = 6
"""A value of fewer characters stands in too many words to be hidden by searching for it."""


def hidden(text: str, environ: Mapping[str, str]) -> str:
    """Return ``text`` without the secrets that the environment holds."""
    for secret in sorted(set(_secrets(environ)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _USER.sub(HIDDEN, text)


def address(url: str) -> str:
    """Return a URL without its user, password and query."""
    base, mark, _ = _USER.sub(HIDDEN, url).partition("?")
    return f"{base}?{HIDDEN}" if mark else base


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if _HEADERS.search(name):
            for pair in value.split(","):
                yield from _parts(pair.partition("=")[2])
        elif _SECRET.search(name.upper()):
            yield from _parts(value)


def _parts(value: str) -> Iterator[str]:
    """Yield a value as it stands, decoded, and what follows a scheme such as Bearer."""
    for form in (value.strip(), unquote(value).strip()):
        for part in (form, form.partition(" ")[2].strip()):
            if len(part) >= _SHORTEST:
                yield part
