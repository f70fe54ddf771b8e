"""Takes the hooks out of the code one by one and looks whether a test notices.

A hook is a statement that stamps, ends, closes, drops or disowns a call, or an ``except`` that
leads to one, in the functions named below, or a place that is patched. Each is taken out of a
copy of the package, and the table of endings, the core's and the patches' tests are run against
the copy. Printed is the first test that failed, or that none did; the exit status is 1 if any
hook could be taken out unnoticed. A test that fails is run a second time: twice is no chance.
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
from functools import partial
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "otel_tokenstream"

# Functions by file, where "" is the module itself; in them, what a hook's line says.
PLACES = {
    "core/call/stream_proxy.py": (
        (
            "__del__ _ts_end _ts_read_rest _ts_failed closing aclosing close handing_out "
            "__getattr__ _next _anext _exit _aexit _await"
        ),
        r"_ts_\w*(end|failed|rest|close|closing|out)\b|closing = |\.(end|blocked)\(|\.read_started|detach|read\(",
    ),
    "core/call/model_call.py": (
        "__init__ end _close_timeline blocked",
        r"in_flight|self\.(ended|read_started|outcome|error_type|at_end|last_read|_block)\b|_close_timeline|finish|_fold|\.close\(|\.blocked\(",
    ),
    "core/call/in_flight.py": (
        " add postponed finish_dropped arm _finish_all _forget_parents_calls _note_collection",
        r"_open|_dropped|_collecting|_at_exit|atexit|callbacks|after_fork|\.end\(|flush\(|finish_dropped",
    ),
    "core/runtime/forking.py": (
        " _hold _let_go _begin_anew _release",
        r"register_at_fork|held|_release\(|forget\)|release\)",
    ),
    "core/runtime/context.py": ("detach_safely reset", r"detach|reset"),
    "core/emit/telemetry.py": ("start _generation _arm", r"_arm\b|_armed|\.end\("),
    "core/emit/recorder.py": (
        "finish _write_outcome _end_span",
        r"step,|outcome_attributes|set_status|\.end\(",
    ),
    "core/call/nesting.py": (
        "__enter__ __exit__ _begin _end",
        r"active|detach_safely|reset|attach|\.set\(|_begin\(|_end\(",
    ),
    "patches/lifecycle.py": ("__enter__ __exit__ _begin hand_over", r"\.end\(|aborted|\.read_started|finalize"),
    "patches/litellm/hooks/calls.py": ("call _handed_over complete", r"finalize|hide\("),
    "patches/litellm/hooks/attempts.py": ("__enter__ __exit__ gave", r"reset|_begin|_finish|del |note\(|\.set\("),
    "patches/litellm/transport/inner_stream.py": ("__init__ note", r"source"),
    "patches/litellm/outcome/finalize.py": ("finalize", r"source|price"),
    "patches/litellm/hooks/passthrough_proxy.py": (
        "pass_through_request _handed_over _read_answer",
        r"hand_over|\.ended|finalize",
    ),
    "patches/litellm/hooks/user_callbacks.py": ("run arun hook pick set_strategy _awaited _set_apart", r"apart\("),
    "patches/litellm/hooks/thread_context.py": ("within run_async_function", r"carry\(|attach\("),
    "patches/dspy/lm15.py": ("", r"hand_over"),
}
# Lists and dictionaries of what is patched, by file: the functions or constants that hold them.
PATCHED = {
    "patches/litellm/__init__.py": "_FUNCTIONS table _patches",
    "patches/litellm/hooks/router.py": "_CLASSES _ENDPOINTS patches",
    "patches/litellm/hooks/thread_context.py": "_MODULES",
    "patches/litellm/hooks/passthrough_proxy.py": "patches",
    "patches/litellm/hooks/user_callbacks.py": (
        "_LOGGING _CACHE _ROUTERS _CHECKS _HOST _AROUND_REQUEST _STRATEGY_SETTERS _STRATEGY _SHADOWS patches"
    ),
    "patches/litellm/hooks/litellm_otel.py": "patches",
    "patches/dspy/__init__.py": "table",
    "patches/dspy/lm15.py": "patches",
    "patches/dspy/modules.py": "patches",
    "patches/dspy/adapters.py": "patches",
    "patches/dspy/tools.py": "patches",
    "patches/dspy/retrievers.py": "_PLACES patches",
    "patches/dspy/threads.py": "patches",
    "patches/dspy/litellm_calls.py": "patches",
    "patches/dspy/opening_usage.py": "patches",
    "patches/dspy/optimizers.py": "_OPTIMIZERS patches",
}
FAULTS = ("reader", "fold", "attributes", "events", "recorder", "metrics")
OTHERS = ("Router", "generate", "messages", "responses", "text_completion", "streamify", "Anthropic", "Gemini", "over")
ENDINGS = "tests/endings/test_endings.py"
# The two entries that are most used, and all; with a fault in each of our hooks those that are run every time.
USUAL = (ENDINGS, "-k", f"litellm-no or engine-no or (async-no and {' and '.join(f'not {each}' for each in OTHERS)})")
EVERY = (ENDINGS, "-k", " and ".join(f"not {fault}" for fault in FAULTS))
CORE = (
    *("tests/core/runtime/test_guard.py", "tests/core/runtime/test_forking.py"),
    *(f"tests/core/call/test_{name}.py" for name in ("stream_proxy", "model_call", "in_flight", "nesting")),
    *("tests/core/emit/test_telemetry.py", "tests/patches/test_litellm_attempts.py", "tests/patches/test_dspy.py"),
)
PROCESSES = (
    *("tests/processes/test_stalls.py", "tests/processes/test_abandoned.py", "tests/processes/test_children.py"),
    *("-k", "not hundred", "-m", "slow or not slow"),
)
PATCHES = ("tests/patches", "tests/programs", "tests/interop", "tests/live")
# Files whose tests stand elsewhere than in one of the same name, by path or folder.
OWN = {
    "core/emit/recorder.py": "core/emit/test_telemetry.py",
    "core/runtime/context.py": "core/call/test_nesting.py",
    "patches/lifecycle.py": "patches/test_adding_a_library.py patches/test_interrupted_starts.py",
    "patches/litellm/hooks/passthrough_proxy.py": "patches/test_litellm_p*.py",
    "patches/litellm": "versions/test_places.py patches/test_litellm*.py patches/test_bedrock.py",
    "patches/dspy": "versions/test_places.py patches/test_dspy.py programs",
}
# Cheapest first.
TESTS = {"core": (USUAL, CORE, EVERY, PROCESSES, PATCHES, (ENDINGS,)), "patches": (EVERY, PATCHES, CORE, (ENDINGS,))}
LONGEST = 1_800  # seconds that tests may take which hang


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
                elif (
                    isinstance(child, (ast.Expr, ast.Assign, ast.Delete, ast.Return))
                    and not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
                    and re.search(pattern, whole)
                ):
                    yield Mutant(
                        file,
                        child.lineno,
                        child.end_lineno,
                        text,
                        changed(child.lineno, child.end_lineno, f"{indent}pass\n"),
                    )
            yield from visit(child, inside)

    yield from visit(ast.parse(source), "")


def patched(file, names):
    """Yield the code without one of the places that are patched."""
    source = (ROOT / PACKAGE / file).read_text()
    offsets = [0]
    for line in source.encode().splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))

    def without(node, until, instead):
        first, last = offsets[node.lineno - 1] + node.col_offset, offsets[until.end_lineno - 1] + until.end_col_offset
        code = source.encode()
        text = ast.get_source_segment(source, node).splitlines()
        return Mutant(
            *(file, node.lineno, until.end_lineno),
            " ".join(part.strip() for part in text)[:100],
            (code[:first] + instead + code[last:]).decode(),
        )

    def visit(node):
        if isinstance(node, ast.Yield):
            yield without(node, node, b"yield from ()")
        elif isinstance(node, ast.Dict):
            yield from (without(*each, b"**{}") for each in zip(node.keys, node.values, strict=True))
        elif isinstance(node, (ast.List, ast.Tuple)) and any(
            isinstance(each, (ast.Call, ast.Starred, ast.Tuple)) for each in node.elts
        ):
            for each in node.elts:
                yield without(each, each, b"*()")
                if not isinstance(each, ast.Tuple):
                    yield from visit(each)
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    for top in ast.parse(source).body:
        named = getattr(top, "name", None) or getattr(next(iter(getattr(top, "targets", ())), None), "id", None)
        if named in names.split():
            value = getattr(top, "value", None)
            strings = value.elts if isinstance(value, ast.Tuple) else ()
            yield from (without(each, each, b"*()") for each in strings if isinstance(each, ast.Constant))
            yield from visit(top)


def run(directory, tests, output):
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

        quiet = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout=60", "-rfE")
        os._exit(int(pytest.main([*quiet, *tests])))
    until = time.monotonic() + LONGEST
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.1)
    if ended[1] == 0:
        return None
    told = output.read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", told, re.MULTILINE)
    return failed.group(1) if failed else f"breaks the run: {told[-400:]}"


def verdict(directory, tests, output):
    """Return the test that notices; one that fails by chance does so neither alone nor in the same place again."""
    earlier = None
    while (failing := run(directory, tests, output)) and "::" in failing and failing != earlier:
        if run(directory, (failing, "-m", "slow or not slow"), output):
            break
        earlier = failing
    return failing


def stages_of(mutant):
    """Return the tests to run, the file's own ones first."""
    folder, _, name = mutant.file.rpartition("/")
    named = (OWN[place] for place in (mutant.file, *map(str, Path(mutant.file).parents)) if place in OWN)
    own = next(named, f"{folder}/test_{name}")
    tests = ROOT / "tests"
    found = (str(path.relative_to(ROOT)) for each in own.split() for path in sorted(tests.glob(each)))
    return tuple(found), *TESTS[folder.split("/")[0]]


