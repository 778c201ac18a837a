"""A format in one file beside the project file, which touches nothing of ours, is proven, packaged, served and promoted."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
import yaml

from sluice.core.datatypes import EngineSpec
from sluice.core.errors import ProjectError
from sluice.project import parse
from tests.tools.run import promoted

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


@pytest.mark.timeout(600)
def test_a_format_of_the_user_s_own_is_the_one_that_is_promoted(tmp_path: Path) -> None:
    shutil.copy(HERE / "bf16_format.py", tmp_path)
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(PROJECT))
    _, package = promoted(tmp_path)
    assert (package.precision, package.engine) == ("bf16-weights", EngineSpec("onnxruntime"))
    assert package.provenance["export"]["agreement"] > 0.98
    kinds = {t.data_type for t in onnx.load(package.model).graph.initializer if len(t.dims) > 1}
    assert onnx.TensorProto.BFLOAT16 in kinds


def test_it_is_one_file_of_eighty_lines_at_most() -> None:
    assert len((HERE / "bf16_format.py").read_text().splitlines()) <= 80


def test_a_format_that_is_not_there_is_found_out_before_anything_is_trained(tmp_path: Path) -> None:
    shutil.copy(HERE / "bf16_format.py", tmp_path)
    with pytest.raises(ProjectError, match="no Bf16Wights") as e:
        parse({**PROJECT, "export": {"formats": ["bf16_format:Bf16Wights"]}}, base_dir=tmp_path)
    assert e.value.field == "export.formats"
