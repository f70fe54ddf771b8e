"""Traces from Tempo (2.8 or later): ids by searches from now backwards, then each trace by its id."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.sources import SourceError
from otel_tokenstream.analysis.sources.otlp_json import NotOtlpError, add

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPMessage
    from typing import IO

    from otel_tokenstream.analysis.recording import Recording

DEFAULT_QUERY = f"{{ span.{signals.OUTCOME} != nil }}"
TOKEN_VARIABLE = "TEMPO_BEARER_TOKEN"  # noqa: S105 - a variable's name
HEADERS_VARIABLE = "TEMPO_HEADERS"
_PAGE = 200
_AT_ONCE = 4
_TIMEOUT_S = 30.0
_ID_LENGTH = 32
_DAY_S = 86400


@dataclass(frozen=True)
class Tempo:
    """``limit`` is of traces: the newest are taken."""

    url: str
    start_s: int
    end_s: int
    query: str = DEFAULT_QUERY
    tenant: str = ""
    limit: int = 2000
    page: int = _PAGE

    def read(self, recording: Recording) -> None:
        """Every generation of the traces found. Raises SourceError."""
        ids: dict[str, None] = {}
        for start_s, end_s in self._days():
            self._find(start_s, end_s, ids)
        if len(ids) > self.limit:
            recording.notes.append(
                f"only the newest {self.limit} traces of Tempo were read; raise --limit or shorten --since for all"
            )
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for trace_id, document in zip(ids, pool.map(self._trace, list(ids)[: self.limit]), strict=False):
                self._add(trace_id, document, recording)

    def _days(self) -> Iterator[tuple[int, int]]:
        """Newest first: Tempo searches no more than its max_duration at once, by default 168 h."""
        for end_s in range(self.end_s, self.start_s, -_DAY_S):
            yield max(self.start_s, end_s - _DAY_S), end_s

    def _find(self, start_s: int, end_s: int, ids: dict[str, None]) -> None:
        """Until there are more than the limit. Each search gives the newest traces; the next one ends at the oldest."""
        page = self.page
        while len(ids) <= self.limit:
            found = self._search(start_s, end_s, page)
            ids.update(dict.fromkeys(found))
            if len(found) < page:
                return
            oldest_s = min(found.values()) // 10**9 + 1
            if oldest_s < end_s:
                end_s = oldest_s
            else:  # more traces in a second than fit
                page *= 4

    def _search(self, start_s: int, end_s: int, page: int) -> dict[str, int]:
        """Ids and starts in ns."""
        query = self.query if " with " in self.query else f"{self.query} with (most_recent=true)"
        parameters = {"q": query, "start": start_s, "end": end_s, "limit": page, "spss": 1}
        answer = self._get(f"/api/search?{urllib.parse.urlencode(parameters)}")
        try:
            # Ids come without their leading zeros.
            return {
                str(trace["traceID"]).rjust(_ID_LENGTH, "0"): int(trace.get("startTimeUnixNano", end_s * 10**9))
                for trace in answer.get("traces") or ()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceError(self._not_tempo()) from error

    def _trace(self, trace_id: str) -> Any:
        return self._get(f"/api/v2/traces/{trace_id}?start={self.start_s}&end={self.end_s}")

    def _add(self, trace_id: str, document: Any, recording: Recording) -> None:
        if document is None:
            recording.notes.append(f"Tempo found trace {trace_id} and has it no longer")
            return
        if document.get("status") == "PARTIAL":
            recording.notes.append(f"Tempo gave only a part of trace {trace_id}: {document.get('message', '')}")
        try:
            add(document, recording)
        except NotOtlpError as error:
            message = f"{self.url}: trace {trace_id}: {error}"
            raise SourceError(message) from error

    def _get(self, path: str) -> Any:
        """The answer's JSON; None for 404."""
        request = urllib.request.Request(self.url.rstrip("/") + path, headers=self._headers())  # noqa: S310 - checked by the caller
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404 and "/traces/" in path:
                return None
            raise SourceError(self._refused(error)) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            message = f"{self.url} does not answer: {reason}; is this Tempo's HTTP address (usually port 3200)?"
            raise SourceError(message) from error
        except (ValueError, HTTPException) as error:
            raise SourceError(self._not_tempo()) from error
        if not isinstance(found, dict):
            raise SourceError(self._not_tempo())
        return found

    def _not_tempo(self) -> str:
        return f"{self.url} answers, but not as Tempo does; is this Tempo's HTTP address (usually port 3200)?"

    def _refused(self, error: urllib.error.HTTPError) -> str:
        said = error.read(500).decode(errors="replace").strip()
        hints = {
            400: "is the query right?",
            401: f"set {TOKEN_VARIABLE} or {HEADERS_VARIABLE}, or name a tenant with --tenant",
            403: f"may the token in {TOKEN_VARIABLE} read this tenant?",
            404: "is this Tempo's HTTP address?",
        }
        return f"{self.url} answers {error.code} {said}; {hints.get(error.code, 'see its log')}"

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        for pair in filter(None, os.environ.get(HEADERS_VARIABLE, "").split(",")):
            name, equals, value = pair.partition("=")
            if not equals:
                message = f"{HEADERS_VARIABLE} is not of the form name=value,name=value"
                raise SourceError(message)
            headers[name.strip()] = urllib.parse.unquote(value.strip())
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {token}"
        if self.tenant:
            headers["X-Scope-OrgID"] = self.tenant
        return headers


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would send the token on to wherever an answer points."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


_OPENER = urllib.request.build_opener(_NoRedirects)
