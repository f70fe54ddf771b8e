"""What the viewer says of its streams, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_URL = "http://127.0.0.1:4318"
_TIMEOUT = 10.0
MOST_OF_A_PAGE = 1000

# A proxy meant for the internet must not be asked for a server on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Stream = dict[str, Any]


class Page(NamedTuple):
    """A part of the streams asked for; ``summary`` counts all of them."""

    streams: list[Stream]
    summary: dict[str, Any]


class ViewerError(Exception):
    """The viewer does not answer, or does not understand; the message says what to do."""


class ViewerClient:
    def __init__(self, url: str = DEFAULT_URL, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def pages(self, asked: dict[str, str], limit: int | None = None) -> Iterator[Page]:
        """Yield streams as the page lists them, ``limit`` at once or as many as a viewer gives.

        ``asked`` are the words of the page's address.
        """
        limit = limit or MOST_OF_A_PAGE
        offset = 0
        while True:
            page = self._page({**asked, "offset": str(offset), "limit": str(limit)})
            yield page
            offset += limit
            if offset >= page.summary["streams"]:
                return

    def is_there(self) -> bool:
        """Return whether a viewer answers. False where nothing listens.

        Raises:
            ViewerError: something else than a viewer answers.

        """
        try:
            self._get("/api/metrics", "now")
        except ViewerError as error:
            if isinstance(error.__cause__, urllib.error.URLError) and not isinstance(
                error.__cause__, urllib.error.HTTPError
            ):
                return False
            raise
        return True

    def _page(self, asked: dict[str, str]) -> Page:
        query = urllib.parse.urlencode({name: value for name, value in asked.items() if value})
        answer = self._get(f"/api/streams?{query}", "streams", "summary")
        return Page(answer["streams"], answer["summary"])

    def _get(self, path: str, *keys: str) -> dict[str, Any]:
        """Return the answer, which has the ``keys`` if a viewer gave it."""
        try:
            request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310  # given by the user
            with _opener.open(request, timeout=_TIMEOUT) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise ViewerError(self._refused(error)) from error
        except OSError as error:
            message = f"no viewer answers at {self.url}; start one: otel-tokenstream view"
            raise ViewerError(message) from error
        except (ValueError, http.client.HTTPException) as error:
            raise ViewerError(self._foreign()) from error
        if not isinstance(answer, dict) or not answer.keys() >= set(keys):
            raise ViewerError(self._foreign())
        return answer

    def _refused(self, error: urllib.error.HTTPError) -> str:
        if error.code in (401, 403):
            return f"the viewer at {self.url} asks for its token: --token TOKEN"
        try:
            answer = json.load(error) if error.code == 400 else None
        except (OSError, ValueError, http.client.HTTPException):
            answer = None
        return str(answer["error"]) if isinstance(answer, dict) and "error" in answer else self._foreign()

    def _foreign(self) -> str:
        return f"{self.url} is no viewer; give another address or port"
