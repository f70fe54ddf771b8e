"""A back end receives the same numbers of the same arrivals, however they are handed to the SDK.

``recorded_streams.json`` was printed by the version that used public calls alone: one record for each
gap, one ``add_event`` for each event. The bounds of the buckets that gaps wait in have moved since, by less
than ten nanoseconds: the places of single gaps in them are of today's, within 1e-7 of those printed then.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_tokenstream.core.emit import bulk_histogram, measurements, span_attributes, span_events
from tests.core.emit.recorded_streams import sent

pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")

EXPECTED = json.loads(Path(__file__).with_name("recorded_streams.json").read_text())


def _unknown(*_: object) -> Any:
    raise AttributeError


def test_the_same_arrivals_give_the_same_otlp() -> None:
    told = sent()
    assert told["spans"] == EXPECTED["spans"]
    assert told["points"] == EXPECTED["points"]


def test_an_sdk_that_is_built_otherwise_is_given_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_histogram, "aggregations_of", _unknown)
    monkeypatch.setattr(measurements, "aggregations_of", _unknown)
    monkeypatch.setattr(span_attributes, "_put", lambda *_: False)
    monkeypatch.setattr(span_events, "_put", lambda *_: False)
    told = sent()
    assert told["spans"] == EXPECTED["spans"]
    assert told["points"] == EXPECTED["points"]
