"""Requests to a viewer, with full control over their headers."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.viewer.server import Viewer

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    viewer: Viewer, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.http_port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def get(viewer: Viewer, path: str) -> Any:
    answer = ask(viewer, path)
    assert answer.status == 200, answer.body
    return answer.json()


def post(viewer: Viewer, path: str, body: bytes, headers: Mapping[str, str] = PROTOBUF) -> Answer:
    return ask(viewer, path, "POST", body, headers)


def streams(viewer: Viewer, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(viewer, f"/api/streams?limit=1000&{query}")["streams"]
    return found


def detail(viewer: Viewer, ids: tuple[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = get(viewer, f"/api/streams/{ids[0]}/{ids[1]}")
    return found
