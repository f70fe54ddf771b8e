"""Every query of every dashboard against the real back ends, with the data of a program that did everything."""

from __future__ import annotations

import json
import re
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from grafana.builder.names import metric, metrics_in, series
from grafana.builder.queries import PAGES
from otel_tokenstream import signals
from tests.stack import history
from tests.stack.ask import RefusedError, fill, logql, promql, trace, traceql
from tests.stack.servers import ROOT, wait_until

QUERIES = [
    pytest.param(
        name, query, id=f"{page}-{name}-{number}", marks=[pytest.mark.tempo] if query.language == "traceql" else []
    )
    for page, queries in PAGES.items()
    for name, each in queries.items()
    for number, query in enumerate(each)
]
# Spans leave the Collector only where there is a Tempo to take them.
ONLY_TEMPO = re.compile(r"\btempo_|exporter_sent_spans")
# A stack that is well has no answer to these. Those who make one and ask again:
PROVEN_ELSEWHERE = {
    "lost_spans": "test_losses.py",
    "lost_others": "test_losses.py",
    "truncated": "test_losses.py",
    "sampled": "test_tail_sampling.py",
    "undecided": "test_tail_sampling.py",
    "firing": "test_drawn.py",
}
# The older convention has no such counters.
NEW_ALONE = "gen_ai.client.inference.usage."
VALUES = {
    "service": "shown",
    "provider": ".+",
    "model": ".+",
    "every": "15s",
    "by": "gen_ai_request_model",
    "a": "gpt-4o-mini",
    "b": "gpt-4o",
    "least": "10",
    "step": "100ms",
}


@pytest.fixture(scope="module")
def values(stack, shown):
    """Values for the variables: the trace of a long stream, which has everything a stream can have."""
    message = TracesData.FromString((shown.truth / "traces.pb").read_bytes())
    spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
    (long,) = [span for span in spans if span.name == "chat long"]
    # Rates need two samples, and the second export of every series.
    wait_until(lambda: time.time() > shown.started + 45, 60, what="a second export")
    # Objectives are recorded once a minute.
    recorded = 'tokenstream:wait_objective:share{service_name="shown"}'
    wait_until(lambda: promql(stack.url("prometheus"), recorded), 120, what=recorded)
    return {**VALUES, "trace": long.trace_id.hex(), "since": shown.started}


def ask(stack, query, values, text=None):
    filled = fill(text or query.text, **{name: value for name, value in values.items() if name != "since"})
    if query.language == "promql":
        return promql(stack.url("prometheus"), filled)
    if query.language == "logql":
        return logql(stack.url("loki"), filled, values["since"], step=values["step"])
    if query.shape == "trace":
        return trace(stack.url("tempo"), filled)
    return traceql(stack.url("tempo"), filled, values["since"])


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_every_query_has_data(stack, values, name, query):
    """Or it says why it may have none, is one that the back end takes, and has data where there is something to see."""
    if ONLY_TEMPO.search(query.text) and not stack.has_tempo:
        pytest.skip("no Tempo server")
    if name in PROVEN_ELSEWHERE:
        assert query.quiet
        ask(stack, query, values)
        return
    # The stack is younger than a week; the same query of today has data.
    text = query.text.replace(" offset 1w", "")
    # Back ends show the newest data after some seconds.
    wait_until(lambda: ask(stack, query, values, text), 45, what=text)


@pytest.mark.parametrize("signal", signals.METRICS)
def test_a_metric_taken_away_is_missed(stack, values, signal):
    """For each metric there is a query that has no data without it, so that its loss fails the test above."""
    text_queries = [query for _, query in (each.values for each in QUERIES) if query.language == "promql"]
    asking = [query for query in text_queries if signal in metrics_in(query.text)]
    # The convention's two names stand in for each other: without one the other answers, without both nothing does.
    twins = [name for name in signals.METRICS if _same(name, signal)]
    missed = [query for query in asking if not ask(stack, query, values, without(query.text, twins))]
    assert missed, signal


def _same(one, other):
    pairs = {
        signals.OPERATION_DURATION: signals.INFERENCE_DURATION,
        signals.OPERATION_TIME_TO_FIRST_CHUNK: signals.INFERENCE_TIME_TO_FIRST_CHUNK,
        signals.OPERATION_TIME_PER_OUTPUT_CHUNK: signals.INFERENCE_TIME_PER_OUTPUT_CHUNK,
    }
    usage = {signals.TOKEN_USAGE, signals.INFERENCE_INPUT_TOKENS, signals.INFERENCE_OUTPUT_TOKENS}
    return one == other or pairs.get(one) == other or pairs.get(other) == one or {one, other} <= usage


