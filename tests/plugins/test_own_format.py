"""A format in one file beside the project file, which touches nothing of ours; `test_together` has it proven, packaged, served and promoted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluice.core.errors import ProjectError
from sluice.project import parse

HERE = Path(__file__).parent
PROJECT = {
    "name": "digits",
    "task": "image",
    "data": {"source": "sklearn://digits"},
    "model": {"channels": 1, "size": [8, 8], "width": 8, "augment": False},
    "train": {"epochs": 5, "learning_rate": 0.004},
    "evaluate": {"minimum": 0.8},
    "export": {"formats": ["fp32", "bf16_format:Bf16Weights"], "max_loss": 0.02},
    "rollout": {"minimum_requests": 60},
}


def test_it_is_one_file_of_eighty_lines_at_most() -> None:
    assert len((HERE / "bf16_format.py").read_text().splitlines()) <= 80


def test_a_format_that_is_not_there_is_found_out_before_anything_is_trained(tmp_path: Path) -> None:
    shutil.copy(HERE / "bf16_format.py", tmp_path)
    with pytest.raises(ProjectError, match="no Bf16Wights") as e:
        parse({**PROJECT, "export": {"formats": ["bf16_format:Bf16Wights"]}}, base_dir=tmp_path)
    assert e.value.field == "export.formats"
