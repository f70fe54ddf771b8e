"""What an outlet costs the streams while its broker is killed, and what is lost: programs side by side.

Three programs read the same number of paced streams from one provider at the same time: one
without an outlet, one with an outlet, and one whose outlet has a queue too short for the outage.
In the middle the broker is killed and stays away. Afterwards what the broker holds and what was
counted as lost must be exactly what was made; otherwise the exit code is 1. Timing is printed
side by side and not judged. With --load also 1,000 streams of 200 tokens, as fast as they come,
through both brokers at once, which a consumer must rebuild exactly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

SHORT = 500
WARM_UP = 3


def provider(pieces: int, gap: float) -> None:
    """Serve until the input ends."""
    from otel_tokenstream.demo.provider import ScriptedProvider
    from tests.live import numbered

    with ScriptedProvider() as running:
        running.scripts["numbered"] = numbered.script(pieces, gap)
        print(running.base_url, flush=True)
        sys.stdin.read()


class Count:
    def __init__(self):
        self.events = 0

    def handle(self, _):
        self.events += 1

    def close(self):
        pass


async def read(base_url, number, gaps, texts):
    import litellm

    stream = await litellm.acompletion(
        model="openai/numbered",
        messages=[{"role": "user", "content": str(number)}],
        api_base=base_url,
        api_key="none",
        max_retries=0,
        stream=True,
    )
    last, said = None, []
    async for chunk in stream:
        at = time.perf_counter()
        if last is not None:
            gaps.append(at - last)
        last = at
        said.append(chunk.choices[0].delta.content or "")
    texts.append("".join(said))


async def read_all(base_url, streams, at_once, gaps, texts):
    turns = asyncio.Semaphore(at_once)

    async def one(number):
        async with turns:
            await read(base_url, number, gaps, texts)

    await asyncio.gather(*(one(number) for number in range(streams)))


@contextmanager
def measured():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    from otel_tokenstream import LiteLLMInstrumentor

    instrumentor = LiteLLMInstrumentor()
    instrumentor.instrument(
        tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()]), skip_dep_check=True
    )
    try:
        yield
    finally:
        instrumentor.uninstrument()


def program(base_url: str, streams: int, route: str, capacity: int) -> None:
    """Read streams, told when to start by a line of input, and print what was measured."""
    from otel_tokenstream.live.sink import attach

    with measured(), ExitStack() as attached:
        asyncio.run(read_all(base_url, WARM_UP, WARM_UP, [], []))
        counted, sink, attachment = Count(), None, None
        if route:
            count = attached.enter_context(attach(counted, capacity=1 << 30))
            sink = sink_for(json.loads(route))
            attachment = attached.enter_context(attach(sink, text=True, capacity=capacity))
        print("ready", flush=True)
        sys.stdin.readline()
        gaps: list[float] = []
        started, cpu = time.perf_counter(), time.process_time()
        asyncio.run(read_all(base_url, streams, streams, gaps, []))
        result = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
        gaps.sort()
        result.update({f"p{share}": gaps[len(gaps) * share // 100] * 1e3 for share in (50, 95, 99)}, max=gaps[-1] * 1e3)
        if attachment is not None:
            sent = attachment.flush(60)
            count.flush(60)
            result.update(
                made=counted.events, published=sink.published, lost=sink.lost + attachment.dropped, in_time=sent
            )
    print(json.dumps(result), flush=True)


def sink_for(route):
    from otel_tokenstream.live.rabbitmq import RabbitMQSink
    from otel_tokenstream.live.redis import RedisSink

    if route["url"].startswith("redis"):
        return RedisSink(route["url"], stream_key=route["name"], max_length=1_000_000)
    return RabbitMQSink(route["url"], exchange=route["name"], queue=f"{route['name']}.readers")


@contextmanager
def started(*arguments):
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def outage(server, options) -> bool:
    from tests.live.brokers import Route

    gap = 1 / options.rate
    pieces = round((options.outage * 2) / gap)
    default, short = Route(server), Route(server)
    programs = [("no outlet", None, 0), ("outlet", default, 10_000), (f"queue of {SHORT}", short, SHORT)]
    with ExitStack() as running:
        base_url = running.enter_context(started("provider", pieces, gap)).stdout.readline().strip()
        processes = []
        for _, route, capacity in programs:
            where = json.dumps({"url": server.url, "name": route.name}) if route else ""
            processes.append(running.enter_context(started("program", base_url, options.streams, where, capacity)))
        for process in processes:
            assert process.stdout.readline().strip() == "ready"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        time.sleep(options.outage / 2)
        server.kill()
        time.sleep(options.outage)
        server.start()
        results = [json.loads(process.stdout.readline()) for process in processes]
    print(
        f"\n{type(server).__name__}, away for {options.outage:g} s of {results[0]['seconds']:.0f} s; "
        f"{options.streams} streams of {pieces} tokens, {options.rate:g} tokens/s each; gaps in ms"
    )
    exact = True
    for (name, route, _), result in zip(programs, results, strict=True):
        line = f"  {name:14} {result['seconds']:6.2f} s  p50 {result['p50']:6.2f}  p95 {result['p95']:6.2f}  "
        line += f"p99 {result['p99']:6.2f}  max {result['max']:6.1f}  CPU {result['cpu']:5.2f} s"
        if route:
            held = route.sent()
            unique = len({(sent.event.stream_id, sent.seq) for sent in held})
            right = result["made"] == result["published"] + result["lost"] and unique == result["published"]
            exact = exact and right
            line += (
                f"  made {result['made']} = held {unique} + lost {result['lost']}: {right}; twice {len(held) - unique}"
            )
        print(line)
    for share in ("p50", "p99", "seconds"):
        print(f"  {share} with outlet : without = {results[1][share] / results[0][share]:.3f}")
    return exact


def load(servers, options) -> bool:
    from otel_tokenstream.live.sink import attach
    from tests.live.brokers import Route

    routes = [Route(server) for server in servers]
    exact, texts = True, []
    with started("provider", options.tokens, 0) as serving, measured(), ExitStack() as attached:
        base_url = serving.stdout.readline().strip()
        sinks = [route.sink() for route in routes]
        attachments = [attached.enter_context(attach(sink, text=True)) for sink in sinks]
        rebuilt = [[] for _ in routes]
        readers = [
            threading.Thread(target=consume, args=(route, options.many, found))
            for route, found in zip(routes, rebuilt, strict=True)
        ]
        begun = time.perf_counter()
        if options.beside:
            for reader in readers:
                reader.start()
        asyncio.run(read_all(base_url, options.many, 50, [], texts))
        seconds = time.perf_counter() - begun
        flushed = all(attachment.flush(60) for attachment in attachments)
        drained = time.perf_counter() - begun - seconds
        print(
            f"\n{options.many} streams of {options.tokens} tokens read in {seconds:.1f} s, published {drained:.2f} s "
            f"later ({flushed}); {sum(sink.published for sink in sinks) / (seconds + drained):.0f} events/s in all"
        )
        begun = time.perf_counter()
        for reader in readers:
            if not options.beside:
                reader.start()
            reader.join()
        print(f"  consumed {time.perf_counter() - begun:.1f} s later")
        for sink, attachment, found in zip(sinks, attachments, rebuilt, strict=True):
            right = sorted(found) == sorted(texts) and len(set(texts)) == options.many
            exact = exact and right
            print(
                f"  {type(sink).__name__:13} published {sink.published}, lost {sink.lost + attachment.dropped}, "
                f"rebuilt {len(found)} texts, exactly those: {right}"
            )
    return exact


def consume(route, streams, found) -> None:
    ends = 0
    with route.consumer() as consumer:
        while ends < streams and (event := consumer.consume_one(30)) is not None:
            if event.type == "end":
                ends += 1
                found.append(consumer.text(event.stream_id))


def main() -> int:
    if sys.argv[1:2] == ["provider"]:
        provider(int(sys.argv[2]), float(sys.argv[3]))
        return 0
    if sys.argv[1:2] == ["program"]:
        program(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
        return 0
    from tests.live.brokers import RabbitMQ, Redis

    parser = argparse.ArgumentParser()
    parser.add_argument("--outage", type=float, default=10.0, help="seconds")
    parser.add_argument("--streams", type=int, default=30)
    parser.add_argument("--rate", type=float, default=10.0, help="tokens a second and stream")
    parser.add_argument("--load", action="store_true", help="only the load")
    parser.add_argument("--many", type=int, default=1_000, help="streams of the load")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of each stream of the load")
    parser.add_argument("--beside", action="store_true", help="consume while the load is made, not after it")
    options = parser.parse_args()
    with ExitStack() as running:
        servers = [
            running.enter_context(kind(Path(running.enter_context(tempfile.TemporaryDirectory()))))
            for kind in (Redis, RabbitMQ)
        ]
        results = [load(servers, options)] if options.load else [outage(server, options) for server in servers]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
