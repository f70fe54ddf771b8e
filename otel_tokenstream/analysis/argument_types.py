"""Arguments of several commands, and their types: argparse refuses a wrong word with the reason and exit code 2."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

from otel_tokenstream.analysis import units


def seconds(text: str) -> float:
    try:
        return units.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        message = f"{text!r} is no number from 1"
        raise argparse.ArgumentTypeError(message)
    return number


def tempo_url(text: str) -> str:
    if not _is_address(text):
        message = f"{text!r} is no address; write it like http://127.0.0.1:3200"
        raise argparse.ArgumentTypeError(message)
    parts = urlsplit(text)
    if parts.username or parts.password:
        message = "put no password into the address: reports show it; set TEMPO_HEADERS or TEMPO_BEARER_TOKEN"
        raise argparse.ArgumentTypeError(message)
    return text


def add_tempo(parser: argparse.ArgumentParser) -> None:
    """Add where Tempo is, whose traces it reads and how many; which of them differs by command."""
    parser.add_argument("--tempo", type=tempo_url, metavar="URL", help="read from this Tempo server")
    parser.add_argument("--tenant", default="", metavar="NAME", help="of Tempo, sent as X-Scope-OrgID")
    parser.add_argument("--limit", type=count, default=2000, metavar="N", help="of Tempo's traces; default 2000")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
