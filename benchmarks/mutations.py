"""Takes the hooks out of the code one by one and looks whether a test notices.

A hook is a statement that stamps, ends, closes, drops or disowns a call, or an ``except`` that
leads to one, in the functions named below. Each is taken out of a copy of the package, and the
table of endings and the core's tests are run against the copy. Printed is the first test that
failed, or that none did; the exit status is 1 if any hook could be taken out unnoticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "otel_tokenstream"

# Functions by file, where "" is the module itself; in them, what a hook's line says.
PLACES = {
    "core/streams.py": (
        "__del__ _ts_end _ts_read_rest _ts_failed closing aclosing close _next _anext _exit _aexit __getattr__",
        r"_ts_end|_ts_failed|_ts_read_rest|_ts_close|\.end\(|\.blocked\(|\.asked|detach|read\(|_ts_closing|_ts_aclosing",
    ),
    "core/generation.py": (
        "__init__ end _close_timeline blocked",
        r"open_calls|self\.(ended|asked|outcome|error_type|_last_read|_block)\b|_close_timeline|finish|_fold|\.close\(|\.blocked\(",
    ),
    "core/open_calls.py": (
        " add postponed finish_dropped arm _finish_all _forget_parents_calls _note_collection",
        r"_open|_dropped|_collecting|_at_exit|atexit|callbacks|register_at_fork|\.end\(|flush\(|forget\(|finish_dropped",
    ),
    "core/telemetry.py": (
        "start finish _close_log _write_outcome _end_span",
        r"arm\(|step\(|\.close\(|OUTCOME|ERROR_TYPE|set_status|\.end\(",
    ),
    "core/ownership.py": ("__enter__ __exit__", r"active|detach|reset|attach|\.set\("),
    "patches/litellm/calls.py": ("call _handed_over _broken_off", r"\.end\(|\.asked|settle"),
    "patches/litellm/attempts.py": ("__exit__ gave", r"reset|_finish|del |source"),
    "patches/litellm/ending.py": ("settle", r"source"),
    "patches/dspy/lm15.py": ("", r"\.end\(|\.asked|\.blocked\("),
}
FAULTS = ("reader", "fold", "attributes", "events", "recorder", "metrics")
OTHERS = ("Router", "generate", "messages", "responses", "text_completion", "streamify", "Anthropic", "Gemini", "over")
# Cheapest first: most mutants do not get past the two entries that are most used.
TESTS = (
    (
        *("tests/endings/test_endings.py", "-k"),
        f"litellm-no or engine-no or (async-no and {' and '.join(f'not {other}' for other in OTHERS)})",
    ),
    ("tests/endings/test_endings.py", "-k", " and ".join(f"not {fault}" for fault in FAULTS)),
    ("tests/core/test_streams.py", "tests/core/test_open_calls.py", "tests/core/test_generation.py"),
    (
        *("tests/core/test_telemetry.py", "tests/core/test_ownership.py", "tests/patches/test_litellm_attempts.py"),
        *(
            "tests/processes/test_stalls.py",
            "tests/processes/test_abandoned.py",
            "-k",
            "not hundred",
            "-m",
            "slow or not slow",
        ),
    ),
    ("tests/endings/test_endings.py",),
)
LONGEST = 600  # seconds a mutant may take


@dataclass(frozen=True)
class Mutant:
    file: str
    first: int
    last: int
    text: str
    source: str

    @property
    def name(self):
        return f"{self.file}:{self.first}: {self.text}"


def mutants(file, functions, pattern):
    source = (ROOT / PACKAGE / file).read_text()
    lines = source.splitlines(keepends=True)
    names = functions.split(" ")
    everywhere = not functions

    def changed(first, last, line):
        return "".join([*lines[: first - 1], line, *lines[last:]])

    def visit(node, function):
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.ClassDef):
                inside = None
            if everywhere or function in names:
                text = lines[child.lineno - 1].strip() if hasattr(child, "lineno") else ""
                whole = ast.get_source_segment(source, child) or ""
                indent = " " * getattr(child, "col_offset", 0)
                if isinstance(child, ast.ExceptHandler) and re.search(rf"{pattern}|fault\(", whole):
                    named = f" as {child.name}" if child.name else ""
                    yield Mutant(
                        file,
                        child.lineno,
                        child.lineno,
                        text,
                        changed(child.lineno, child.lineno, f"{indent}except (){named}:\n"),
                    )
                elif isinstance(child, (ast.Expr, ast.Assign, ast.Delete, ast.Return)) and re.search(pattern, whole):
                    if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                        yield Mutant(
                            file,
                            child.lineno,
                            child.end_lineno,
                            text,
                            changed(child.lineno, child.end_lineno, f"{indent}pass\n"),
                        )
            yield from visit(child, inside)

    yield from visit(ast.parse(source), "")


def copied(directory):
    for name in (PACKAGE, "tests", "benchmarks"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)


def verdict(directory, tests, output):
    """Run tests in a fork of this process, which has imported the libraries, and return the first failure."""
    child = os.fork()
    if child == 0:
        os.setsid()
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(directory)
        sys.path.insert(0, str(directory))
        os.environ["PYTHONPATH"] = str(directory)
        import pytest

        quiet = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout=60", "-rf")
        os._exit(int(pytest.main([*quiet, *tests])))
    until = time.monotonic() + LONGEST
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.1)
    told = output.read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", told, re.MULTILINE)
    if failed:
        return failed.group(1)
    return (
        None
        if re.search(r"\d+ passed", told) and not re.search("failed|error", told.splitlines()[-1])
        else "breaks the run"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a file's name")
    parser.add_argument("--list", action="store_true", help="print the hooks and take none out")
    arguments = parser.parse_args()
    found = [each for file, place in PLACES.items() if arguments.only in file for each in mutants(file, *place)]
    if arguments.list:
        print(*(each.name for each in found), sep="\n")
        return
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy  # noqa: F401  # imported once for all mutants
    import litellm  # noqa: F401

    survivors = []
    with tempfile.TemporaryDirectory() as name:
        directory, output = Path(name) / "copy", Path(name) / "output"
        directory.mkdir()
        copied(directory)
        for tests in TESTS:
            if failing := verdict(directory, tests, output):
                sys.exit(f"{failing} fails already:\n{output.read_text()}")
        for number, mutant in enumerate(found, 1):
            place = directory / PACKAGE / mutant.file
            before = place.read_text()
            place.write_text(mutant.source)
            try:
                noticed = next(filter(None, (verdict(directory, tests, output) for tests in TESTS)), None)
            finally:
                place.write_text(before)
            print(f"{number:3}/{len(found)} {mutant.name}\n        {noticed or 'NOT NOTICED'}", flush=True)
            if noticed is None:
                survivors.append(mutant)
    print(f"{len(found)} hooks, {len(survivors)} of them can be taken out unnoticed")
    print(*(survivor.name for survivor in survivors), sep="\n")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
