"""How fast the viewer's list answers with many streams, and what storing them takes.

    python benchmarks/viewer_list.py 10000 100000 1000000

For each number a database is filled through the store, the viewer is started on it, and every answer of the page is
asked for several times over HTTP. A million streams take some minutes and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import sqlite3
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from otel_tokenstream import signals
from otel_tokenstream.viewer import running
from otel_tokenstream.viewer.otlp import Rows, Span
from otel_tokenstream.viewer.retention import Retention
from otel_tokenstream.viewer.store import Store

_BATCH = 512
_TIMES = 5
_MODELS = [f"model-{number}" for number in range(40)]
_OUTCOMES = ["completed"] * 92 + ["failed"] * 4 + ["cancelled"] * 3 + ["closed"]
_ROOM = 2**40

_QUESTIONS = {
    "first page": "streams?",
    "page 2,000": "streams?offset=400000",
    "by duration": "streams?sort=-duration_ms",
    "by model": "streams?sort=model",
    "failed of one model": "streams?model=model-7&outcome=failed",
    "first token over 2 s": "streams?first_token_over=2000&sort=-time_to_first_token_ms",
    "stalled": "streams?stalled=1&sort=-stall_total_ms",
    "last tenth of the time": "streams?from={recent}",
    "search: a name all have": "streams?q=model",
    "search: an attribute all have": "streams?q=mini",
    "search: a tenth": "streams?q=tenant-7",
    "search: two words": "streams?q=tenant-7+model-12",
    "search: one of all": "streams?q=request-{one}",
    "search: an id": "streams?q={span}",
    "over time": "over_time?",
    "over time, one model": "over_time?model=model-7",
    "by trace": "groups?by=trace",
    "by conversation": "groups?by=conversation",
    "next and previous": "streams/{trace}/{span}/neighbours?sort=-duration_ms",
    "one stream": "streams/{trace}/{span}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", type=int, nargs="+")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "processor": platform.processor() or platform.machine(),
        "runs": [_measured(number) for number in arguments.streams],
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def _measured(number: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="viewer-list-") as folder:
        path = Path(folder) / "viewer.db"
        rate, end_ns = _filled(path, number)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"\n{number:,} streams: stored {rate:,.0f}/s, {size / number:,.0f} bytes each on disk")
        with running(database=path, retention_days=3650, max_bytes=_ROOM) as viewer:
            first_s = _seconds(f"{viewer.url}/api/streams")
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"first answer after the start {first_s:.2f} s; most memory of the process {memory:,.0f} MB")
            answers = _answers(viewer.url, number, end_ns)
        return {
            "streams": number,
            "stored_per_s": round(rate),
            "bytes_each": round(size / number),
            "first_answer_s": round(first_s, 2),
            "answers_ms": answers,
        }


def _filled(path: Path, number: int) -> tuple[float, int]:
    """Streams a second, and the start of the last one."""
    chance = random.Random(11)
    store = Store(path, Retention(3650, _ROOM))
    start_ns = time.time_ns() - number * 10**8
    took = 0.0
    for first in range(0, number, _BATCH):
        spans = [_span(each, start_ns + each * 10**8, chance) for each in range(first, min(first + _BATCH, number))]
        began = time.perf_counter()
        store.submit(Rows(spans=spans)).result()
        took += time.perf_counter() - began
    store.close()
    return number / took, start_ns + (number - 1) * 10**8


def _span(number: int, start_ns: int, chance: random.Random) -> Span:
    trace = _trace(number)
    first_ms = int(chance.lognormvariate(6.2, 0.8))
    length_ms = first_ms + int(chance.lognormvariate(8.3, 0.7))
    stalls = chance.random() < 0.03
    outcome = chance.choice(_OUTCOMES)
    attributes = {
        signals.OPERATION_NAME: "chat",
        signals.PROVIDER_NAME: "openai",
        signals.REQUEST_MODEL: chance.choice(_MODELS),
        signals.RESPONSE_MODEL: "gpt-4o-mini-2024-07-18",
        signals.RESPONSE_ID: f"chatcmpl-{chance.getrandbits(96):024x}",
        signals.REQUEST_STREAM: True,
        signals.OUTCOME: outcome,
        signals.CHUNKS: 80,
        signals.TIME_TO_FIRST_TOKEN_MS: first_ms,
        signals.TIME_TO_FIRST_ANSWER_TOKEN_MS: first_ms,
        signals.GAP_P50_MS: 20,
        signals.GAP_P95_MS: 60,
        signals.GAP_MAX_MS: 100 + chance.randrange(400),
        signals.WAIT_TOTAL_MS: length_ms - 100,
        signals.WAIT_MAX_MS: chance.randrange(400),
        signals.CONSUMER_TOTAL_MS: 90,
        signals.STALL_COUNT: int(stalls),
        signals.STALL_TOTAL_MS: 2500 * stalls,
        signals.OUTPUT_RATE: 20 + chance.random() * 60,
        signals.USAGE_INPUT_TOKENS: chance.randrange(4000),
        signals.USAGE_OUTPUT_TOKENS: chance.randrange(2000),
        signals.FINISH_REASONS: ["stop"],
        signals.COST_USD: chance.random() / 100,
        signals.CONVERSATION_ID: f"conversation-{number // 20}",
        signals.USER_ID: f"tenant-{number % 10}",
        signals.REQUEST_ID: f"request-{number}",
        **({signals.ERROR_TYPE: "litellm.exceptions.Timeout"} if outcome == "failed" else {}),
    }
    events = [
        {
            "name": signals.FIRST_TOKEN_EVENT,
            "time_ns": start_ns + first_ms * 10**6,
            "attributes": {signals.AT_OFFSET_US: first_ms * 1000, signals.AT_GAP_US: 0, signals.AT_INDEX: 0},
        }
    ]
    return Span(
        *(trace, _span_id(number), "", f"service-{number % 5}", "chat gpt-4o-mini", "client"),
        *(start_ns, start_ns + length_ms * 10**6, "unset", "", attributes, events),
        {"service.name": f"service-{number % 5}", "service.version": "1.4.2", "host.name": f"host-{number % 50}"},
    )


def _trace(number: int) -> str:
    """Four streams a trace, with ids as random ones are."""
    return f"{random.Random(number // 4).getrandbits(128):032x}"


def _span_id(number: int) -> str:
    return f"{random.Random(-1 - number).getrandbits(64):016x}"


def _answers(url: str, number: int, end_ns: int) -> dict[str, dict[str, float]]:
    one = number // 2
    names = {
        "recent": round((end_ns - number * 10**7) / 1e6),
        "one": one,
        "trace": _trace(one),
        "span": _span_id(one),
    }
    found = {}
    for title, question in _QUESTIONS.items():
        taken = sorted(1000 * _seconds(f"{url}/api/{question.format(**names)}") for _ in range(_TIMES))
        found[title] = {"median": round(statistics.median(taken), 1), "max": round(taken[-1], 1)}
        print(f"  {title:26} {statistics.median(taken):7.0f} ms, at most {taken[-1]:5.0f}")
    return found


def _seconds(url: str) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
