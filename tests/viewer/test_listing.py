"""The list's API, its answers compared with those of plain Python over the same spans."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.viewer import database, running
from otel_tokenstream.viewer.listing import SORTED_BY, Order, page
from otel_tokenstream.viewer.otlp import Record, Rows, Span
from otel_tokenstream.viewer.retention import Retention, delete
from otel_tokenstream.viewer.selection import Selection
from otel_tokenstream.viewer.store import Store
from tests.viewer.viewer_client import ask, get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer

COUNT = 6000
START_NS = 1_800_000_000 * 10**9


def made(number: int, chance: random.Random) -> Span:
    """A stream a second; some without a first token, usage or cost; three a trace, ten a conversation."""
    first_ms = chance.choice([None, chance.randrange(50, 4000)])
    stalls = chance.choice([None, 0, 0, 0, 2])
    outcome = chance.choice(["completed", "completed", "completed", "failed", "cancelled"])
    attributes: dict[str, Any] = {
        signals.OPERATION_NAME: chance.choice(["chat", "text_completion"]),
        signals.PROVIDER_NAME: "openai",
        signals.REQUEST_MODEL: chance.choice(["gpt-4o", "gpt-4o-mini", "Claude", "gemma"]),
        signals.OUTCOME: outcome,
        signals.TIME_TO_FIRST_TOKEN_MS: first_ms,
        signals.STALL_COUNT: stalls,
        signals.STALL_TOTAL_MS: stalls and stalls * 2100,
        signals.USAGE_OUTPUT_TOKENS: chance.choice([None, chance.randrange(1, 3000)]),
        signals.OUTPUT_RATE: chance.choice([None, chance.random() * 90]),
        signals.COST_USD: chance.choice([None, chance.randrange(1, 90) / 1e4]),
        signals.FINISH_REASONS: [chance.choice(["stop", "length"])],
        signals.ERROR_TYPE: "litellm.Timeout" if outcome == "failed" else None,
        signals.CONVERSATION_ID: f"talk-{number // 10}" if number % 2 else None,
        "customer.tier": chance.choice(["Gold", "silver"]),
        "order": 900_000 + number,
    }
    start_ns = START_NS + number * 10**9
    return Span(
        *(f"{0xABC0 + number // 3:032x}", f"{0xDE000000 + number:016x}", "" if number % 3 == 0 else "f" * 16),
        *(f"service-{number % 3}", f"run {number // 3}" if number % 3 == 0 else "chat", "client"),
        *(start_ns, start_ns + chance.randrange(10, 60_000) * 10**6, "unset", ""),
        {name: value for name, value in attributes.items() if value is not None},
        [],
        {"service.name": f"service-{number % 3}", "host.name": f"host-{number % 7}.example"},
    )


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    chance = random.Random(3)
    return [made(number, chance) for number in range(COUNT)]


@pytest.fixture(scope="module")
def filled(spans: list[Span], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """With spans in a shuffled order, as exporters of several processes send them."""
    path = tmp_path_factory.mktemp("list") / "viewer.db"
    shuffled = random.Random(5).sample(spans, COUNT)
    store = Store(path, Retention(36500))
    for first in range(0, COUNT, 500):
        store.submit(Rows(spans=shuffled[first : first + 500])).result(timeout=20)
    store.close()
    with running(database=path, retention_days=36500) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def everything(filled: Viewer, spans: list[Span]) -> list[dict[str, Any]]:
    found = [stream for offset in range(0, COUNT, 1000) for stream in listed(filled, f"offset={offset}")]
    assert [stream["span_id"] for stream in found] == [span.span_id for span in reversed(spans)]
    return found


def of(span: Span, name: str) -> Any:
    return span.attributes.get(name)


def length_ms(span: Span) -> float:
    return (span.end_ns - span.start_ns) / 1e6


FILTERS: dict[str, Callable[[Span], bool]] = {
    "": lambda _: True,
    "model=gpt-4o": lambda span: of(span, signals.REQUEST_MODEL) == "gpt-4o",
    "service=service-1&outcome=failed": lambda span: (
        span.service == "service-1" and of(span, signals.OUTCOME) == "failed"
    ),
    "operation=chat&finish_reason=length": lambda span: (
        of(span, signals.OPERATION_NAME) == "chat" and of(span, signals.FINISH_REASONS) == ["length"]
    ),
    "error=litellm.Timeout&provider=openai": lambda span: of(span, signals.ERROR_TYPE) is not None,
    "stalled=1": lambda span: bool(of(span, signals.STALL_COUNT)),
    "first_token_over=2000": lambda span: (of(span, signals.TIME_TO_FIRST_TOKEN_MS) or 0) > 2000,
    "duration_over=30000.5&stalled=1": lambda span: length_ms(span) > 30000.5 and bool(of(span, signals.STALL_COUNT)),
    f"from={START_NS // 10**6 + 60_000}&to={START_NS // 10**6 + 90_000}": lambda span: (
        60 <= (span.start_ns - START_NS) / 1e9 < 90
    ),
    "conversation=talk-7": lambda span: of(span, signals.CONVERSATION_ID) == "talk-7",
    f"trace={0xABC0 + 9:032x}": lambda span: span.trace_id == f"{0xABC0 + 9:032x}",
    "q=MINI": lambda span: of(span, signals.REQUEST_MODEL) == "gpt-4o-mini",
    "q=gold": lambda span: of(span, "customer.tier") == "Gold",
    "q=gol+host-3.exam": lambda span: of(span, "customer.tier") == "Gold" and "host-3" in span.resource["host.name"],
    "q=timeout+silv": lambda span: of(span, signals.ERROR_TYPE) is not None and of(span, "customer.tier") == "silver",
    "q=900123": lambda span: of(span, "order") == 900_123,
    f"q={0xDE000000 + 77:016x}": lambda span: span.span_id == f"{0xDE000000 + 77:016x}",
    f"q={0xABC0 + 5:032x}": lambda span: span.trace_id == f"{0xABC0 + 5:032x}",
    "q=00000000de0000": lambda span: span.span_id.startswith("00000000de0000"),
    "q=nowhere": lambda _: False,
    "q=%22%20OR%20x*": lambda _: False,
    "outcome=in_progress": lambda _: False,
    "model=unheard-of": lambda _: False,
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_finds_exactly_its_streams(filled: Viewer, spans: list[Span], query: str) -> None:
    """Newest first, with the totals and figures of all that match and not of the page alone."""
    matching = [span for span in reversed(spans) if FILTERS[query](span)]
    found = get(filled, f"/api/streams?limit=50&{query}")
    assert [stream["span_id"] for stream in found["streams"]] == [span.span_id for span in matching[:50]]
    first = [ms for span in matching if (ms := of(span, signals.TIME_TO_FIRST_TOKEN_MS)) is not None]
    assert found["total"] == COUNT
    assert found["summary"] == {
        "streams": len(matching),
        "failed": sum(of(span, signals.OUTCOME) == "failed" for span in matching),
        "stalled": sum(bool(of(span, signals.STALL_COUNT)) for span in matching),
        "open": 0,
        "first_token_p50_ms": statistics.median(first) if first else None,
    }


@pytest.mark.parametrize("column", SORTED_BY)
def test_every_column_orders_the_list_both_ways(filled: Viewer, everything: list[dict[str, Any]], column: str) -> None:
    """What was not measured comes last, equal ones newest first, and pages join without gap or overlap."""
    key = "start_unix_ns" if column == "start" else column

    def value(stream: dict[str, Any]) -> Any:
        found = stream[key]
        return found.lower() if isinstance(found, str) and column != "start" else found

    known = [stream for stream in everything if stream[key] not in {None, ""}]
    unknown = [stream for stream in everything if stream[key] in {None, ""}]
    for sign, reverse in (("", False), ("-", True)):
        expected = sorted(known, key=value, reverse=reverse)  # stable: of equal ones the newest stays first
        ids = [stream["span_id"] for stream in (*expected, *unknown)]
        for offset, limit in ((0, 300), (300, 100), (COUNT - 60, 100), (COUNT, 10)):
            found = listed(filled, f"sort={sign}{column}&offset={offset}", limit)
            assert [stream["span_id"] for stream in found] == ids[offset : offset + limit]


def listed(viewer: Viewer, query: str, limit: int = 1000) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(viewer, f"/api/streams?{query}&limit={limit}")["streams"]
    return found


def test_the_next_and_the_previous_are_those_of_the_list(filled: Viewer) -> None:
    """In any order and selection; a stream outside the selection has no place in it."""
    for query in (
        "",
        "sort=-duration_ms",
        "sort=time_to_first_token_ms&stalled=1",
        "sort=model&q=gold",
        "sort=-cost_usd",
    ):
        found = listed(filled, query)
        for at in (0, 1, len(found) // 2):
            answer = get(filled, f"/api/streams/{ids(found[at])}/neighbours?{query}")
            assert answer["position"] == at + 1
            assert answer["previous"] is None if at == 0 else ids(answer["previous"]) == ids(found[at - 1])
            assert ids(answer["next"]) == ids(found[at + 1])
    unstalled = next(stream for stream in listed(filled, "") if not stream["stall_count"])
    assert get(filled, f"/api/streams/{ids(unstalled)}/neighbours?stalled=1")["position"] is None
    assert ask(filled, f"/api/streams/{'a' * 32}/{'b' * 16}/neighbours").status == 404


def ids(stream: dict[str, Any]) -> str:
    return f"{stream['trace_id']}/{stream['span_id']}"


def test_a_trace_or_a_conversation_is_one_row(filled: Viewer, spans: list[Span]) -> None:
    """The newest first, with sums over its chosen streams and the name of its outermost span."""
    answer = get(filled, "/api/groups?by=trace&limit=20&offset=10")
    assert (answer["summary"]["groups"], answer["summary"]["streams"]) == (COUNT // 3, COUNT)
    assert [group["name"] for group in answer["groups"]] == [f"run {COUNT // 3 - 1 - at}" for at in range(10, 30)]
    group = answer["groups"][0]
    members = [span for span in spans if span.trace_id == group["key"]]
    assert (group["streams"], group["start_unix_ns"]) == (3, str(members[0].start_ns))
    assert group["duration_ms"] == (max(span.end_ns for span in members) - members[0].start_ns) / 1e6
    assert group["failed"] == sum(of(span, signals.OUTCOME) == "failed" for span in members)
    answer = get(filled, "/api/groups?by=conversation&stalled=1&limit=1000")
    in_talks = [span for span in spans if of(span, signals.CONVERSATION_ID) and of(span, signals.STALL_COUNT)]
    assert sum(group["streams"] for group in answer["groups"]) == len(in_talks)
    for group in answer["groups"][:30]:
        members = [span for span in in_talks if of(span, signals.CONVERSATION_ID) == group["key"]]
        assert group["stalls"] == 2 * len(members)
        costs = [cost for span in members if (cost := of(span, signals.COST_USD)) is not None]
        assert group["cost_usd"] == (pytest.approx(sum(costs)) if costs else None)


def test_figures_over_time_are_those_of_the_streams_in_each_step(filled: Viewer, spans: list[Span]) -> None:
    """Percentiles only of as many values as each needs; shares, tokens a second and cost."""
    answer = get(filled, "/api/over_time?model=gemma")
    assert answer["step_s"] == 120
    chosen = [span for span in spans if of(span, signals.REQUEST_MODEL) == "gemma"]
    assert sum(step["streams"] for step in answer["steps"]) == len(chosen)
    for step in answer["steps"]:
        within = [span for span in chosen if span.start_ns // (120 * 10**9) == step["start_ms"] // 120_000]
        first = sorted(ms for span in within if (ms := of(span, signals.TIME_TO_FIRST_TOKEN_MS)) is not None)
        assert step["streams"] == len(within)
        assert step["first_token_ms"]["p50"] == statistics.median(first)
        assert (step["first_token_ms"]["p95"] is None) == (len(first) < 20)
        assert step["first_token_ms"]["p99"] is None
        told = [count for span in within if (count := of(span, signals.STALL_COUNT)) is not None]
        assert step["stalled_share"] == pytest.approx(sum(1 for count in told if count) / len(told))
        failed = sum(of(span, signals.OUTCOME) == "failed" for span in within)
        assert step["failed_share"] == pytest.approx(failed / len(within))
        assert step["cost_usd"] == pytest.approx(sum(of(span, signals.COST_USD) or 0 for span in within))
    every = get(filled, "/api/over_time")
    assert any(step["first_token_ms"]["p95"] for step in every["steps"])
    assert get(filled, "/api/over_time?q=nowhere") == {"step_s": None, "steps": []}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("streams?sort=colour", "sort is 'colour'; give one of start, service"),
        ("streams?from=yesterday", "from is 'yesterday'; give milliseconds since 1970"),
        ("streams?first_token_over=-1", "first_token_over is '-1'; give milliseconds"),
        ("streams?stalled=maybe", "stalled is 'maybe'; give 1"),
        ("streams?trace=abc", "32 hexadecimal digits"),
        ("streams?last=soon", "no length of time"),
        ("streams?offset=-5", "offset is -5; give a number from 0"),
        (f"streams?q={'x' * 201}", "give at most 200"),
        ("groups?by=colour", "by is 'colour'; give trace or conversation"),
        ("over_time?to=now", "to is 'now'"),
    ],
)
def test_unknown_search_words_are_refused_with_the_known_ones(filled: Viewer, query: str, said: str) -> None:
    answer = ask(filled, f"/api/{query}")
    assert answer.status == 400
    assert said in answer.json()["error"]


def test_the_list_follows_every_change_of_the_table(tmp_path: Path, spans: list[Span]) -> None:
    """A stream that gets its span, a span sent anew, and streams the retention takes away."""
    store = Store(tmp_path / "viewer.db", Retention(36500))
    now_ns = time.time_ns()

    def shown(**words: str) -> list[tuple[str, str | None]]:
        with store.listing() as (connection, index):
            answer = page(index, connection, Selection.parse(words), Order.parse("-start"), 0, 100, now_ns)
        assert answer["summary"]["streams"] == len(answer["streams"])
        return [(stream["span_id"], stream["outcome"]) for stream in answer["streams"]]

    first, second, third = spans[:3]
    told = {signals.AT_OFFSET_US: 1000, signals.AT_INDEX: 0, signals.REQUEST_MODEL: "gemma"}
    record = Record(first.trace_id, first.span_id, "s", signals.TOKEN_EVENT, first.start_ns, "", None, told)
    store.submit(Rows(records=[record])).result(timeout=10)
    assert shown() == shown(outcome="in_progress") == shown(model="gemma") == [(first.span_id, None)]
    store.submit(Rows(spans=[first, second])).result(timeout=10)
    assert shown() == [(second.span_id, of(second, signals.OUTCOME)), (first.span_id, of(first, signals.OUTCOME))]
    assert shown(outcome="in_progress") == []
    resent = replace(second, attributes={**second.attributes, signals.REQUEST_MODEL: "new", "customer.tier": "bronze"})
    store.submit(Rows(spans=[resent])).result(timeout=10)
    assert shown(model="new") == shown(q="bronze") == [(second.span_id, of(second, signals.OUTCOME))]
    store.submit(Rows(spans=[third])).result(timeout=10)
    with store.reading() as connection:
        received = [row[0] for row in connection.execute("SELECT received_ns FROM streams ORDER BY id")]
    assert received[0] < received[1] < received[2]
    writer = database.connect(store.path)
    delete(writer, "<=", received[2] - 1)
    writer.close()
    assert shown() == shown(q="host") == [(third.span_id, of(third, signals.OUTCOME))]
    store.close()
