"""Write the generated files, or with ``--check`` say which are out of date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana.builder import compare, health, managed_alerts, objective_rules, overview, service, stream
from grafana.objectives import shipped

ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS = {"overview": overview, "service": service, "compare": compare, "stream": stream, "health": health}


def generated() -> dict[Path, str]:
    """Return the text of every generated file."""
    texts = {
        ROOT / "dashboards" / f"{name}.json": json.dumps(page.build(), indent=1, ensure_ascii=False) + "\n"
        for name, page in DASHBOARDS.items()
    }
    alerts = ROOT / "alerts"
    return {
        **texts,
        alerts / "objectives.yaml": objective_rules.build(shipped()),
        alerts / "grafana-managed.yaml": managed_alerts.build(alerts),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m grafana.builder", description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(generated()[path])
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT.parent)}")  # noqa: T201
    if check and stale:
        print("make dashboards writes them anew")  # noqa: T201
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
