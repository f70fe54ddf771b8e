"""``otel-tokenstream gate`` and ``otel-tokenstream gate run``: their words, their output, their exit codes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis import argument_types
from otel_tokenstream.analysis.terminal import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.stream import Stream
    from otel_tokenstream.gate.configuration import Configuration
    from otel_tokenstream.gate.decision import Decision
    from otel_tokenstream.gate.recordings import Sides

DESCRIPTION = """\
Judge recorded streams by budgets and baselines, for builds and canaries. The limits stand in a file,
tokenstream-gate.toml unless --config names another; docs/gate.md has all of its keys.

streams to judge (several are read together):
  FILE                               a viewer database, or OTLP in JSON (.json, .jsonl, .gz)
  --tempo http://127.0.0.1:3200      a Tempo server; TEMPO_BEARER_TOKEN and TEMPO_HEADERS are read

what to judge them against, for regressions:
  --baseline FILE                    another recording
  --baseline FOLDER --newest 5       the five recordings that were written last into a folder
  --baseline version=1.2 --candidate version=1.3
                                     two sides of one recording: a canary beside the old version

run programs instead:
  otel-tokenstream gate run [--repeat 5] [--warm-up 1] [--baseline-command "COMMAND"] -- COMMAND

exit code: 0 pass, 1 fail, 3 inconclusive, 2 if the words, the file or a source are wrong
"""
CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
_WRONG = 2
_PACKAGES = ("otel-tokenstream", "litellm", "dspy", "openai", "opentelemetry-sdk")


def main(argv: Sequence[str]) -> int:
    """Return the exit code; ``argv`` is what follows ``gate``."""
    runs = bool(argv) and argv[0] == "run"
    parser = _run_parser() if runs else _parser()
    arguments = parser.parse_args(argv[1:] if runs else argv)
    from otel_tokenstream.analysis.sources import SourceError  # noqa: PLC0415
    from otel_tokenstream.gate.configuration import ConfigurationError, load  # noqa: PLC0415
    from otel_tokenstream.gate.recordings import RecordingError  # noqa: PLC0415

    try:
        configuration = load(arguments.config)
        _check(arguments, configuration)
        sides = _experiment(arguments, configuration) if runs else _recorded(arguments, configuration)
        return _judged(arguments, configuration, sides)
    except (ConfigurationError, RecordingError, SourceError, ValueError) as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("otel_tokenstream"):
            raise
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="otel-tokenstream gate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", type=Path, metavar="FILE", help="recordings of the streams to judge")
    argument_types.add_tempo(parser)
    parser.add_argument("--query", default="", metavar="TRACEQL", help="which of Tempo's traces")
    parser.add_argument(
        "--since",
        type=argument_types.seconds,
        default="1h",
        metavar="TIME",
        help="of Tempo, such as 30m or 2h; default 1h",
    )
    parser.add_argument("--baseline", metavar="FILE, FOLDER or WORD=VALUE", help="what to judge against")
    _add_newest(parser)
    parser.add_argument("--candidate", metavar="WORD=VALUE", help="the streams to judge, where --baseline is a side")
    _add_outputs(parser)
    parser.set_defaults(baseline_command=None, save=None)  # words of gate run
    return parser


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="otel-tokenstream gate run",
        description="Run a program under opentelemetry-instrument, record its streams, and judge them.",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the program, after --")
    parser.add_argument(
        "--baseline-command", metavar="COMMAND", help="the program to compare with, run in turn: A B B A"
    )
    parser.add_argument("--baseline", metavar="FILE or FOLDER", help="a recording to compare with")
    _add_newest(parser)
    parser.add_argument(
        "--repeat", type=argument_types.count, default=5, metavar="N", help="counted runs of each program; default 5"
    )
    parser.add_argument(
        "--warm-up", type=int, default=1, metavar="N", help="runs before that are not counted; default 1"
    )
    parser.add_argument("--timeout", type=float, default=600.0, metavar="S", help="seconds a run may take; default 600")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the recording there, as a later baseline")
    _add_outputs(parser)
    return parser


def _add_newest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--newest", type=argument_types.count, default=1, metavar="N", help="recordings of a folder; default 1"
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=Path("tokenstream-gate.toml"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the decision as JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write it as a comment for a pull request")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report's page with its plots")


def _check(arguments: argparse.Namespace, configuration: Configuration) -> None:
    """Refuse words that do not allow a verdict, before anything is run or read.

    Raises:
        RecordingError: there is no baseline, or no folder for an output.

    """
    from otel_tokenstream.gate.recordings import RecordingError  # noqa: PLC0415

    if configuration.needs_baseline and not (arguments.baseline or arguments.baseline_command):
        message = f"{arguments.config} has a [[regression]], which needs --baseline"
        raise RecordingError(message)
    made = (arguments.save, *arguments.save.parents) if arguments.save else ()
    for path in filter(None, (arguments.json, arguments.junit, arguments.markdown, arguments.html)):
        if path.is_dir() or not (path.parent.is_dir() or path.parent in made):
            message = f"{path} cannot be written; name a file in a folder that exists"
            raise RecordingError(message)


def _recorded(arguments: argparse.Namespace, configuration: Configuration) -> Sides:
    from otel_tokenstream.analysis.report import side_of  # noqa: PLC0415
    from otel_tokenstream.analysis.selection import Condition  # noqa: PLC0415
    from otel_tokenstream.gate import recordings  # noqa: PLC0415

    if not arguments.sources and arguments.tempo is None:
        message = "name a recording to judge, or --tempo URL; otel-tokenstream gate --help shows how"
        raise recordings.RecordingError(message)
    given = side_of(arguments.baseline) if arguments.baseline else None
    candidate = Condition.parse(arguments.candidate) if arguments.candidate else None
    if isinstance(given, Condition) != (candidate is not None):
        message = "--candidate WORD=VALUE and --baseline WORD=VALUE go together: they are two sides of one recording"
        raise recordings.RecordingError(message)
    wanted = recordings.wanted_by(configuration, candidate, given if isinstance(given, Condition) else None)
    recording = recordings.read(arguments.sources, _tempo(arguments), wanted)
    streams, notes = recording.streams(), list(recording.notes)
    name = ", ".join([*map(str, arguments.sources), *([arguments.tempo] if arguments.tempo else [])])
    if not streams:
        message = f"no stream that ended in {name}"
        raise recordings.RecordingError(message)
    if isinstance(given, Condition) and candidate is not None:
        sides = recordings.side(streams, candidate, "candidate"), recordings.side(streams, given, "baseline")
        return recordings.Sides(str(candidate), sides[0], str(given), sides[1], tuple(notes))
    if given is None:
        return recordings.Sides(name, streams, notes=tuple(notes))
    earlier, found = _baseline(arguments, wanted)
    return recordings.Sides(name, streams, arguments.baseline, found, (*notes, *earlier))


def _baseline(arguments: argparse.Namespace, wanted: list[str]) -> tuple[list[str], list[Stream]]:
    """Return notes and streams of the baseline that is a recording of its own, or the newest of a folder."""
    from otel_tokenstream.gate import recordings  # noqa: PLC0415

    path = Path(arguments.baseline)
    files = recordings.newest(path, arguments.newest) if path.is_dir() else [path]
    earlier = recordings.read(files, None, wanted)
    found = earlier.streams()
    if not found:
        message = f"no stream that ended in the baseline {arguments.baseline}"
        raise recordings.RecordingError(message)
    return earlier.notes, found


def _tempo(arguments: argparse.Namespace) -> Any:
    from otel_tokenstream.gate.recordings import TempoQuery  # noqa: PLC0415

    if arguments.tempo is None:
        return None
    now = int(time.time())
    start = now - int(arguments.since)
    return TempoQuery(arguments.tempo, start, now + 1, arguments.query, arguments.tenant, arguments.limit)


def _experiment(arguments: argparse.Namespace, configuration: Configuration) -> Sides:
    from otel_tokenstream.gate import experiment, recordings  # noqa: PLC0415

    plan = experiment.Plan(
        arguments.command,
        shlex.split(arguments.baseline_command) if arguments.baseline_command else None,
        arguments.repeat,
        arguments.warm_up,
        arguments.timeout,
    )
    wanted = recordings.wanted_by(configuration)
    # Read before the runs: their own recording may be saved into the same folder.
    earlier = _baseline(arguments, wanted) if arguments.baseline and plan.baseline is None else None
    with tempfile.TemporaryDirectory(prefix="otel-tokenstream-gate-") as directory:
        folder = arguments.save or Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        database = folder / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.db"
        try:
            found = experiment.run(plan, database, wanted, _told)
        except experiment.ExperimentError as error:
            raise recordings.RecordingError(str(error)) from error
    candidate = found.get(experiment.CANDIDATE, [])
    if not candidate:
        message = f"{shlex.join(arguments.command)} made no stream: is one of its libraries instrumented?"
        raise recordings.RecordingError(message)
    name = shlex.join(arguments.command)
    if plan.baseline is not None:
        return recordings.Sides(name, candidate, arguments.baseline_command, found.get(experiment.BASELINE, []))
    if earlier is not None:
        notes, streams = earlier
        return recordings.Sides(name, candidate, arguments.baseline, streams, tuple(notes))
    return recordings.Sides(name, candidate)


def _judged(arguments: argparse.Namespace, configuration: Configuration, sides: Sides) -> int:
    from otel_tokenstream.gate import outputs  # noqa: PLC0415
    from otel_tokenstream.gate.decision import decide  # noqa: PLC0415

    decision = decide(configuration, sides.candidate, sides.baseline)
    _write_files(arguments, decision, sides)
    write(outputs.as_text(decision, sides.notes), sys.stdout)
    return CODES[decision.verdict]


def _write_files(arguments: argparse.Namespace, decision: Decision, sides: Sides) -> None:
    from otel_tokenstream.gate import outputs, picture  # noqa: PLC0415

    names = {"candidate": sides.candidate_name, "baseline": sides.baseline_name}
    if arguments.json is not None:
        told = outputs.as_json(decision, names, environment(), sides.notes)
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if arguments.junit is not None:
        arguments.junit.write_text(outputs.as_junit(decision), encoding="utf-8")
    if arguments.markdown is not None:
        arguments.markdown.write_text(outputs.as_markdown(decision, sides.notes), encoding="utf-8")
    if arguments.html is not None:
        arguments.html.write_text(picture.as_html(sides), encoding="utf-8", errors="backslashreplace")


def environment() -> dict[str, Any]:
    """Return where the decision was made: another machine's times are no baseline."""
    installed = {each.metadata["Name"].lower(): each.version for each in distributions()}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "packages": {name: installed[name] for name in _PACKAGES if name in installed},
    }


def _told(text: str) -> None:
    print(f"otel-tokenstream gate: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _failed(message: str) -> int:
    _told(message)
    return _WRONG
