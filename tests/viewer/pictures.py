"""Take the pictures of the viewer in README and docs anew, from real programs that ask the scripted provider.

python -m tests.viewer.pictures [--to docs/images]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from otel_tokenstream.commands.run import environment_for
from otel_tokenstream.demo.provider import ScriptedProvider
from otel_tokenstream.viewer import running
from tests.viewer.browser import Browser
from tests.viewer.viewer_client import streams
from tests.zero_code import COMMAND, OTHERS

if TYPE_CHECKING:
    from otel_tokenstream.viewer.server import Viewer

WIDTH, HEIGHT = 1400, 1000
COMPARED = ("human", "slow-start")
STREAMS, AT_ONCE = 60, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path(__file__).parents[2] / "docs" / "images")
    parser.add_argument("--compared", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compared:
        asyncio.run(compared())
        return
    with tempfile.TemporaryDirectory() as folder, ScriptedProvider() as provider:
        browser = Browser(Path(folder) / "profile")
        with running(database=Path(folder) / "streams.db") as viewer:
            run(viewer, provider, "otel_tokenstream.demo.dspy_app", "stall")
            run(viewer, provider, "otel_tokenstream.demo.litellm_app", "human")
            take_list(browser, viewer, options.to / "streams.png")
            take_stream(browser, viewer, options.to / "stream.png")
            run(viewer, provider, "tests.viewer.pictures", "human", "--compared")
            take_report(browser, viewer, options.to / "report.png")
            browser.leave()
        browser.close()


def run(viewer: Viewer, provider: ScriptedProvider, module: str, model: str, *arguments: str) -> None:
    service = module.rpartition(".")[2].replace("_", "-")
    environment = {
        **os.environ,
        **environment_for(viewer.url, [service], {}),
        "OTEL_SERVICE_NAME": service,
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS,
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DEMO_MODEL": f"openai/{model}",
        "DEMO_BASE_URL": provider.base_url,
        "DEMO_API_KEY": "none",
        "DEMO_TROUBLE": "1",
    }
    subprocess.run([COMMAND, sys.executable, "-m", module, *arguments], env=environment, check=True)


async def compared() -> None:
    """Ask both models in turn, some at once."""
    import litellm

    places = asyncio.Semaphore(AT_ONCE)

    async def ask(model: str) -> None:
        async with places:
            question = [{"role": "user", "content": "Why is the sky blue?"}]
            where = {"api_base": os.environ["DEMO_BASE_URL"], "api_key": "none"}
            async for _ in await litellm.acompletion(f"openai/{model}", question, stream=True, **where):
                pass

    await asyncio.gather(*(ask(model) for _ in range(STREAMS) for model in COMPARED))


def take_list(browser: Browser, viewer: Viewer, to: Path) -> None:
    browser.resize(WIDTH, HEIGHT)
    browser.open(viewer)
    browser.until_drawn(".list")
    take(browser, to)


def take_stream(browser: Browser, viewer: Viewer, to: Path) -> None:
    """The one with a stall in fields of DSPy."""
    (chosen, *_) = [each for each in streams(viewer) if each["stall_count"] and len(each["fields"]) > 1]
    browser.resize(WIDTH, HEIGHT)
    browser.open(viewer, f"#/{chosen['trace_id']}/{chosen['span_id']}")
    browser.until_drawn()
    take(browser, to, 1210)


def take_report(browser: Browser, viewer: Viewer, to: Path) -> None:
    sides = [("compare", f"model={model},service=pictures") for model in COMPARED]
    browser.resize(1280, HEIGHT)
    browser.open(viewer, f"report?{urlencode(sides)}")
    browser.until(lambda: browser.all("svg"), "no report")
    take(browser, to, 1470)


def take(browser: Browser, to: Path, highest: int = HEIGHT) -> None:
    """Save the page as far down as it goes."""
    width = browser.run("return window.innerWidth")
    browser.resize(width, min(highest, browser.run("return document.documentElement.scrollHeight")))
    browser.run("document.documentElement.style.scrollbarWidth = 'none'")
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    browser.driver.save_screenshot(str(to))
    print(to)


if __name__ == "__main__":
    main()
