"""Run an example as its reader would: python examples/run.py NAME.

Starts the scripted provider, or takes the model that is asked for, and runs the example under
opentelemetry-instrument. Set OTEL_EXPORTER_OTLP_ENDPOINT to see its spans: otel-tokenstream view
shows them on http://127.0.0.1:4318.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo import backend
from otel_tokenstream.demo.children import HOST, ChildError, Children, end, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HERE = Path(__file__).parent
QUESTIONS = "Why is the sky blue?\nWhy do bridges have gaps?\nWhat does a dancing bee tell?\n"
SEVERAL = "openai/human,openai/thinking,openai/slow-start"


def main() -> int:
    checks: dict[str, Callable[[str, Mapping[str, str]], int]] = {
        "chat": check_chat,
        "agent": check_chat,
        "session": check_session,
        "continue": check_continue,
        **dict.fromkeys(("models", "side_by_side", "progress", "buffered"), run),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=checks)
    parser.add_argument("--model", default="scripted", help="default: scripted; local, or any that litellm knows")
    parser.add_argument("--base-url", metavar="URL", help="of an OpenAI-compatible server, with /v1")
    parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable that holds the key")
    parser.add_argument("--check", action="store_true", help="ask by itself, and end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="otel-tokenstream-example-") as logs, Children(Path(logs)) as children:
        try:
            asked = backend.start(children, options.model, options.base_url, options.api_key_env)
        except (backend.BackendError, ChildError) as error:
            print(f"examples/run.py: {error}", file=sys.stderr)
            return 1
        print(f"asking {asked.description}\n", flush=True)
        variables = {**asked.environment, "PORT": str(free_port(int(os.environ.get("PORT", "8000"))))}
        if asked.scripted:
            variables["DEMO_MODELS"] = os.environ.get("DEMO_MODELS", SEVERAL)
        return (checks[options.name] if options.check else run)(options.name, variables)


def start(name: str, variables: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
    instrument = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if instrument is None:
        msg = 'opentelemetry-instrument is missing: pip install "otel-tokenstream[examples]"'
        raise SystemExit(msg)
    program = HERE / name / "app.py" if (HERE / name).is_dir() else HERE / f"{name}.py"
    exporter = "otlp" if any("OTLP" in variable and "ENDPOINT" in variable for variable in os.environ) else "none"
    environment = {
        **{f"OTEL_{kind}_EXPORTER": exporter for kind in ("TRACES", "METRICS", "LOGS")},
        "OTEL_SERVICE_NAME": f"example-{name}",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "dspy,litellm,openai",  # others would make second spans
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # its price table would come from the internet
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        **variables,
        "NO_PROXY": f"{os.environ.get('NO_PROXY', '')},{HOST}",
    }
    return subprocess.Popen([instrument, sys.executable, str(program)], env=environment, **options)  # noqa: S603


def run(name: str, variables: Mapping[str, str]) -> int:
    process = start(name, variables)
    # The terminal sends Ctrl-C to both, and the example decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return 0 if process.wait() == -signal.SIGINT else process.returncode


def check_session(name: str, variables: Mapping[str, str]) -> int:
    process = start(name, variables, stdin=subprocess.PIPE)
    process.communicate(QUESTIONS.encode())
    return process.returncode


def check_continue(name: str, variables: Mapping[str, str]) -> int:
    """Send what Ctrl-C sends, in the middle of the answer."""
    process = start(name, variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"\n")
    process.stdin.flush()
    seen = b""
    while part := process.stdout.read1():
        before, seen = len(seen), seen + part
        sys.stdout.buffer.write(part)
        sys.stdout.flush()
        if before < 100 <= len(seen):
            process.send_signal(signal.SIGINT)
    return process.wait()


def check_chat(name: str, variables: Mapping[str, str]) -> int:
    """Ask over plain HTTP; the page and its WebSocket are for a browser."""
    address = f"http://{HOST}:{variables['PORT']}"
    process = start(name, variables)
    try:
        Children(Path()).ready(name, process, address, within=60)
        asked = json.dumps({"conversation_id": "check", "question": "Why is the sky blue?"}).encode()
        request = urllib.request.Request(f"{address}/answer", asked, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as lines:
            messages = [json.loads(line) for line in lines]
    finally:
        end(process)
    answer = "".join(message.get("token", "") for message in messages)
    print(answer)
    return 0 if answer and answer == messages[-1].get("complete") else 1


if __name__ == "__main__":
    sys.exit(main())
