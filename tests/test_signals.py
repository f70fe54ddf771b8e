from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    server_attributes,
    user_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from otel_tokenstream import signals

PACKAGE = Path(signals.__file__).parent
# Where telemetry is made, as opposed to read.
MAKERS = [path for folder in ("core", "patches", "fields", "live") for path in (PACKAGE / folder).rglob("*.py")]
HISTOGRAMS = [metric for metric in signals.METRICS.values() if metric.kind == "histogram"]

# In the conventions' own repository since the conventions package stopped following it.
NEWER_ATTRIBUTES = {
    "gen_ai.conversation.compacted",
    "gen_ai.prompt.version",
    "gen_ai.request.previous_response.id",
    "gen_ai.request.reasoning.level",
    "gen_ai.retrieval.top_k",
    "gen_ai.usage.cache_write.input_tokens",
}
NEWER_METRICS = ("gen_ai.client.inference.", "gen_ai.invoke_agent.")
BY_MODALITY = {
    f"gen_ai.usage.{each}.{of}"
    for each in ("text", "image", "audio")
    for of in ("input_tokens", "cache_read.input_tokens", "output_tokens")
}


def strings_of(*modules: Any) -> set[str]:
    return {value for module in modules for name, value in vars(module).items() if name.isupper() and value}


def test_attribute_names_of_the_convention_are_the_conventions() -> None:
    """A misspelt name would be a new one, which no back end looks at."""
    known = strings_of(gen_ai_attributes, server_attributes, error_attributes, user_attributes)
    claimed = {each.name for each in signals.SPAN_ATTRIBUTES.values() if each.source == signals.CONVENTION}
    assert claimed - known == NEWER_ATTRIBUTES | BY_MODALITY


def test_metrics_of_the_convention_have_its_names_units_and_kind() -> None:
    """Dashboards made for the convention work on what we record."""
    meter = MeterProvider().get_meter("test")
    claimed = {m.name: m for m in HISTOGRAMS if m.source == signals.CONVENTION and not m.name.startswith(NEWER_METRICS)}
    created = {
        instrument.name: instrument
        for name, create in vars(gen_ai_metrics).items()
        if name.startswith("create_gen_ai_client_")
        for instrument in (create(meter),)
    }
    assert set(claimed) == set(created)
    assert {name: metric.unit for name, metric in claimed.items()} == {n: i.unit for n, i in created.items()}
    assert all(isinstance(instrument, Histogram) for instrument in created.values())


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_buckets_rise_strictly(metric: signals.Metric) -> None:
    """The SDK takes bounds as they are; unsorted ones count wrongly without a word."""
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.buckets


def test_first_token_histograms_have_a_bound_at_two_and_a_half_seconds() -> None:
    """An objective of 2.5 s is exact only where a bucket ends there."""
    of_first_tokens = [metric for metric in HISTOGRAMS if "time_to_first" in metric.name]
    assert len(of_first_tokens) == 5
    assert all(2.5 in metric.buckets for metric in of_first_tokens)


def test_only_histograms_have_buckets() -> None:
    """Bounds on another instrument would be documented and never used."""
    assert not [m.name for m in signals.METRICS.values() if m.buckets and m.kind != "histogram"]


def test_durations_have_the_unit_of_their_place() -> None:
    """Milliseconds in our span attributes, microseconds in events, seconds in metrics, and names that say so."""
    for attribute in (*signals.SPAN_ATTRIBUTES.values(), *signals.EVENT_ATTRIBUTES.values()):
        suffix = attribute.name.rpartition("_")[2]
        if suffix in ("ms", "us"):
            assert (attribute.type.removesuffix("[]"), attribute.unit) == ("int", suffix), attribute.name
        else:
            assert attribute.unit not in ("ms", "us"), attribute.name
    assert not [m.name for m in signals.METRICS.values() if m.unit in ("ms", "us")]


def test_every_event_begins_with_its_position() -> None:
    """Grafana addresses these three by their place."""
    position = ("tokenstream.offset_us", "tokenstream.gap_us", "tokenstream.index")
    assert {event.attributes[:3] for event in signals.EVENTS.values()} == {position}


def test_attributes_of_events_and_metrics_are_described() -> None:
    """A name that a table mentions stands in a table."""
    of_events = {name for event in signals.EVENTS.values() for name in event.attributes}
    assert of_events == set(signals.EVENT_ATTRIBUTES)
    of_records = {name for record in signals.RECORDS.values() for name in record.attributes}
    assert of_records <= {*signals.SPAN_ATTRIBUTES, signals.EXCEPTION_TYPE, signals.EXCEPTION_MESSAGE}
    of_metrics = {name for metric in signals.METRICS.values() for name in metric.attributes}
    own = {
        *(signals.TOKEN_TYPE, signals.TOKEN_MODALITY, signals.FIRST_TOKEN_SEEN, signals.PHASE, signals.LIVE_SINK),
        *(signals.LIBRARY, signals.ENTRY),
    }
    assert of_metrics <= set(signals.SPAN_ATTRIBUTES) | set(signals.EVENT_ATTRIBUTES) | own


def test_every_name_is_used() -> None:
    """What the documentation lists is emitted by some code: no name stands here for itself."""
    named = {name for name, value in vars(signals).items() if name.isupper() and isinstance(value, str)}
    used = {
        node.attr
        for path in MAKERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "signals"
    }
    assert sorted(named - used - {"CONVENTION", "OURS"}) == []


def test_no_other_module_spells_a_name() -> None:
    """A name is written once; elsewhere it would be missed when it changes."""
    attributes, emitted = {**signals.SPAN_ATTRIBUTES, **signals.EVENT_ATTRIBUTES}, {**signals.EVENTS, **signals.RECORDS}
    names = {*attributes, *emitted, *signals.METRICS}
    spelt = {
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for path in MAKERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert sorted(spelt) == []
