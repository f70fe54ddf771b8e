"""Text as it may be sent: one that OTLP can encode, without base64, within a limit of bytes."""

from __future__ import annotations

import re

_REPLACEMENT = "\ufffd"
_ELLIPSIS = "…"

# Data may come in lines, of which all but the last are long.
_DATA_URL = re.compile(r"(data:[\w.+/-]+;base64,)((?:[A-Za-z0-9+/_-]{60,}(?:\r?\n)?)+[A-Za-z0-9+/_-]*={0,2})")
_MARK = re.compile(r"…\[([0-9]{1,18}) bytes left out\]\Z")
# Longer than any word, key or hash, and of more than one case, as what is merely repeated is not.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{256,}={0,2}")
_CASES = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))


def repaired(text: str) -> str:
    """Join halves of surrogate pairs, replace lone ones and NUL.

    protobuf refuses a lone surrogate: the attribute is lost, and in a name the whole batch.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", _REPLACEMENT) if "\0" in text else text


def size(text: str) -> int:
    """Bytes in UTF-8; a lone surrogate counts like what will replace it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def head(text: str, limit: int) -> str:
    """Return as much of the beginning as fits into ``limit`` bytes, cut between code points."""
    if len(text) <= limit >> 2 or size(text) <= limit:
        return text
    encoded = text.encode("utf-8", "surrogatepass")
    while limit > 0 and encoded[limit] & 0xC0 == 0x80:  # in the middle of a code point
        limit -= 1
    return encoded[: max(limit, 0)].decode("utf-8", "surrogatepass")


def left_out(count: int) -> str:
    """Return the mark that stands for ``count`` bytes."""
    return f"{_ELLIPSIS}[{count} bytes left out]"


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` bytes that says at its end how many were left out.

    What was left out before, by the mark the text has, is counted in. Empty where not even the
    mark fits.
    """
    if size(text) <= limit:
        return text
    marked_before = _MARK.search(text)
    missing = 0
    if marked_before is not None:
        text, missing = text[: marked_before.start()], int(marked_before[1])
    whole = size(text)
    # The mark is longest where nothing is kept.
    kept = head(text, max(limit - size(left_out(whole + missing)), 0))
    marked = kept + left_out(whole - size(kept) + missing)
    return marked if size(marked) <= limit else ""


def without_base64(text: str) -> str:
    """Replace data by its size: data URLs, and long runs of base64."""
    if len(text) < 64:
        return text
    if ";base64," in text:
        text = _DATA_URL.sub(lambda found: f"{found[1]}[{decoded_size(found[2])} bytes]", text)
    return _BASE64.sub(_elided, text)


def _elided(found: re.Match[str]) -> str:
    run = found[0]
    return f"[base64: {decoded_size(run)} bytes]" if all(case.search(run) for case in _CASES) else run


def decoded_size(base64: str) -> int:
    """Bytes that base64 stands for, without decoding it."""
    digits = base64.rstrip("=\r\n ")
    return (len(digits) - digits.count("\n") - digits.count("\r")) * 3 // 4
