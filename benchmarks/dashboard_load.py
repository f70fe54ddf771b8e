"""What one open dashboard costs Prometheus: two services, three instances, eleven models, metrics every 60 s.

    python benchmarks/dashboard_load.py [--against DIRECTORY] [--hours 3]

Fills a real Prometheus with the past, then asks it for a dashboard's open rows as Grafana does at each
refresh. ``--against`` names a directory with dashboards of another version, measured in turn with today's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

from stream_history import History  # noqa: E402

from otel_tokenstream.demo.children import HOST, Children, free_port  # noqa: E402
from otel_tokenstream.demo.children import end as end_process  # noqa: E402
from tests.dashboards_harness.asking import Asking, seconds  # noqa: E402
from tests.stack.ask import get, promql  # noqa: E402
from tests.stack.binaries import binary  # noqa: E402

DASHBOARDS = ROOT / "grafana" / "dashboards"
ROUNDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--hours", type=float, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Children(Path(directory)) as children:
        end = time.time() - 60
        url, process = filled(Path(directory), children, end - arguments.hours * 3600, end)
        ((_, series),) = promql(url, 'count({__name__=~".+"})', end)
        print(f"{series:.0f} series")
        print("| dashboard | open for | targets | refresh | samples read | CPU of a refresh | of one core, left open |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for hours in (1, arguments.hours):
            for name in ("overview", "service", "health"):
                for label, source in (("before", arguments.against), ("now", DASHBOARDS)):
                    if source and (source / f"{name}.json").exists():
                        page = json.loads((source / f"{name}.json").read_text())
                        print(row(url, process, page, f"{name}, {label}", end, hours), flush=True)


def filled(home, children, start, end):
    """Start a Prometheus that holds the past and what the recording rules make of it."""
    text = home / "history.om"
    with text.open("w") as to:
        History(start, end).write(to)
    promtool, data = str(binary("promtool")), home / "data"
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(data)], check=True)
    text.unlink()
    (home / "rules").mkdir()
    rules = shutil.copy(ROOT / "grafana/alerts/objectives.yaml", home / "rules")
    (home / "prometheus.yaml").write_text("{}")
    url, first = start_prometheus(home, children)
    back = ["--start", f"{start:.0f}", "--end", f"{end:.0f}", "--url", url, "--output-dir", str(data), rules]
    subprocess.run([promtool, "tsdb", "create-blocks-from", "rules", *back], check=True, capture_output=True)
    end_process(first)
    return start_prometheus(home, children)


def start_prometheus(home, children):
    at = f"{HOST}:{free_port()}"
    command = [str(binary("prometheus")), f"--config.file={home}/prometheus.yaml", f"--web.listen-address={at}"]
    command += [f"--storage.tsdb.path={home}/data", "--storage.tsdb.retention.time=15d"]
    process = children.start("prometheus", command, dict(os.environ))
    children.ready("prometheus", process, f"http://{at}/-/ready", within=60)
    return f"http://{at}", process


def row(url, process, page, label, end, hours):
    values = {v["name"]: v.get("allValue") or v.get("current", {}).get("value", "") for v in page["templating"]["list"]}
    asking = Asking(url, end - hours * 3600, end, variables=values)
    asked = [(panel, target) for panel, target in asking.queries(page) if "expr" in target]
    prometheus = [(p, t) for p, t in asked if t["datasource"]["type"] == "prometheus"]
    costs = []
    for _ in range(ROUNDS):
        before = cpu(process), samples(url)
        for panel, target in prometheus:
            answer = asking.target(target, panel)["answer"]
            assert "error" not in answer, answer
        asking.annotations(page)
        costs.append((cpu(process) - before[0], samples(url) - before[1]))
    spent, read = sorted(costs)[ROUNDS // 2]
    refresh = seconds(page["refresh"])
    return (
        f"| {label} | {hours:g} h | {len(prometheus)} | {refresh:g} s | {read:,.0f} | {spent * 1000:.0f} ms"
        f" | {spent / refresh:.2%} |"
    )


def cpu(process):
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def samples(url):
    text = get(f"{url}/metrics").text
    return sum(
        float(line.split()[1]) for line in text.splitlines() if line.startswith("prometheus_engine_query_samples_total")
    )


if __name__ == "__main__":
    main()
