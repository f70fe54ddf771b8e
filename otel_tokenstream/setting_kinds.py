"""Kinds of values of settings: in words for the documentation, and as the function that checks one.

A check takes what stands in a variable or is given as an option, and returns the setting's
value; it raises KeyError, TypeError or ValueError for any other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)
_BROKERS = ("redis://", "rediss://", "amqp://", "amqps://")


def choice(*values: str) -> tuple[str, Callable[[object], str]]:
    by_name = {value.lower(): value for value in values}

    def check(value: object) -> str:
        return by_name[str(value).strip().lower()]

    return "one of " + ", ".join(values), check


def boolean() -> tuple[str, Callable[[object], bool]]:
    by_name = {"true": True, "1": True, "false": False, "0": False}

    def check(value: object) -> bool:
        return by_name[str(value).strip().lower()]

    return "true or false", check


def several(*values: str) -> tuple[str, Callable[[object], frozenset[str]]]:
    def check(value: object) -> frozenset[str]:
        found = frozenset(name.lower() for name in _listed(value))
        if not found <= set(values):
            raise ValueError
        return found

    return "any of " + ", ".join(values) + ", separated by commas", check


def whole(highest: int) -> tuple[str, Callable[[object], int]]:
    def check(value: object) -> int:
        number = int(value.strip()) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= highest:
            raise ValueError
        return number

    return f"a whole number from 0 to {highest}", check


def seconds(highest: float) -> tuple[str, Callable[[object], float]]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise TypeError
        number = float(value)
        if not math.isfinite(number) or not 0 <= number <= highest:
            raise ValueError
        return number

    return f"seconds from 0 to {highest:g}", check


@dataclass(frozen=True)
class NamedHook:
    """A function by its name, imported at its first use: a program's modules are not to be found before it runs."""

    module: str
    function: str

    def __call__(self, text: str) -> str:
        redacted: str = self._found()(text)
        return redacted

    @property
    def longest(self) -> object:
        """Return the longest match that a ``Redactor`` declares; a plain function declares none."""
        return getattr(self._found(), "longest", None)

    def _found(self) -> Any:
        return getattr(import_module(self.module), self.function)


def hook() -> tuple[str, Callable[[object], Any]]:
    def check(value: object) -> Any:
        if isinstance(value, str):
            module, colon, function = value.strip().partition(":")
            if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
                raise ValueError
            return NamedHook(module, function)
        if value is not None and not callable(value):
            raise TypeError
        hash(value)  # settings are looked up by their values
        return value

    return "a function from str to str, or where one is as module:function", check


def keys(what: str) -> tuple[str, Callable[[object], tuple[str, ...]]]:
    """Keys as HTTP headers may have them, in the order in which they are given."""

    def check(value: object) -> tuple[str, ...]:
        found = _listed(value)
        if not all(_KEY.fullmatch(key) for key in found):
            raise ValueError
        return found

    return f"{what}, separated by commas", check


def field_list() -> tuple[str, Callable[[object], frozenset[str]]]:
    def check(value: object) -> frozenset[str]:
        found = frozenset(_listed(value))
        if found != {"*"} and not all(name.isidentifier() for name in found):
            raise ValueError
        return found

    return "names of output fields, separated by commas, or * for all", check


def outlets() -> tuple[str, Callable[[object], tuple[str, ...]]]:
    """Where live events go."""

    def check(value: object) -> tuple[str, ...]:
        found = _listed(value)
        if not all(each == "terminal" or each.startswith(_BROKERS) for each in found):
            raise ValueError
        return found

    return "terminal, redis://..., rediss://..., amqp://... or amqps://..., separated by commas", check


def _listed(value: object) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise TypeError
    return tuple(dict.fromkeys(str(each).strip() for each in given if str(each).strip()))
