"""Decorated programs are as portable as others."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cloudpickle
import dspy
import pytest

from tests.programs.catalogue import QUESTION, Decorated, Judge, fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_tokenstream.testing import Capture


def copies(program: Any, tmp_path: Path) -> dict[str, Callable[[], Any]]:
    def saved_state() -> Any:
        program.save(tmp_path / "program.json")
        loaded = type(program)()
        loaded.load(tmp_path / "program.json")
        return loaded

    def saved_program() -> Any:
        program.save(tmp_path / "program", save_program=True)
        return dspy.load(str(tmp_path / "program"), allow_pickle=True)

    return {
        "deepcopy": lambda: copy.deepcopy(program),
        "DSPy's deepcopy": program.deepcopy,
        "reset copy": program.reset_copy,
        "cloudpickle": lambda: cloudpickle.loads(cloudpickle.dumps(program)),
        "saved state": saved_state,
        "saved program": saved_program,
    }


@pytest.mark.usefixtures("lm")
def test_copies_of_decorated_modules_stream(captured: Capture, tmp_path: Path) -> None:
    """Copied, pickled, saved and loaded, while instrumented, a program is what it was."""

    made = copies(Decorated(), tmp_path)
    for copied in made.values():
        assert copied()(question=QUESTION).answer
    assert fields(captured) == [{"answer"}] * len(made)


@pytest.mark.usefixtures("lm")
def test_a_decorated_module_is_pickled(captured: Capture) -> None:
    """By plain pickle where DSPy itself allows it: with a signature that is a class."""
    program = pickle.loads(pickle.dumps(Judge()))
    assert program(text="A fine day.").summary
    assert fields(captured) == [{"summary"}]


ELSEWHERE = """
import cloudpickle, dspy
from otel_tokenstream import stream_fields

@stream_fields(["answer"])
class Program(dspy.Module):
    def __init__(self):
        super().__init__()
        self.respond = dspy.ChainOfThought("question -> answer")
    def forward(self, question):
        return self.respond(question=question)

import sys
sys.stdout.buffer.write(cloudpickle.dumps(Program()))
"""


@pytest.mark.usefixtures("lm")
def test_a_decorated_class_travels_by_value(captured: Capture) -> None:
    """A class of another process's main module keeps its fields."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, timeout=180, check=True)
    cloudpickle.loads(done.stdout)(question=QUESTION)
    assert fields(captured) == [{"answer"}]
