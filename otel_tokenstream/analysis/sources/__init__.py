"""Sources of recorded spans."""

from __future__ import annotations


class SourceError(Exception):
    """A source cannot be read; the text says which one, why, and what to do."""
