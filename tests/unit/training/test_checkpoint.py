"""Checkpoints: whole or refused, and trouble with the disk never stops the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from sluice.core import files
from sluice.learners.torch import checkpoint
from sluice.learners.torch.checkpoint import Checkpoints
from sluice.learners.torch.tensorfile import write_tensors

MODEL = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "half": torch.ones(3, dtype=torch.bfloat16)}
OPTIMIZER = {"first.0": torch.full((2, 3), 0.5)}


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def kept(tmp_path, warnings):
    return Checkpoints(tmp_path / "run", keep=2, warn=warnings.append)


def save(kept: Checkpoints, step: int, shift: float = 0.0) -> None:
    assert kept.save(step, {**MODEL, "w": MODEL["w"] + shift}, OPTIMIZER, {"step": step}, wait=True)


def steps(kept: Checkpoints) -> list[str]:
    return sorted(p.name for p in kept.root.iterdir())


def test_what_was_saved_comes_back_bit_for_bit(kept, warnings):
    save(kept, 7)
    loaded = kept.latest()
    assert loaded.progress == {"step": 7}
    assert all(torch.equal(loaded.model[k], v) and loaded.model[k].dtype == v.dtype for k, v in MODEL.items())
    assert torch.equal(loaded.optimizer["first.0"], OPTIMIZER["first.0"])
    assert loaded.best is None
    assert warnings == []


def test_the_copy_is_taken_at_once(kept):
    live = MODEL["w"].clone()
    kept.save(1, {"w": live}, {}, {})
    live += 100
    kept.flush()
    assert torch.equal(kept.latest().model["w"], MODEL["w"])


def test_the_last_two_and_the_best_are_kept(kept):
    kept.best(1, {"w": torch.zeros(1)})
    for step in (1, 2, 3):
        save(kept, step)
    assert steps(kept) == ["best-0001", "step-000000002", "step-000000003"]
    assert torch.equal(kept.latest().best["w"], torch.zeros(1))
    kept.best(2, {"w": torch.ones(1)})
    save(kept, 4)
    assert steps(kept) == ["best-0001", "best-0002", "step-000000003", "step-000000004"]
    save(kept, 5)
    assert steps(kept) == ["best-0002", "step-000000004", "step-000000005"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest", "no manifest", "not json", "best"])
def test_a_damaged_newest_is_refused_and_the_one_before_used(kept, warnings, damage):
    save(kept, 1)
    kept.best(1, {"w": torch.zeros(1)})
    save(kept, 2)
    newest = kept.root / "step-000000002"
    target = newest / "model.safetensors"
    if damage == "flip":
        data = bytearray(target.read_bytes())
        data[-1] ^= 1
        target.write_bytes(data)
    elif damage == "truncate":
        target.write_bytes(target.read_bytes()[:-4])
    elif damage == "delete":
        target.unlink()
    elif damage == "manifest":
        raw = json.loads((newest / "manifest.json").read_text())
        raw["progress"]["step"] = 9
        (newest / "manifest.json").write_text(json.dumps(raw))
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    elif damage == "not json":
        (newest / "manifest.json").write_text("{")
    else:
        (kept.root / "best-0001" / "model.safetensors").unlink()
    loaded = kept.latest()
    assert loaded.path.name == "step-000000001"
    assert len(warnings) == 1
    assert "step-000000002 is refused" in warnings[0]
    kept.best(1, {"w": torch.ones(1)})
    save(kept, 2)
    assert kept.latest().path.name == "step-000000002"
    assert torch.equal(kept.latest().best["w"], torch.ones(1))


@given(at=st.integers(0, 10**9))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_flipped_byte_is_found(tmp_path_factory, at):
    kept = Checkpoints(tmp_path_factory.mktemp("c"), keep=2, warn=lambda text: None)
    save(kept, 1)
    files_there = sorted(p for p in kept.root.rglob("*") if p.is_file())
    sizes = [p.stat().st_size for p in files_there]
    at %= sum(sizes)
    for path, size in zip(files_there, sizes, strict=True):
        if at < size:
            data = bytearray(path.read_bytes())
            data[at] ^= 0x20
            path.write_bytes(data)
            break
        at -= size
    try:
        raw = files.read_json(kept.root / "step-000000001" / "manifest.json")
        same = path.name == "manifest.json" and files.digest_of({k: v for k, v in raw.items() if k != "digest"}) == raw["digest"]
    except (ValueError, KeyError, TypeError):
        same = False  # white space of the manifest is no content
    assert (kept.latest() is None) != same


def test_a_full_disk_is_a_loud_warning_and_the_last_good_one_survives(kept, warnings, monkeypatch):
    save(kept, 1)

    def full(path: Path, tensors):
        Path(path).write_bytes(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    save(kept, 2)
    assert steps(kept) == ["step-000000001"]
    assert "could NOT be written" in warnings[0]
    assert "no space left" in warnings[0]
    assert "step-000000001" in warnings[0]
    monkeypatch.undo()
    save(kept, 3)
    assert kept.latest().progress == {"step": 3}


def test_a_save_is_not_taken_while_one_is_being_written(kept, monkeypatch):
    import threading

    go = threading.Event()
    real = write_tensors

    def slow(path, tensors):
        assert go.wait(20)
        return real(path, tensors)

    monkeypatch.setattr(checkpoint, "write_tensors", slow)
    assert kept.save(1, MODEL, OPTIMIZER, {})
    assert not kept.save(2, MODEL, OPTIMIZER, {})
    go.set()
    kept.flush()
    assert steps(kept) == ["step-000000001"]


def test_tensor_files_are_safetensors_and_equal_for_equal_tensors(tmp_path):
    tensors = {
        **MODEL,
        "empty": torch.zeros(0, 3),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "strided": torch.arange(6.0).reshape(2, 3).t(),
    }
    first = write_tensors(tmp_path / "a", tensors)
    assert write_tensors(tmp_path / "b", dict(reversed(tensors.items()))) == first
    assert first == {"sha256": files.sha256_file(tmp_path / "a"), "size": (tmp_path / "a").stat().st_size}
    back = load_file(tmp_path / "a")
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in tensors.items())
    with pytest.raises(TypeError, match="safetensors has no"):
        write_tensors(tmp_path / "c", {"x": torch.zeros(1, dtype=torch.complex64)})
