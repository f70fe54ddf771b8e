"""A user's redaction of every text before it enters a signal, whole texts and streamed ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call import user_code
from otel_tokenstream.core.call.chunk_kinds import TOOL_CALL
from otel_tokenstream.core.content.base64_filter import Base64Filter
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    RedactionHook = Callable[[str], str]

FAILED = "[redaction failed]"

_SEEN_BY_HOOK = 4
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class Redactor:
    """A redaction that says how far it looks: no match of ``function`` is longer than ``longest`` characters.

    What a pattern looks at before and after its match, a word's boundary say, counts with it.
    Only so can streamed text leave before its field has ended: what a match may still reach is
    withheld. A plain function declares nothing, and everything is withheld until the end.
    """

    function: Callable[[str], str]
    longest: int = 64

    def __post_init__(self) -> None:
        if not callable(self.function) or self.longest < 1:
            message = f"Redactor takes a function and the characters of its longest match, 1 or more: got {self!r}"
            raise ValueError(message)

    def __call__(self, text: str) -> str:
        return self.function(text)


def longest_match(hook: RedactionHook | None) -> int | None:
    """Characters the hook's longest match may have; None if it does not say."""
    try:
        longest = user_code.call(getattr, hook, "longest", None)
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # noqa: BLE001  # a hook that is imported by its name, and cannot be
        fault("the redaction hook", problem)
        return None
    return longest if isinstance(longest, int) and longest > 0 else None


def redaction_buffer_size(hook: RedactionHook | None, limit: int) -> int:
    """Bytes to keep of a streamed text so that up to ``limit`` may leave.

    Of a text that is longer than what is kept, only what a hook with a declared longest match
    cannot reach from there may leave, and nothing with any other hook.
    """
    if hook is None:
        return limit
    longest = longest_match(hook)
    return limit * _SEEN_BY_HOOK if longest is None else limit + 4 * longest


class RedactionError(Exception):
    """The hook failed on a text, which therefore must not leave."""


def redacted(hook: RedactionHook | None, text: str) -> str:
    """Return what may leave of a whole text; where the hook fails, only that it did."""
    if hook is None or not text:
        return text
    try:
        return _called(hook, text)
    except RedactionError:
        return FAILED


def sanitize(value: Any, hook: RedactionHook | None) -> Any:
    """Return a name or the value of an attribute as it may be sent: its texts, in lists too, repaired and redacted."""
    if isinstance(value, str):
        return redacted(hook, repaired(value))
    if isinstance(value, (list, tuple)):
        return [sanitize(each, hook) for each in value]
    return value


def sanitize_attributes(attributes: Mapping[str, Any], hook: RedactionHook | None) -> dict[str, Any]:
    """Return attributes as they may be sent; the hook sees their values."""
    return {repaired(name): sanitize(value, hook) for name, value in attributes.items()}


class StreamingRedactor:
    """Lets the text of one run through, of one kind, field and choice: repaired and, if ``elided``, without base64.

    What leaves is, put together, what the hook makes of the whole run, however it was split, if
    its longest match is as it declares: text is cut only between two characters that the hook
    leaves alone, so that no match is cut and none that follows begins elsewhere.
    """

    __slots__ = ("_base64_filter", "_failed", "_half", "_hook", "_longest", "_pending", "_unescape")

    def __init__(self, hook: RedactionHook | None, kind: str, *, elided: bool = True) -> None:
        self._hook = hook
        self._base64_filter = Base64Filter() if elided else None
        # JSON may write any character as an escape, which hides it from a pattern.
        self._unescape = kind == TOOL_CALL
        self._longest = None if self._unescape else longest_match(hook)
        self._pending = ""
        self._half = ""
        self._failed = False

    def feed(self, text: str) -> str:
        """Take a piece and return what may leave by now."""
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        text = repaired(text)
        if self._base64_filter is not None:
            text = self._base64_filter.feed(text)
        if self._hook is None:
            return text
        self._pending += text
        if self._longest is None or len(self._pending) <= self._longest:
            return ""
        return self._release(len(self._pending) - self._longest)

    def close(self, *, torn: bool = False) -> str:
        """Return what is left of the run; of a ``torn`` one, whose end is not known, only what is safe."""
        rest, self._half = repaired(self._half), ""
        if self._base64_filter is not None:
            rest = self._base64_filter.feed(rest) + self._base64_filter.close()
        if self._hook is None:
            return rest
        text, self._pending = self._pending + rest, ""
        if torn:
            return ""
        if self._unescape:
            text = unescaped(text)
        return "" if self._failed else redacted(self._hook, text)

    def _release(self, at: int) -> str:
        """Let go of at most ``at`` characters, cut where no match is near."""
        pending = self._pending
        if self._failed:
            self._pending = ""
            return ""
        try:
            whole = _called(self._hook, pending)
            step = 1
            while at > 0:
                ahead = _called(self._hook, pending[:at])
                if self._divides(at, ahead, whole) and self._untouched(at, whole):
                    self._pending = pending[at:]
                    return ahead
                at -= step
                step *= 2
        except RedactionError:
            self._failed, self._pending = True, ""
            return FAILED
        return ""

    def _divides(self, at: int, ahead: str, whole: str) -> bool:
        """Return whether the hook makes the same of the two parts as of the whole, and would wherever the text ended.

        Where it left something out, what remains can look the same by chance.
        """
        pending = self._pending
        ends = [len(pending)] if whole == pending else range(len(pending), at, -1)
        return all(ahead + _called(self._hook, pending[at:end]) == _called(self._hook, pending[:end]) for end in ends)

    def _untouched(self, at: int, whole: str) -> bool:
        """Return whether the characters at both sides of a cut are in no match.

        Where matches touch, a cut between them lets the next ones be found in other places.
        """
        before, after = self._pending[: at - 1], self._pending[at + 1 :]
        return _called(self._hook, before) + self._pending[at - 1 : at + 1] + _called(self._hook, after) == whole


def unescaped(json: str) -> str:
    r"""Resolve \uXXXX in a text that may be cut JSON."""
    return repaired(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), json)) if "\\u" in json else json


def _called(hook: RedactionHook | None, text: str) -> str:
    if hook is None:
        return text
    try:
        result = user_code.call(hook, text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever it is, the text must not leave
        fault("the redaction hook", error)
        raise RedactionError from None
    if not isinstance(result, str):
        fault("the redaction hook", TypeError(f"it must return a str, not {type(result).__qualname__}"))
        raise RedactionError
    return repaired(result)
