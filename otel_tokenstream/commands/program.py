"""The program that a command runs under opentelemetry-instrument."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_FOUND = 127
_NOT_EXECUTABLE = 126


class ProgramError(Exception):
    """A program cannot be started; the text says why and what to do."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """Exit code, as a shell has it."""


def instrumented(command: Sequence[str]) -> list[str]:
    """Return the words that run the command under the opentelemetry-instrument of this Python.

    opentelemetry-instrument itself fails with a traceback where it does not find the program.

    Raises:
        ProgramError: it is not installed, or the program is not there or not executable.

    """
    beside = str(Path(sys.executable).parent)
    instrument = shutil.which("opentelemetry-instrument", path=beside) or shutil.which("opentelemetry-instrument")
    if instrument is None:
        message = 'opentelemetry-instrument is not installed beside this Python: pip install "otel-tokenstream[auto]"'
        raise ProgramError(message, 2)
    program = command[0]
    if shutil.which(program) is None:
        if Path(program).name != program and Path(program).is_file():
            message = f"{program}: not executable; run a script with its interpreter, as python {program}"
            raise ProgramError(message, _NOT_EXECUTABLE)
        message = f"{program}: not found; is it in a folder of PATH?"
        raise ProgramError(message, NOT_FOUND)
    return [instrument, *command]
