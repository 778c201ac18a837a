"""An estimator of one's own, in one file beside the project file; `test_own_problem` has it learn, to a promoted model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluice.core.errors import ProjectError
from sluice.project import load

pytestmark = pytest.mark.timeout(400)
HERE = Path(__file__).parent
PROJECT = """
name: trees
task: tabular
data: {source: "sklearn://breast_cancer"}
model: {estimator: "extra_trees:ExtraTrees", n_estimators: 40}
evaluate: {minimum: 0.85}
rollout: {minimum_requests: 60}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(HERE / "extra_trees.py", tmp_path)
    (tmp_path / "sluice.yaml").write_text(PROJECT)
    return tmp_path


def test_its_settings_are_checked_by_its_own_section(folder: Path) -> None:
    with pytest.raises(ProjectError, match="did you mean 'n_estimators'"):
        load(folder / "sluice.yaml", ["model={estimator: 'extra_trees:ExtraTrees', n_estimator: 3}"])
    with pytest.raises(ProjectError, match=r"module extra_trees has no Trees"):
        load(folder / "sluice.yaml", ["model={estimator: 'extra_trees:Trees'}"])


def test_it_is_one_file_of_eighty_lines_at_most() -> None:
    assert len((HERE / "extra_trees.py").read_text().splitlines()) <= 80
