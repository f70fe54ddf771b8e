from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests import zero_code

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookClient]:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", zero_code.OTHERS)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    client = NotebookClient(nbformat.read(NOTEBOOK, as_version=4), timeout=180, kernel_name="python3")
    with client.setup_kernel():
        yield client


def printed(client: NotebookClient, code: str) -> str:
    client.nb.cells.append(new_code_cell(code))
    cell = client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout").strip()


def test_notebook_runs_and_its_cells_run_again(client: NotebookClient) -> None:
    """The second round breaks nothing and makes one span for its stream, like the first."""
    cells = list(enumerate(client.nb.cells))
    for done in (1, 2):
        for index, cell in cells:
            client.execute_cell(cell, index)
        outcomes = printed(client, 'print(*[each["outcome"] for each in seen("streams")["streams"]])')
        assert outcomes.split() == ["completed"] * done
        spans = printed(client, "print(len(seen(f\"streams/{stream['trace_id']}/{stream['span_id']}\")[\"trace\"]))")
        assert spans == "1"


def test_notebook_stands_without_outputs() -> None:
    """What one machine measured is not for another reader's diff."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not [cell.id for cell in cells if cell.get("outputs") or cell.get("execution_count")]
