"""A calm quarter of an hour: two services, one of them with a slow consumer, and nothing but the watchdog fires.

    python benchmarks/stack_quiet.py [--minutes 15]

The consumer takes 50 ms for each chunk, the provider sends one every 5 ms. All alerts count, those on the stack
itself too. Needs the components of tests/stack; Tempo is used where it is found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from otel_tokenstream.demo.children import Children  # noqa: E402
from tests.stack import ask, servers  # noqa: E402

SCENARIOS = {"quiet": "slow_consumer", "busy": "few"}


def _program(scenario, service, endpoint):
    command = [sys.executable, str(ROOT / "tests/stack/traffic.py"), scenario, "--service", service]
    command += ["--endpoint", endpoint, "--interval", "15"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    end = time.time() + parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as directory, Children(Path(directory)) as children:
        stack = servers.Stack(Path(directory), children)
        stack.start()
        # The one that start() made has a second destination where nobody listens.
        shipped = stack.collector("shipped", *(servers.LAYERS / name for name in servers.compose_layers()))
        endpoint, prometheus = shipped.http, stack.url("prometheus")
        traffic = {service: _program(scenario, service, endpoint) for service, scenario in SCENARIOS.items()}
        try:
            while time.time() < end:
                for service, process in traffic.items():
                    process.stdout.readline()
                    print(SCENARIOS[service], file=process.stdin, flush=True)
                time.sleep(2)
            query = "sum by (service_name, tokenstream_outcome) (tokenstream_streams_total) > 0"
            print("streams:", ask.promql(prometheus, query))
            for name in ("gap", "wait"):
                metric = f"tokenstream_{name}_max_seconds_bucket"
                p95 = f"histogram_quantile(0.95, sum by (service_name, le) (rate({metric}[15m])))"
                print(f"longest {name} p95: {ask.promql(prometheus, p95)}")
            query = 'count by (alertname, alertstate) (count_over_time(ALERTS{alertname!="Watchdog"}[1h]))'
            history = ask.promql(prometheus, query)
            print(f"alerts that were pending or firing at any time: {history}")
        finally:
            for process in traffic.values():
                process.stdin.close()
                process.terminate()
                process.wait(20)
        sys.exit(any(labels["alertstate"] == "firing" for labels, _ in history))


if __name__ == "__main__":
    main()
