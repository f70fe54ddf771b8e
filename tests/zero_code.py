"""Programs under the opentelemetry-instrument command, as users run theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Other packages' instrumentations that the tests of coexistence bring along.
OTHERS = "aiohttp-client,dspy,httpx,httpx2,litellm,openai"
COMMAND = str(Path(sys.executable).parent / "opentelemetry-instrument")


def run(code: str, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python code without exporters, unless ``variables`` name some, and without the caller's OTEL_ variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    exporters = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    ours_alone = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS}
    environment = {**inherited, **ours_alone, **exporters, **variables}
    command = [COMMAND, *flags, sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
