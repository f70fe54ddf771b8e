"""Healthy streams with a slow consumer, for as long as asked: no alert may even be pending.

    python benchmarks/stack_quiet.py [--minutes 30]

The consumer takes 50 ms for each chunk, the provider sends one every 5 ms. Needs the components of
tests/stack; Tempo is used where it is found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "stack"), str(ROOT)]

import ask  # noqa: E402
import servers  # noqa: E402

from otel_tokenstream.demo.children import Children  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    end = time.time() + parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as directory, Children(Path(directory)) as children:
        stack = servers.Stack(Path(directory), children)
        stack.start()
        command = [sys.executable, str(ROOT / "tests/stack/traffic.py"), "slow_consumer", "--service", "quiet"]
        command += ["--endpoint", stack.collectors["collector"].http, "--interval", "15"]
        traffic = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        raised = set()
        try:
            while time.time() < end:
                traffic.stdout.readline()
                print("slow_consumer", file=traffic.stdin, flush=True)
                raised |= {which for which in ask.alerts(stack.url("prometheus")) if which[1] == "quiet"}
            query = 'sum by (tokenstream_outcome) (tokenstream_streams_total{service_name="quiet"}) > 0'
            print("streams:", [(labels, value) for labels, value in ask.promql(stack.url("prometheus"), query)])
            for name in ("gap", "wait"):
                metric = f"tokenstream_{name}_max_seconds"
                p95 = f'histogram_quantile(0.95, sum by (le) (rate({metric}_bucket{{service_name="quiet"}}[30m])))'
                print(f"longest {name} p95: {ask.promql(stack.url('prometheus'), p95)}")
            history = ask.promql(
                stack.url("prometheus"),
                'count by (alertname, alertstate) (count_over_time(ALERTS{service_name="quiet"}[1h]))',
            )
            print(f"alerts pending or firing, looked at after every round: {sorted(raised)}; ever: {history}")
        finally:
            traffic.stdin.close()
            traffic.terminate()
            traffic.wait(20)
        sys.exit(bool(raised or history))


if __name__ == "__main__":
    main()
