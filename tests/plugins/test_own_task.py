"""A task in one file beside the project file, which touches nothing of ours, runs the whole line to a promoted model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tools.run import promoted

HERE = Path(__file__).parent


@pytest.mark.timeout(600)
def test_a_task_of_the_user_s_own_beside_the_project_file_is_promoted(tmp_path: Path) -> None:
    shutil.copy(HERE / "xor_task.py", tmp_path)
    lines = ["a,b,label"] + [
        f"{x / 20 - 1:.2f},{y / 20 - 1:.2f},{'same' if (x < 20) == (y < 20) else 'other'}" for x in range(40) for y in range(0, 40, 2)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    project = {
        "name": "xor",
        "task": "xor_task:Xor",
        "data": {"source": "rows.csv"},
        "model": {"hidden": 24},
        "train": {"epochs": 12, "learning_rate": 0.02, "batch_size": 32, "processes": 2},
        "evaluate": {"minimum": 0.85},
        "export": {"formats": ["fp32"]},
        "rollout": {"minimum_requests": 60},
    }
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    _, package = promoted(tmp_path)
    assert package.preprocess["kind"] == "tensor" and package.metrics["accuracy"] > 0.85


def test_it_is_one_file_of_eighty_lines_at_most_that_imports_of_torch_nothing_to_read_data() -> None:
    assert len((HERE / "xor_task.py").read_text().splitlines()) <= 80
    code = "import sys; sys.path.insert(0, sys.argv[1]); import xor_task; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(HERE)], check=True, timeout=60)
