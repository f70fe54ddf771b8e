from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_tokenstream import signals
from otel_tokenstream.viewer import running
from otel_tokenstream.viewer import streams as reading
from otel_tokenstream.viewer.folding import folded
from otel_tokenstream.viewer.listing import Order, page
from otel_tokenstream.viewer.otlp import Point, Record, Rows
from otel_tokenstream.viewer.selection import Selection
from otel_tokenstream.viewer.store import Store
from tests.viewer.scenes import Application, Stream, events_of, ids, new_context, paced, summary_of
from tests.viewer.viewer_client import ask, detail, get, streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer

CHOICES = ("services", "models", "operations", "outcomes", "errors", "finish_reasons")
START_NS = 1_800_000_000_000_000_000


def test_nothing_received_is_nothing_shown(viewer: Viewer) -> None:
    """No stream, no metric, and no number where none was measured."""
    assert get(viewer, "/api/streams") == {
        "streams": [],
        "offset": 0,
        "total": 0,
        "summary": {"streams": 0, "failed": 0, "stalled": 0, "open": 0, "first_token_p50_ms": None},
        "choices": {name: [] for name in CHOICES},
    }
    assert get(viewer, "/api/metrics") == {"metrics": [], "now": {"active": None, "stalled": None}}


def test_streams_come_newest_first_and_filtered(viewer: Viewer, application: Callable[..., Application]) -> None:
    """By service, model, outcome and number; the answer says what there is to choose from."""
    shop, search = application("shop"), application("search")
    for number, (app, model, outcome) in enumerate(
        [(shop, "a", "completed"), (search, "a", "failed"), (shop, "b", "failed"), (shop, "b", "closed")]
    ):
        app.stream(Stream(paced(3), model=model, outcome=outcome), START_NS + number)
    shop.log_events(Stream(paced(3), model="c"), new_context(), START_NS + 4, events_of(Stream(paced(3))))

    def found(query: str) -> list[int]:
        return [int(stream["start_unix_ns"]) - START_NS for stream in streams(viewer, query)]

    assert found("") == [4, 3, 2, 1, 0]
    assert found("service=search") == [1]
    assert found("model=b") == [3, 2]
    assert found("outcome=failed") == [2, 1]
    assert found("outcome=in_progress") == [4]
    assert found("service=shop&model=b&outcome=failed") == [2]
    assert found("service=none") == []
    assert len(get(viewer, "/api/streams?limit=2")["streams"]) == 2
    assert get(viewer, "/api/streams?service=none")["choices"] == {name: [] for name in CHOICES} | {
        "services": ["search", "shop"],
        "models": ["a", "b", "c"],
        "operations": ["chat"],
        "outcomes": ["closed", "completed", "failed"],
    }


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "%C2%B2", "9" * 5000])
def test_a_limit_out_of_range_is_refused(viewer: Viewer, limit: str) -> None:
    """The error names the range."""
    answer = ask(viewer, f"/api/streams?limit={limit}")
    assert answer.status == 400
    assert "1 to 1000" in answer.json()["error"]


def test_an_unknown_stream_is_not_found(viewer: Viewer) -> None:
    """Also one whose ids are no ids."""
    assert ask(viewer, f"/api/streams/{'a' * 32}/{'b' * 16}").status == 404
    assert ask(viewer, "/api/streams/a/b").status == 404


def test_a_stream_is_followed_from_its_log_and_completed_by_its_span(
    viewer: Viewer, application: Callable[..., Application]
) -> None:
    """In progress from the first event; the span adds the outcome and, without events of its own, keeps the log's."""
    app = application()
    stream = Stream(paced(12, fields=["reasoning", "answer"], stall_at=5))
    span = app.tracer.start_span("chat gpt-4o-mini", start_time=START_NS)
    events = events_of(stream)
    app.log_events(stream, span.get_span_context(), START_NS, events[:6])
    (early,) = streams(viewer)
    assert early["in_progress"] is True
    assert early["outcome"] is None
    assert early["start_unix_ns"] == str(START_NS)
    assert early["time_to_first_token_ms"] == stream.chunks[0].offset_us // 1000
    assert early["fields"] == ["reasoning"]
    assert early["chunks"] == 4
    app.log_events(stream, span.get_span_context(), START_NS, events[6:])
    (later,) = streams(viewer)
    assert later["fields"] == ["reasoning", "answer"]
    assert later["chunks"] == 12
    assert later["stall_count"] == 1
    span.set_attributes(summary_of(stream))
    span.end(START_NS + stream.total_us * 1000)
    (done,) = streams(viewer)
    assert (done["in_progress"], done["outcome"], done["chunks"]) == (False, "completed", 12)
    assert done["fields"] == ["reasoning", "answer"]
    found = detail(viewer, ids(span.get_span_context()))
    assert found["events_source"] == "log"
    assert [event["name"] for event in found["events"]] == [name for name, _ in events]


