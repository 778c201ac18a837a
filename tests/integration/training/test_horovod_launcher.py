"""`train.launcher: horovod` without the package, with a command that keeps to horovodrun's contract, and with horovodrun itself where it is."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sluice.core.errors import MissingExtra, ProjectError
from sluice.learners.fit import fit
from sluice.learners.torch import horovod

HERE = Path(__file__).parent

#: Starts processes as `horovodrun -np N COMMAND` does: ranks in HOROVOD_*, no inherited descriptors.
RUN = f"""#!{sys.executable}
import os, subprocess, sys
assert sys.argv[1] == "-np"
size = int(sys.argv[2])
started = [subprocess.Popen(sys.argv[3:], env={{**os.environ, "HOROVOD_RANK": str(r), "HOROVOD_LOCAL_RANK": str(r), "HOROVOD_SIZE": str(size),
                                               "HOROVOD_LOCAL_SIZE": str(size)}}) for r in range(size)]
sys.exit(max(p.wait() for p in started))
"""


REAL = importlib.util.find_spec("horovod") is not None and shutil.which("horovodrun") is not None


@pytest.mark.skipif(REAL, reason="horovod is installed")
def test_without_the_package_the_error_says_so_before_anything_is_trained(points, project, tmp_path):
    with pytest.raises(MissingExtra, match=r"train.launcher: needs the package horovod") as e:
        fit(project(launcher="horovod"), points, tmp_path / "out", base_dir=HERE)
    assert e.value.exit_code == 2 and "train.launcher: torchrun" in str(e.value)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    run = tmp_path / "bin" / "horovodrun"
    run.write_text(RUN)
    run.chmod(0o755)
    package = types.ModuleType("horovod")
    package.__spec__ = ModuleSpec("horovod", None)
    monkeypatch.setitem(sys.modules, "horovod", package)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")


def test_its_processes_train_the_same_model(points, project, tmp_path, installed):
    trains_the_same_model(points, project, tmp_path)


@pytest.mark.skipif(not REAL, reason="no horovod here: it has no wheels, and 0.28.1 is built against PyTorch by hand")
def test_horovodruns_own_processes_train_the_same_model(points, project, tmp_path):
    trains_the_same_model(points, project, tmp_path)


def trains_the_same_model(points, project, tmp_path):
    told = []
    made = fit(project(processes=2, epochs=2, launcher="horovod"), points, tmp_path / "out", base_dir=HERE, on_event=told.append)
    assert made.record["world_size"] == 2 and [h["step"] for h in made.history] == [10, 20]
    assert sum(e["kind"] == "epoch" for e in told) == 2
    usual = fit(project(processes=2, epochs=2), points, tmp_path / "usual", base_dir=HERE)
    assert (made.root / "model.safetensors").read_bytes() == (usual.root / "model.safetensors").read_bytes()


def test_more_than_a_machine_is_refused(project, installed):
    with pytest.raises(ProjectError, match="starts the processes of one machine"):
        horovod.check(project(launcher="horovod", nodes=2).train)