def without(text, names):
    gone = {each for name in names for each in (metric(name), *series(name))}
    return re.sub(r"[A-Za-z_]\w*", lambda word: f"gone_{word[0]}" if word[0] in gone else word[0], text)


@pytest.mark.parametrize("names", ["old", "new"])
def test_dashboards_work_under_either_name_of_the_convention(stack, values, names):
    """A program that sends only gen_ai.client.operation.* or only gen_ai.client.inference.* is shown."""
    other = (
        [name for name in signals.METRICS if "client.inference" in name]
        if names == "old"
        else [name for name in signals.METRICS if name.startswith("gen_ai.client") and "inference" not in name]
    )
    for _, query in (each.values for each in QUERIES):
        if names == "old" and all(name.startswith(NEW_ALONE) for name in metrics_in(query.text)):
            continue
        if query.language == "promql" and "gen_ai_client" in query.text:
            assert ask(stack, query, values, without(query.text, other)), query.text


@pytest.mark.parametrize("by", ["gen_ai_provider_name", "service_version", "tokenstream_field"])
def test_comparisons_work_by_every_dimension(stack, values, by):
    """Provider, version and field: both sides may even be the same one."""
    side = {"gen_ai_provider_name": "openai", "service_version": "1", "tokenstream_field": "answer"}[by]
    chosen = {**values, "by": by, "a": side, "b": side, "least": "1"}
    for name in ("samples", "first_token", "first_token_ratio", "distribution"):
        for query in PAGES["compare"][name]:
            assert ask(stack, query, chosen), query.text
    (ratio,) = [value for _, value in ask(stack, PAGES["compare"]["first_token_ratio"][0], chosen)]
    assert ratio == pytest.approx(1)


@pytest.mark.parametrize("name", [pytest.param("summary", marks=pytest.mark.tempo), "gaps", "pace", "events"])
def test_no_trace_id_shows_no_stream(stack, values, name):
    """Neither another's, nor the records that belong to no trace."""
    for query in PAGES["stream"][name]:
        try:
            found = ask(stack, query, {**values, "trace": ""})
        except RefusedError:
            continue
        assert not found, query.text


def test_a_new_version_of_a_known_service_is_marked(stack):
    """Where it came, and neither before nor later, nor where a service came for the first time."""
    history.deployment(stack.collectors["collector"].http, "deployed")
    page = json.loads((ROOT / "grafana/dashboards/service.json").read_text())
    (mark,) = [each for each in page["annotations"]["list"] if each["name"] == "Deployments"]
    text, came = fill(mark["expr"], service="deployed"), time.time() - 9 * 60

    def versions(at):
        return [labels["service_version"] for labels, _ in promql(stack.url("prometheus"), text, at)]

    wait_until(lambda: versions(came + 120) == ["2"], 40, what="the new version")
    assert not versions(came - 120)
    assert not versions(came + 420)
    assert not versions(came - 17 * 60)


def test_too_few_streams_give_no_ratio(stack, values):
    """A ratio of two chances is none."""
    (query,) = PAGES["compare"]["first_token_ratio"]
    assert ask(stack, query, values)
    assert not ask(stack, query, {**values, "least": "100000"})


def test_the_share_in_time_is_the_true_one(stack, shown, values):
    """Counted from the spans that were sent: late ones and those that failed without any token."""
    message = TracesData.FromString((shown.truth / "traces.pb").read_bytes())
    late = good = 0
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                at = {each.key: each.value for each in span.attributes}
                if signals.OUTCOME not in at or signals.REQUEST_STREAM not in at:
                    continue
                first = at.get(signals.TIME_TO_FIRST_TOKEN_MS)
                if first is not None:
                    good, late = (good + 1, late) if first.int_value <= 2500 else (good, late + 1)
                elif at[signals.OUTCOME].string_value == "failed":
                    late += 1
    (query,) = PAGES["service"]["in_time_range"]
    ((_, share),) = ask(stack, query, values)
    assert late >= 12
    assert share == pytest.approx(good / (good + late), abs=0.005)
