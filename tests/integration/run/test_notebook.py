"""The notebooks run as they stand; the assertions are in their cells. `make test-notebooks` runs all, `make test-all` the first one."""

from __future__ import annotations

import ast
import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.tools.long import long

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EVERY = sorted(p.name for p in (EXAMPLES / "notebooks").glob("*.ipynb"))
_ALL = os.environ.get("SLUICE_NOTEBOOKS") == "all"
#: Where no cluster answers it says so, and draws nothing.
ELSEWHERE = {"cluster.ipynb"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", EVERY if _ALL else [pytest.param("quickstart.ipynb", marks=long)])
def test_a_notebook_runs_and_what_it_claims_holds(notebook: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".sluice"))
    folder = tmp_path / "examples" / "notebooks"
    cells = nbformat.read(folder / notebook, as_version=4)
    NotebookClient(cells, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    shown = [o for c in cells.cells if c.cell_type == "code" for o in c.outputs if "text/html" in o.get("data", {})]
    assert notebook in ELSEWHERE or len(shown) >= 5, "runs and their evidence are drawn"


@pytest.mark.parametrize("notebook", EVERY)
def test_a_notebook_is_clean_and_its_cells_are_python(notebook: str) -> None:
    cells = nbformat.read(EXAMPLES / "notebooks" / notebook, as_version=4)
    nbformat.validate(cells)
    for cell in cells.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, "outputs are not kept in git"
            compile(cell.source, notebook, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
