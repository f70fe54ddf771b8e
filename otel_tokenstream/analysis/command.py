"""``otel-tokenstream report``: its words, its output, its exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream.analysis import argument_types
from otel_tokenstream.analysis.terminal import write

if TYPE_CHECKING:
    import argparse

    from otel_tokenstream.analysis.report import Question

DESCRIPTION = """\
Figures over recorded streams: how many, how long until the first token, how fast and how evenly tokens
came, where streams stalled, how they ended, what they used. By operation and model, over time, and one
set against another.

sources (several are read together):
  (nothing)                          the viewer's database: what "otel-tokenstream view" received
  FILE                               a viewer database, or OTLP in JSON as the Collector's file exporter
                                     writes it (.json, .jsonl, .gz)
  --tempo http://127.0.0.1:3200      a Tempo server; TEMPO_BEARER_TOKEN and TEMPO_HEADERS (name=value,…)
                                     are read from the environment

to tell streams apart (--by, --where, --compare):
  operation, model, provider, service, outcome, error, stream, module, field,
  conversation, user, request, version, finish_reason, response_model, or any
  attribute by its full name

examples:
  otel-tokenstream report --since 1d --by model,outcome
  otel-tokenstream report --compare model=gpt-4o model=gpt-4o-mini --html compared.html
  otel-tokenstream report --compare before.jsonl after.jsonl
  otel-tokenstream report --compare stream=true stream=false --where outcome=completed

exit code: 0 with a report, 1 if a source cannot be read or has no streams, 2 if the words are wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="*", type=Path, metavar="FILE", help="default: the viewer's database")
    argument_types.add_tempo(parser)
    parser.add_argument("--query", metavar="TRACEQL", help="which of Tempo's traces; default: all that hold a stream")
    parser.add_argument(
        "--since",
        type=argument_types.seconds,
        metavar="TIME",
        help="only what began since, as 30m, 1h, 7d; of Tempo default 1h",
    )
    parser.add_argument("--by", default="operation,model", metavar="WORDS", help="default operation,model")
    parser.add_argument(
        "--where", action="append", default=[], metavar="WORD=VALUE", help="only such streams; may be repeated"
    )
    parser.add_argument(
        "--over", default="auto", metavar="STEP", help="second, 10s, minute, 10min, hour, day or session; default auto"
    )
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="files, or WORD=VALUE[,WORD=VALUE…]")
    parser.add_argument(
        "--objectives", type=Path, metavar="FILE", help="what first tokens are judged by; default: as the alerts' are"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots, which needs no network")


def run(arguments: argparse.Namespace) -> int:
    from otel_tokenstream.analysis.page import as_html  # noqa: PLC0415
    from otel_tokenstream.analysis.report import NothingFoundError, answer  # noqa: PLC0415
    from otel_tokenstream.analysis.sources import SourceError  # noqa: PLC0415
    from otel_tokenstream.analysis.text import as_text  # noqa: PLC0415

    try:
        report = answer(_question(arguments))
        if arguments.html is not None:
            arguments.html.write_text(as_html(report), encoding="utf-8", errors="backslashreplace")
    except (ValueError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != "yaml":
            raise
        return _failed(str(error), 2)
    except (SourceError, NothingFoundError) as error:
        return _failed(str(error), 1)
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}", 1)
    if arguments.json:
        write(json.dumps(report.as_json(), indent=2) + "\n", sys.stdout)
    else:
        page = f"\nThe page: {arguments.html}\n" if arguments.html is not None else ""
        write(as_text(report) + page, sys.stdout)
    return 0


def _question(arguments: argparse.Namespace) -> Question:
    from otel_tokenstream.analysis.objectives import DEFAULTS, load  # noqa: PLC0415
    from otel_tokenstream.analysis.report import Question, Tempo, side_of  # noqa: PLC0415
    from otel_tokenstream.analysis.selection import Condition  # noqa: PLC0415

    server = None
    if arguments.tempo is not None:
        server = Tempo(arguments.tempo, arguments.query or "", arguments.tenant, arguments.limit)
    elif arguments.query or arguments.tenant:
        message = "--query and --tenant are for --tempo URL; use --where to choose among other sources' streams"
        raise ValueError(message)
    return Question(
        files=tuple(arguments.sources),
        tempo=server,
        since_s=arguments.since,
        by=tuple(word.strip() for word in arguments.by.split(",") if word.strip()),
        where=tuple(Condition.parse(text) for text in arguments.where),
        over=arguments.over,
        compare=(side_of(arguments.compare[0]), side_of(arguments.compare[1])) if arguments.compare else None,
        objectives=load(arguments.objectives) if arguments.objectives else DEFAULTS,
    )


def _failed(message: str, code: int) -> int:
    print(f"otel-tokenstream report: {message}", file=sys.stderr)  # noqa: T201
    return code