def test_records_that_were_sent_twice_are_shown_once(viewer: Viewer, application: Callable[..., Application]) -> None:
    """An exporter whose request timed out sends it again."""
    app, context = application(), new_context()
    stream = Stream(paced(8, stall_at=3))
    for _ in range(2):
        app.log_events(stream, context, START_NS, events_of(stream))
    (listed,) = streams(viewer)
    assert (listed["chunks"], listed["stall_count"]) == (8, 1)
    assert len(detail(viewer, ids(context))["events"]) == len(events_of(stream))


def test_a_long_stream_is_told_to_its_end(viewer: Viewer) -> None:
    """In progress, with more records than its page takes: neighbours of one field share an event, and none is lost."""
    trace_id, span_id = ids(new_context())
    stream = Stream(paced(5200, fields=["reasoning", "answer"], words=["a", "b"], stall_at=3000))
    stall = {signals.AT_OFFSET_US: 2 * 10**6, signals.AT_INDEX: 3000, signals.AT_WAIT_US: 2_500_000}
    events = [(signals.TOKEN_EVENT, chunk.attributes()) for chunk in stream.chunks] + [(signals.STALL_EVENT, stall)]
    records = [
        Record(trace_id, span_id, "shop", name, START_NS + each[signals.AT_OFFSET_US] * 1000, "", None, each)
        for name, each in events
    ]
    assert viewer._store
    viewer._store.submit(Rows(records=records)).result(timeout=60)
    found = detail(viewer, (trace_id, span_id))["events"]
    tokens = [event for event in found if event["type"] == "token"]
    assert len(tokens) == 2600
    assert len(found) == 2601
    assert (tokens[0]["index"], tokens[0]["count"], tokens[0]["text"]) == (0, 2, "ab")
    assert tokens[-1]["index"] == 5198
    for name in ("wait_us", "chars"):
        assert sum(event[name] for event in tokens) == sum(getattr(chunk, name) for chunk in stream.chunks)
    assert max(event["gap_us"] for event in tokens) == 2_500_000
    assert [tokens[half]["field"] for half in (1299, 1300)] == ["reasoning", "answer"]


def test_too_many_other_events_leave_the_newest() -> None:
    """They cannot share an event."""
    assert folded([{"name": "other", "index": index} for index in range(9)], 2) == [
        {"name": "other", "index": 7},
        {"name": "other", "index": 8},
    ]


def test_two_fields_of_one_chunk_stay_two_events(viewer: Viewer, application: Callable[..., Application]) -> None:
    """The second has the same position and a count of zero, and adds no chunk."""
    app, context = application(), new_context()
    position = {signals.AT_OFFSET_US: 1000, signals.AT_GAP_US: 0, signals.AT_INDEX: 0, signals.AT_WAIT_US: 900}
    events: list[tuple[str, dict[str, Any]]] = [
        (signals.TOKEN_EVENT, {**position, signals.AT_CHARS: 2, signals.AT_FIELD: "a"}),
        (signals.TOKEN_EVENT, {**position, signals.AT_CHARS: 3, signals.AT_COUNT: 0, signals.AT_FIELD: "b"}),
    ]
    app.log_events(Stream(paced(1)), context, START_NS, events)
    found = detail(viewer, ids(context))
    assert [(event["field"], event.get("count")) for event in found["events"]] == [("a", None), ("b", 0)]
    assert found["stream"]["chunks"] == 1


def test_the_finer_of_two_tellings_is_shown(viewer: Viewer, application: Callable[..., Application]) -> None:
    """An application may send events on the span and as log records: one of them makes the picture."""
    app = application()
    stream = Stream(paced(100))
    context = app.stream(stream, START_NS)
    every = [(signals.TOKEN_EVENT, chunk.attributes()) for chunk in stream.chunks]
    assert detail(viewer, ids(context))["events_source"] == "span"
    app.log_events(stream, context, START_NS, every[:40])
    assert detail(viewer, ids(context))["events_source"] == "span", "the log lacks chunks"
    app.log_events(stream, context, START_NS, every[40:])
    found = detail(viewer, ids(context))
    assert found["events_source"] == "log"
    assert len(found["events"]) == 100