def take_out(mutant, place, stages):
    """Return the test that notices that a hook is missing, and how long that took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=place) as name:
        directory, output = Path(name) / "copy", Path(name) / "output"
        shutil.copytree(ROOT, directory, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        (directory / PACKAGE / mutant.file).write_text(mutant.source)
        noticed = next(filter(None, (verdict(directory, tests, output) for tests in stages_of(mutant)[:stages])), None)
    return mutant, noticed, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of what is printed of a hook")
    parser.add_argument("--after", type=int, default=0, help="hooks to pass over, of a run that was broken off")
    parser.add_argument("--stages", type=int, default=9, help="how many stages of tests to run, cheapest first")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the hooks and take none out")
    arguments = parser.parse_args()
    found = [each for file, place in PLACES.items() for each in mutants(file, *place)]
    found += [each for file, names in PATCHED.items() for each in patched(file, names)]
    found = [each for each in found if arguments.only in each.name][arguments.after :]
    if arguments.list:
        print(*(each.name for each in found), sep="\n")
        return
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy  # noqa: F401  # imported once for all mutants
    import litellm  # noqa: F401

    survivors = []
    with tempfile.TemporaryDirectory() as place, get_context("fork").Pool(arguments.at_once) as pool:
        proxy = "core/call/stream_proxy.py"
        whole = Mutant(proxy, 1, 1, "nothing", (ROOT / PACKAGE / proxy).read_text())
        tried = pool.imap_unordered(partial(take_out, place=place, stages=arguments.stages), [*found, whole])
        for number, (mutant, noticed, took) in enumerate(tried, 1):
            print(f"{number:3}/{len(found) + 1} {mutant.name}", flush=True)
            print(f"        {noticed or 'NOT NOTICED'} ({took:.0f} s)", flush=True)
            if mutant == whole and noticed:
                sys.exit("That fails with all hooks in place.")
            if mutant != whole and noticed is None:
                survivors.append(mutant)
    print(f"{len(found)} hooks, {len(survivors)} of them can be taken out unnoticed")
    print(*(survivor.name for survivor in survivors), sep="\n")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
