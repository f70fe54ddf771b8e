"""How late a token stands in a browser's page, from the moment the provider sent it.

50 conversations of the example chat in one real page, 10 tokens a second each, every token
numbered. Sent: the provider's stamp just before its write. Painted: the page's clock in the first
task after the animation frame in which the token's text was in the document, when that frame has
been laid out and handed to the compositor. Provider, chat and browser are processes of one
machine, and their clocks are compared through its wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parents[1]

# The gap before the ending is the last token's: it is not held back by what comes after it.
SERVER = """
import asyncio, re, sys
from otel_tokenstream.demo.provider import Script, ScriptedProvider
def pieces(request):
    (stream,) = re.findall(r"stream (\\d+)$", request["messages"][-1]["content"], re.MULTILINE)
    words = [f" s{stream}t{number:04}" for number in range(TOKENS)]
    return ["[[ ## answer ## ]]\\n", *words, "\\n\\n[[ ## completed ## ]]\\n"]
async def serve():
    provider = ScriptedProvider()
    provider.scripts["numbered"] = Script(pieces=pieces, gap=0.1)
    async with provider.serving():
        print(provider.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(serve())
"""

# Installed before a question is asked: notes which tokens are new in the document, and when they were painted.
WATCH = """
window.painted = [];
const shown = new Map();
let fresh = [];
const {port1, port2} = new MessageChannel();
port1.onmessage = () => {
  const at = performance.timeOrigin + performance.now();
  for (const token of fresh.splice(0)) window.painted.push([token, at]);
};
new MutationObserver((changes) => {
  const waiting = fresh.length;
  for (const answer of new Set(changes.map((change) => change.target.closest?.(".answer")))) {
    if (!answer) continue;
    const text = answer.textContent, from = shown.get(answer) ?? 0;
    const whole = text.slice(from).match(/\\s*s\\d+t\\d{4}/g) ?? [];
    shown.set(answer, from + whole.join("").length);
    fresh.push(...whole.map((token) => token.trim()));
  }
  if (!waiting && fresh.length) requestAnimationFrame(() => port2.postMessage(0));
}).observe(document.querySelector("main"), {childList: true, subtree: true});
"""

ASK = """
const [count, apart] = arguments;
for (let made = document.forms.length; made < count; made++) document.querySelector("#another").click();
[...document.forms].forEach((form, stream) => setTimeout(() => {
  form.question.value = `stream ${String(stream).padStart(3, "0")}`;
  form.requestSubmit();
}, stream * apart));
"""
ENDED = "return document.querySelectorAll('.answer:not([data-state=coming])').length"
STATES = "return [...document.querySelectorAll('.answer')].map((answer) => answer.dataset.state)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=20, help="length of each stream; default 20")
    parser.add_argument("--target", type=float, default=50.0, metavar="MS", help="of the median; default 50")
    options = parser.parse_args()
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with provider(options.seconds * 10) as address, chat(address) as page, browser() as driver:
        driver.get(page)
        wait(driver, 30, lambda: driver.execute_script("return document.forms.length"))
        ask(driver, 1, options.seconds)  # what the first call of a process loads is not the page's time
        urllib.request.urlopen(urllib.request.Request(f"{address}/log", method="DELETE")).close()
        driver.refresh()
        wait(driver, 30, lambda: driver.execute_script("return document.forms.length"))
        driver.execute_script(WATCH)
        load = os.getloadavg()[0]
        states = ask(driver, options.streams, options.seconds)
        painted = dict(driver.execute_script("return window.painted"))
        sent = stamps(address)
    late = [painted[token] - at for token, at in sent.items() if token in painted]
    ordered = sorted(late)
    print(f"{options.streams} streams of 10 tokens/s: {dict(Counter(states))}, load {load:.1f} before")
    print(f"{len(sent)} tokens sent, {len(painted)} painted, {len(late)} of them matched")
    print(
        f"sent to painted: median {statistics.median(late):.1f} ms, p95 {ordered[int(0.95 * len(late))]:.1f} ms, "
        f"p99 {ordered[int(0.99 * len(late))]:.1f} ms, longest {ordered[-1]:.1f} ms"
    )
    whole = len(sent) == len(late) == options.streams * options.seconds * 10
    return 0 if whole and statistics.median(late) < options.target else 1


def ask(driver, streams, seconds):
    driver.execute_script(ASK, streams, 1_000 / streams)
    wait(driver, seconds + 120, lambda: driver.execute_script(ENDED) == streams)
    return driver.execute_script(STATES)


def stamps(address):
    """Return when each token was sent, in ms of the wall clock."""
    wall = time.time_ns() - time.perf_counter_ns()
    with urllib.request.urlopen(f"{address}/log") as log:
        exchanges = json.load(log)
    found = {}
    for exchange in exchanges:
        said = json.loads(exchange["body"])["messages"][-1]["content"]
        (stream,) = re.findall(r"stream (\d+)$", said, re.MULTILINE)
        sent = [at for at, kind in zip(exchange["sent_ns"], exchange["kinds"], strict=True) if kind == "text"]
        for number, at in enumerate(sent[1:-1]):  # between the field's header and its end
            found[f"s{stream}t{number:04}"] = (at + wall) / 1e6
    return found


def wait(driver, seconds, condition):
    WebDriverWait(driver, seconds, 0.5).until(lambda _: condition())


@contextmanager
def provider(tokens):
    code = SERVER.replace("TOKENS", str(tokens))
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with server:
        yield server.stdout.readline().strip()
        server.stdin.close()


@contextmanager
def chat(address):
    """Run the chat as make does, with its telemetry on and sent nowhere."""
    command = [sys.executable, str(ROOT / "examples" / "run.py"), "chat", "--model", "numbered"]
    process = subprocess.Popen([*command, "--base-url", f"{address}/v1"], stdout=subprocess.PIPE, text=True)
    try:
        yield next(line.split()[0] for line in process.stdout if line.startswith("http://"))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as profile:
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


if __name__ == "__main__":
    sys.exit(main())
