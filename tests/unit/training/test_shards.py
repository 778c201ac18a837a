"""Checkpoints that all processes write together: whole or refused, and readable by any number of processes."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from sluice.core import files
from sluice.learners.torch import shards
from sluice.learners.torch.checkpoint import Checkpoints
from sluice.learners.torch.shards import Shards
from sluice.learners.torch.stored import Stored
from sluice.learners.torch.tensorfile import write_tensors

WHOLE = {"w": torch.arange(15.0).reshape(5, 3), "one": torch.full((1, 2), 7.0), "half": torch.arange(4, dtype=torch.bfloat16)}
ALIKE = {"mean": torch.arange(4.0), "n": torch.tensor(3)}


def rows_of(rows: int, rank: int, size: int) -> tuple[int, int]:
    """The slice of torch's `chunk`, which FSDP cuts by."""
    share = -(-rows // size)
    return min(rank * share, rows), min((rank + 1) * share, rows)


def held(whole: dict[str, torch.Tensor], alike: dict[str, torch.Tensor], rank: int, size: int) -> dict[str, torch.Tensor]:
    cut = {n: t[slice(*rows_of(len(t), rank, size))] for n, t in whole.items()}
    return cut if rank else {**cut, **alike}


def group(root: Path, size: int, warnings: list[str], token: str = "aa-1", seconds: float = 20.0, mirror=None) -> list[Checkpoints]:
    """Every process's checkpoints. Only the first one may have anything to say."""
    said: list[bool] = [False]

    def told(value: bool) -> bool:
        said[0] = value
        return value

    return [
        Checkpoints(
            root,
            2,
            warnings.append if rank == 0 else pytest.fail,
            None if rank else mirror,
            Shards(rank, size, token, seconds, (lambda _: said[0]) if rank else told),
        )
        for rank in range(size)
    ]


def save(processes: list[Checkpoints], step: int, whole=WHOLE, alike=ALIKE) -> None:
    for rank, kept in enumerate(processes):
        mine = held(whole, alike, rank, len(processes))
        assert kept.save(step, mine, {f"first.{n}": t for n, t in mine.items()}, {"step": step})
    for kept in processes:
        kept.flush()


def same(stored, whole: dict[str, torch.Tensor]) -> bool:
    return stored.keys() == whole.keys() and all(torch.equal(stored[n], t) and stored[n].dtype == t.dtype for n, t in whole.items())


def names(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir())


@given(rows=st.integers(0, 9), size=st.integers(2, 6), others=st.integers(1, 6), width=st.integers(1, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_any_number_wrote_any_number_reads(tmp_path_factory, rows, size, others, width):
    whole = {**WHOLE, "x": torch.rand(rows, width)}
    processes = group(tmp_path_factory.mktemp("c") / "run", size, [])
    save(processes, 7, whole)
    loaded = processes[0].latest()
    assert loaded.progress == {"step": 7}
    assert same(loaded.model, {**whole, **ALIKE})
    for rank in range(others):
        for name, t in whole.items():
            start, stop = rows_of(len(t), rank, others)
            assert torch.equal(loaded.model.rows(name, start, stop), t[start:stop])
            assert torch.equal(loaded.optimizer.rows(f"first.{name}", start, stop), t[start:stop])
    with pytest.raises(ValueError, match="does not have the rows"):
        loaded.model.rows("x", rows, rows + 1)
    with pytest.raises(KeyError):
        loaded.model["y"]


@pytest.mark.parametrize("size", [2, 3])
def test_a_file_holds_one_processs_slices_and_the_first_what_all_have_alike(tmp_path, size):
    save(group(tmp_path / "run", size, []), 1)
    path = tmp_path / "run" / "step-000000001"
    expected = {f"{kind}-{rank:05d}-of-{size:05d}.safetensors" for kind in ("model", "optimizer") for rank in range(size)}
    assert set(names(path)) == expected | {"manifest.json"}
    manifest = files.read_json(path / "manifest.json")
    assert manifest["shards"] == size and manifest["format"] == "sluice.checkpoint/v1"
    assert manifest["files"] == {n: {"sha256": files.sha256_file(path / n), "size": (path / n).stat().st_size} for n in expected}
    for rank in range(size):
        with safe_open(path / f"model-{rank:05d}-of-{size:05d}.safetensors", framework="pt") as f:
            assert {n: f.get_tensor(n).tolist() for n in f.keys()} == {n: t.tolist() for n, t in held(WHOLE, ALIKE, rank, size).items()}  # noqa: SIM118


def test_an_unsharded_run_keeps_its_layout_and_reads_as_one(tmp_path):
    kept = Checkpoints(tmp_path / "run", 2, pytest.fail)
    kept.save(1, WHOLE, {}, {}, wait=True)
    path = tmp_path / "run" / "step-000000001"
    assert names(path) == ["manifest.json", "model.safetensors", "optimizer.safetensors"]
    assert set(files.read_json(path / "manifest.json")) == {"format", "files", "progress", "best", "digest"}
    loaded = group(tmp_path / "run", 3, [])[0].latest()
    assert same(loaded.model, WHOLE)
    assert torch.equal(loaded.model.rows("w", 2, 4), WHOLE["w"][2:4])


def test_a_process_reads_no_file_but_the_first_and_its_own(tmp_path):
    processes = group(tmp_path / "run", 3, [])
    save(processes, 1)
    path = tmp_path / "run" / "step-000000001"
    (path / "model-00001-of-00003.safetensors").unlink()
    (path / "optimizer-00000-of-00003.safetensors").write_bytes(b"")
    loaded = processes[2].read(path)
    assert torch.equal(loaded.model.rows("w", 4, 5), WHOLE["w"][4:])
    assert torch.equal(loaded.model["n"], ALIKE["n"])
    with pytest.raises(FileNotFoundError):
        loaded.model.rows("w", 2, 5)
    with pytest.raises(ValueError, match="sha256"):
        loaded.optimizer.rows("first.w", 4, 5)


@pytest.mark.parametrize(
    "damaged", ["step-000000002/model-00001-of-00003", "step-000000002/optimizer-00002-of-00003", "best-0001/model-00002-of-00003"]
)
@pytest.mark.parametrize("how", ["flip", "delete", "swap"])
def test_a_damaged_shard_means_the_checkpoint_is_refused_and_the_one_before_used(tmp_path, damaged, how):
    warnings: list[str] = []
    processes = group(tmp_path / "run", 3, warnings)
    save(processes, 1)
    for rank, kept in enumerate(processes):
        kept.best(1, held(WHOLE, ALIKE, rank, 3))
    save(processes, 2)
    file = processes[0].root / f"{damaged}.safetensors"
    data = file.read_bytes()
    if how == "delete":
        file.unlink()
    else:
        file.write_bytes(
            data[:-1] + bytes([data[-1] ^ 1])
            if how == "flip"
            else file.with_name(file.name.replace("-00001-", "-00000-").replace("-00002-", "-00001-")).read_bytes()
        )
    loaded = processes[0].latest()
    assert loaded.path.name == "step-000000001"
    assert len(warnings) == 1 and "step-000000002 is refused" in warnings[0] and file.name in warnings[0]
    save(processes, 2)
    assert same(processes[0].latest().model, {**WHOLE, **ALIKE})


def test_the_best_weights_lie_in_shards_and_stay_while_they_are_the_best(tmp_path):
    warnings: list[str] = []
    processes = group(tmp_path / "run", 2, warnings)
    for rank, kept in enumerate(processes):
        kept.best(1, held(WHOLE, ALIKE, rank, 2))
    for step in (1, 2, 3):
        save(processes, step)
    assert names(processes[0].root) == ["best-0001", "step-000000002", "step-000000003"]
    again = group(tmp_path / "run", 2, warnings, token="bb-1")
    best = again[0].latest().best
    assert same(best, {**WHOLE, **ALIKE})
    assert torch.equal(again[1].read(tmp_path / "run" / "step-000000003").best.rows("w", 3, 5), WHOLE["w"][3:])
    for step in (4, 5):
        save(again, step)
    assert same(again[0].latest().best, {**WHOLE, **ALIKE})
    for kept in again:
        kept.best(2, {"w": torch.zeros(1)})
    for step in (6, 7):
        save(again, step)
    assert names(again[0].root) == ["best-0002", "step-000000006", "step-000000007"]
    assert warnings == []


def test_what_a_killed_attempt_left_is_never_taken_for_this_ones(tmp_path):
    warnings: list[str] = []
    old = group(tmp_path / "run", 2, [], token="old-999999999")
    old[1].save(5, held(WHOLE, ALIKE, 1, 2), {}, {"step": 5}, wait=True)  # and then all are killed
    assert names(tmp_path / "run") == [".partial-step-000000005.5.old-999999999"]
    new = group(tmp_path / "run", 2, warnings, token="new-1", seconds=0.2)
    new[0].save(5, held(WHOLE, ALIKE, 0, 2), {}, {"step": 5}, wait=True)
    assert len(warnings) == 1
    assert "could NOT be written" in warnings[0] and "process 1 has not written its shard 0.2 s after the first" in warnings[0]
    assert new[0].latest() is None
    assert names(tmp_path / "run") == []


def test_a_process_that_comes_too_late_leaves_nothing_behind(tmp_path):
    warnings: list[str] = []
    processes = group(tmp_path / "run", 2, warnings, seconds=0.1)
    processes[0].save(1, held(WHOLE, ALIKE, 0, 2), {}, {}, wait=True)
    processes[1].save(1, held(WHOLE, ALIKE, 1, 2), {}, {}, wait=True)
    assert names(tmp_path / "run") == [".partial-step-000000001.1.aa-1"]
    save(processes, 2)
    assert names(tmp_path / "run") == ["step-000000002"]
    assert len(warnings) == 1


def test_best_weights_that_one_process_could_not_write_are_put_together_anew(tmp_path, monkeypatch):
    """The other process had written its part, after the first gave that up: it is of the step before and not taken for this one's."""
    warnings: list[str] = []
    first, other = group(tmp_path / "run", 2, warnings)

    def full(path: Path, tensors):
        if "best" in str(path.parent.name):
            raise OSError(28, "No space left on device")
        return write_tensors(path, tensors)

    for r, kept in enumerate((first, other)):
        kept.best(1, held(WHOLE, ALIKE, r, 2))
    with monkeypatch.context() as patched:
        patched.setattr(shards, "write_tensors", full)
        first.save(1, held(WHOLE, ALIKE, 0, 2), {}, {}, wait=True)
    other.save(1, held(WHOLE, ALIKE, 1, 2), {}, {}, wait=True)
    assert len(warnings) == 1
    changed = {n: t + 1 for n, t in WHOLE.items()}
    for r, kept in enumerate((first, other)):
        kept.best(1, held(changed, ALIKE, r, 2))
    mine, theirs = (held(WHOLE, ALIKE, r, 2) for r in (0, 1))
    first.save(2, mine, {f"first.{n}": t for n, t in mine.items()}, {"step": 2})
    time.sleep(0.3)
    assert not (tmp_path / "run" / "best-0001").exists()  # it waits for the other's part of this step
    other.save(2, theirs, {f"first.{n}": t for n, t in theirs.items()}, {"step": 2}, wait=True)
    first.flush()
    loaded = first.latest()
    assert loaded.progress == {"step": 2} and same(loaded.best, {**changed, **ALIKE})


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("what", ["step", "best"])
def test_a_full_disk_on_any_process_is_a_loud_warning_and_the_last_good_one_survives(tmp_path, monkeypatch, rank, what):
    warnings: list[str] = []
    processes = group(tmp_path / "run", 3, warnings)
    save(processes, 1)

    def full(path: Path, tensors):
        if f"-{rank:05d}-of" in path.name and what in str(path.parent.name):
            path.write_bytes(b"part")
            raise OSError(28, "No space left on device")
        return write_tensors(path, tensors)

    monkeypatch.setattr(shards, "write_tensors", full)
    for r, kept in enumerate(processes):
        kept.best(1, held(WHOLE, ALIKE, r, 3))
    save(processes, 2)
    assert len(warnings) == 1
    assert (
        "could NOT be written" in warnings[0]
        and "no space left on the device. Training goes on; the last good one is step-000000001" in warnings[0]
    )
    assert f"process {rank}" in warnings[0] or rank == 0
    assert [n for n in names(tmp_path / "run") if n.startswith("step-")] == ["step-000000001"]
    assert same(processes[0].latest().model, {**WHOLE, **ALIKE})
    monkeypatch.undo()
    save(processes, 3)
    loaded = processes[0].latest()
    assert loaded.progress == {"step": 3} and same(loaded.best, {**WHOLE, **ALIKE})
    assert names(tmp_path / "run") == ["best-0001", "step-000000001", "step-000000003"]


def test_training_does_not_wait_for_the_others_files(tmp_path, monkeypatch):
    go = threading.Event()

    def slow(path: Path, tensors):
        assert "-00000-" in path.name or go.wait(20)
        return write_tensors(path, tensors)

    monkeypatch.setattr(shards, "write_tensors", slow)
    processes = group(tmp_path / "run", 2, [])
    for rank, kept in enumerate(processes):
        assert kept.save(1, held(WHOLE, ALIKE, rank, 2), {}, {})
    assert all(kept.busy for kept in processes)
    assert not processes[0].save(2, {}, {}, {})
    go.set()
    for kept in processes:
        kept.flush()
    assert names(tmp_path / "run") == ["step-000000001"]


def test_only_the_first_process_fills_the_store_and_only_with_whole_checkpoints(tmp_path):
    class Mirror:
        pushed: list[tuple[str, list[str]]] = []
        kept: set[str] = set()

        def push(self, path: Path) -> None:
            self.pushed.append((path.name, names(path)))

        def keep(self, those: set[str]) -> None:
            self.kept = those

        def fetch(self, root: Path) -> None:
            pass

    mirror = Mirror()
    processes = group(tmp_path / "run", 2, [], mirror=mirror)
    for rank, kept in enumerate(processes):
        kept.best(1, held(WHOLE, ALIKE, rank, 2))
    save(processes, 1)
    models = [f"model-0000{r}-of-00002.safetensors" for r in range(2)]
    optimizers = [m.replace("model", "optimizer") for m in models]
    assert mirror.pushed == [("best-0001", ["manifest.json", *models]), ("step-000000001", ["manifest.json", *models, *optimizers])]
    assert mirror.kept == {"best-0001", "step-000000001"}


def test_a_tensor_is_read_when_it_is_asked_for_and_no_other(tmp_path, monkeypatch):
    save(group(tmp_path / "run", 3, []), 1)
    path = tmp_path / "run" / "step-000000001"
    read: list[str] = []
    real = Stored._tensor

    def seen(self, number: int, name: str) -> torch.Tensor:
        read.append(f"{name}@{number}")
        return real(self, number, name)

    monkeypatch.setattr(Stored, "_tensor", seen)
    stored = Stored(path, files.read_json(path / "manifest.json"), "model")
    assert list(stored) == sorted({**WHOLE, **ALIKE}) and len(stored) == 5 and read == []
    stored.rows("w", 0, 2)
    stored.rows("w", 4, 5)
    with contextlib.suppress(KeyError):
        stored["nothing"]
    assert read == ["w@0", "w@0", "w@2", "nothing@0"]
