"""Run the scripted provider in the foreground: python -m otel_tokenstream.demo.provider."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from otel_tokenstream.demo.provider.server import ScriptedProvider


async def _serve(port: int) -> None:
    provider, stop = ScriptedProvider(port), asyncio.Event()
    # A signal handler that raises can lose its exception in whatever the loop is running.
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C still ends asyncio.run
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with provider.serving():
        print(provider.base_url, flush=True)  # noqa: T201 - the line a parent process waits for
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m otel_tokenstream.demo.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one (default)")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port))


if __name__ == "__main__":
    main()