def test_the_surrounding_trace_is_told(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Parents and children with their times, and which of them are generations."""
    app = application()
    with app.around("ChainOfThought.forward", START_NS, START_NS + 10**10):
        with app.around("Predict.forward", START_NS + 10**6, START_NS + 9 * 10**9):
            context = app.stream(Stream(paced(5)), START_NS + 2 * 10**6)
        app.log_ordinary("retrieved 3 passages")
    found = detail(viewer, ids(context))
    tree = {span["span_id"]: span for span in found["trace"]}
    assert [span["name"] for span in found["trace"]] == [
        "ChainOfThought.forward",
        "Predict.forward",
        "chat gpt-4o-mini",
    ]
    generation = tree[ids(context)[1]]
    assert generation["is_generation"] is True
    assert generation["kind"] == "client"
    parent = tree[generation["parent_id"]]
    assert (parent["name"], parent["start"], parent["end"]) == (
        "Predict.forward",
        str(START_NS + 10**6),
        str(START_NS + 9 * 10**9),
    )
    assert tree[parent["parent_id"]]["parent_id"] == ""
    assert [record["body"] for record in found["records"]] == ["retrieved 3 passages"]


def test_attributes_come_with_their_meaning(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Unit and explanation of every attribute this package defines, none for others."""
    stream = Stream(paced(3), extra=(("custom.name", "x"),))
    found = detail(viewer, ids(application().stream(stream)))
    assert found["descriptions"][signals.GAP_MAX_MS]["unit"] == "ms"
    assert set(found["attributes"]) - set(found["descriptions"]) == {"custom.name"}


def test_updates_tell_of_every_change(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Server-sent events: one at once, one after a stream arrived; the revision grows."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.http_port, timeout=60)
    connection.request("GET", "/api/updates")
    response = connection.getresponse()
    assert response.headers.get_content_type() == "text/event-stream"

    def revision() -> int:
        line = response.readline()
        while not line.startswith(b"data: "):
            line = response.readline()
        return int(json.loads(line.removeprefix(b"data: "))["revision"])

    first = revision()
    application().stream(Stream(paced(3)))
    assert revision() > first
    connection.close()


def test_a_viewer_with_open_pages_stops_at_once(tmp_path: Path) -> None:
    """The stream of updates ends by itself with the viewer and does not hold it up."""
    with running(database=tmp_path / "viewer.db") as viewer:
        connection = http.client.HTTPConnection("127.0.0.1", viewer.http_port, timeout=60)
        connection.request("GET", "/api/updates")
        response = connection.getresponse()
        response.readline()
    # A response that is cut off after a grace period is incomplete, and reading it raises an error.
    assert not [line for line in response.read().splitlines() if line and not line.startswith((b"data:", b":"))]
    connection.close()


def test_an_attribute_of_the_wrong_type_spoils_nothing(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Another sender may use our names for something else: the value is left out, the stream is shown."""
    app = application()
    span = app.tracer.start_span(
        "chat", attributes={signals.OUTCOME: True, signals.CHUNKS: "many", signals.OFFSETS_US: "x"}
    )
    span.add_event(signals.TOKEN_EVENT, {signals.AT_OFFSET_US: "soon", signals.AT_FIELD: 7, signals.AT_COUNT: 1.5})
    span.end()
    (listed,) = streams(viewer)
    assert (listed["outcome"], listed["chunks"], listed["fields"]) == ("True", None, [])
    found = detail(viewer, (listed["trace_id"], listed["span_id"]))
    assert found["offsets_us"] == []
    assert set(found["events"][0]) == {"name", "type", "time_unix_ns", "attributes"}
    assert trace.format_span_id(span.get_span_context().span_id) == listed["span_id"]


def test_current_figures_vanish_after_silence(tmp_path: Path) -> None:
    """A process that was killed sends no last word: its stream and its gauges stop counting as now."""
    store = Store(tmp_path / "viewer.db")
    record = Record("a" * 32, "b" * 16, "shop", signals.TOKEN_EVENT, START_NS, "", None, {signals.AT_OFFSET_US: 7})
    point = Point("shop", signals.STREAM_ACTIVE, "{stream}", "gauge", START_NS, {}, {}, 2)
    store.submit(Rows(records=[record], points=[point])).result()
    now_ns = time.time_ns()
    with store.listing() as (connection, index):
        soon, late = now_ns + 60 * 10**9, now_ns + 3600 * 10**9

        def found(words: dict[str, str], at: int) -> list[dict[str, Any]]:
            order = Order("start", descending=True)
            answer = page(index, connection, Selection.parse(words), order, 0, 9, at)
            streams: list[dict[str, Any]] = answer["streams"]
            return streams

        assert [found({}, at)[0]["in_progress"] for at in (soon, late)] == [True, False]
        assert [len(found({"outcome": "in_progress"}, at)) for at in (soon, late)] == [1, 0]
        assert [reading.metrics(connection, at)["now"]["active"] for at in (soon, late)] == [2, None]
    store.close()
