"""The notebooks run as they stand; the assertions are in their cells."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", sorted(p.name for p in (EXAMPLES / "notebooks").glob("*.ipynb")))
def test_a_notebook_runs_and_what_it_claims_holds(notebook: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".sluice"))
    folder = tmp_path / "examples" / "notebooks"
    cells = nbformat.read(folder / notebook, as_version=4)
    NotebookClient(cells, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    shown = [o for c in cells.cells if c.cell_type == "code" for o in c.outputs if "text/html" in o.get("data", {})]
    assert len(shown) >= 5, "runs and their evidence are drawn"
