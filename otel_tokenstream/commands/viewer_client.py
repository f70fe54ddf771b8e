"""What the viewer says of its streams, asked over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

DEFAULT_URL = "http://127.0.0.1:4318"
_TIMEOUT = 10.0

# A proxy meant for the internet must not be asked for a server on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Stream = dict[str, Any]


class ViewerError(Exception):
    """The viewer does not answer, or does not understand; the message says what to do."""


class ViewerClient:
    def __init__(self, url: str = DEFAULT_URL, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def streams(self, **asked: str) -> list[Stream]:
        """Return streams as the page lists them; ``asked`` are the words of the page's address."""
        query = urllib.parse.urlencode({name: value for name, value in asked.items() if value})
        found: list[Stream] = self._get(f"/api/streams?{query}")["streams"]
        return found

    def is_there(self) -> bool:
        """Return whether a viewer answers. False where nothing listens.

        Raises:
            ViewerError: something else than a viewer answers.

        """
        try:
            answer = self._get("/api/metrics")
        except ViewerError as error:
            if isinstance(error.__cause__, urllib.error.URLError) and not isinstance(
                error.__cause__, urllib.error.HTTPError
            ):
                return False
            raise
        if "now" not in answer:
            raise ViewerError(self._foreign())
        return True

    def _get(self, path: str) -> Any:
        try:
            request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310  # given by the user
            with _opener.open(request, timeout=_TIMEOUT) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                message = f"the viewer at {self.url} asks for its token: --token TOKEN"
            elif error.code == 400:
                message = str(json.load(error).get("error"))
            else:
                message = self._foreign()
            raise ViewerError(message) from error
        except ValueError as error:
            raise ViewerError(self._foreign()) from error
        except OSError as error:
            message = f"no viewer answers at {self.url}; start one: otel-tokenstream view"
            raise ViewerError(message) from error

    def _foreign(self) -> str:
        return f"what answers at {self.url} is no viewer; give another address or port"
