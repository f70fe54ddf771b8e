"""Read two streams in each of two further processes: ``python pools.py START_METHOD KIND``."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from otel_tokenstream import flush
from tests.processes import streaming


def work(_: int) -> int:
    chunks = streaming.read()
    streaming.read()
    # Children of multiprocessing end without exit handlers.
    assert flush(60)
    return chunks


def main() -> None:
    start, kind = sys.argv[1:]
    context = multiprocessing.get_context(start)
    if kind == "executor":
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(work, range(2)))
    else:
        children = [context.Process(target=work, args=(number,)) for number in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0


if __name__ == "__main__":
    main()
