"""Every notebook runs from its first cell to its last, with small settings."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {"SIZE": 400, "EPOCHS": 1, "TRIALS": 2, "TRIAL_EPOCHS": 1}
SMALL |= {"ROWS": 2000, "UNITS": 16, "AUTOENCODER_EPOCHS": 1}  # of series
SMALL |= {"LENGTHS": (10,), "SECONDS": 1, "UPDATES": 20, "STEPS": 60}  # of memory
SMALL |= {"COST_LENGTHS": (8, 16), "TASK_LENGTH": 4, "TASK_SECONDS": 1}


def with_parameters(notebook, values):
    """Puts a cell with those of ``values`` that the notebook has after its `parameters` cell."""
    tagged = [
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) == 1, "exactly one cell is tagged `parameters`"
    source = notebook.cells[tagged[0]].source
    names = [name for name in values if re.search(rf"^.*\b{name}\b.*=", source, re.MULTILINE)]
    override = "\n".join(f"{name} = {values[name]!r}" for name in names)
    notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell(override))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_holds_no_output(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


# One that trains nothing is quick, and shows that notebooks run at all.
QUICK = {"02_cells"}
RUN = [
    path if path.stem in QUICK else pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS
]


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    with_parameters(notebook, SMALL)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]


def test_there_are_notebooks():
    assert NOTEBOOKS
