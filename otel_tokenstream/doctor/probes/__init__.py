"""Every public entry of a library, called once on a scripted provider, in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING_PARTS = (
    "ImportError",
    "ModuleNotFoundError",
    "No module named",
    "Missing dependency",
    "has no attribute",
    ".tiktoken",  # a tokenizer that a library downloads when it is first needed
)
"""Texts of errors that mean that an entry's needs are missing from an installation or a library's version."""


class Probe(NamedTuple):
    """One entry and what calls it.

    ``entry`` is its name among the library's seams, ``first`` begins the name of its span. ``native`` says whether
    litellm may answer by native code meanwhile, ``is_call`` whether the span is that of a model call, ``is_exact``
    whether the program gets every chunk that the library read.
    """

    name: str
    call: Callable[[], Any]
    entry: str = ""
    native: bool = False
    first: str = ""
    is_call: bool = True
    is_exact: bool = True
