"""Checkpoints: all a run needs to go on bit for bit, written whole or not at all, beside the training.

A checkpoint is a directory ``step-000001234``: ``model.safetensors`` (weights and buffers),
``optimizer.safetensors`` (its state, and the moving average's weights), and ``manifest.json``,
written last, with progress, schedule and the sha256 of every file. The best epoch's weights lie
in ``best-0007`` of the same form. Where the model is sharded over W processes, each of them writes
what it holds: ``model-00000-of-0000W.safetensors`` and so on, one beside the other (`stored.Stored`
reads both forms), and the manifest has ``shards``. Chance is a function of seed, step and rank, and so is the order
of the rows, so neither a generator's state nor the sampler's has to be kept beyond the step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from sluice.core import files
from sluice.learners.torch.mirror import Mirror
from sluice.learners.torch.shards import Shards, reason
from sluice.learners.torch.stored import Stored, file_of
from sluice.learners.torch.tensorfile import write_tensors

FORMAT = "sluice.checkpoint/v1"
MANIFEST = "manifest.json"
MODEL, OPTIMIZER = "model", "optimizer"

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A checkpoint: its tensors, verified before they are read, and what its manifest says."""

    path: Path
    model: Stored
    optimizer: Stored
    progress: dict[str, Any]
    best: Stored | None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        root: the run's directory; one per configuration and data digest.
        keep: how many of the last are kept.
        warn: told what went wrong, in a sentence; training goes on.
        mirror: an object store that gets a copy of each.
        shards: the processes that write them together; all of these call `save` and `best` alike, with what each holds.
    """

    def __init__(self, root: Path, keep: int, warn: Callable[[str], None], mirror: Mirror | None = None, shards: Shards | None = None):
        self.root, self.keep, self._warn, self._mirror, self._shards = root, keep, warn, mirror, shards
        self._first = shards is None or shards.first
        self._thread: threading.Thread | None = None
        self._buffers: dict[str, torch.Tensor] = {}
        self._best: tuple[str, Tensors] | None = None
        self._sound: set[str] = set()  # best weights on disk that this process wrote or verified
        self.last_good: str | None = None
        self.seconds_copying = 0.0

    # --- reading ---

    def latest(self) -> Loaded | None:
        """The newest checkpoint that is whole, every byte of it; damaged ones are named in a warning, set aside and passed over."""
        files.sweep_partials(self.root)
        if self._mirror:
            self._mirror.fetch(self.root)
        for path in sorted(self.root.glob("step-*"), reverse=True):
            try:
                loaded = self._opened(path)
                for stored in (loaded.model, loaded.optimizer, *([loaded.best] if loaded.best else [])):
                    stored.verify()
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
                self._warn(f"checkpoint {path.name} is refused: {e}; the one before it is used")
                path.rename(path.with_name(f"refused-{path.name}-{secrets.token_hex(2)}"))
                continue
            self.last_good = path.name
            return self._adopted(loaded)
        return None

    def read(self, path: Path) -> Loaded:
        """One that another process found whole. Raises `OSError`, `ValueError`, `KeyError` or `TypeError` if it is damaged."""
        return self._adopted(self._opened(path))

    def _adopted(self, loaded: Loaded) -> Loaded:
        if loaded.best is not None:
            self._best = (loaded.best.path.name, {})  # it is on the disk, and not written again
            self._sound.add(loaded.best.path.name)
        return loaded

    def _opened(self, path: Path) -> Loaded:
        manifest = _manifest(path)
        where = self.root / manifest["best"] if manifest["best"] is not None else None
        best = Stored(where, _manifest(where), MODEL) if where else None
        return Loaded(path, Stored(path, manifest, MODEL), Stored(path, manifest, OPTIMIZER), manifest["progress"], best)

    # --- writing ---

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, step: int, model: Tensors, optimizer: Tensors, progress: dict[str, Any], *, wait: bool = False) -> bool:
        """Copy the state and write it from a thread; the step pays only for the copy.

        Args:
            step: optimiser steps done.
            model, optimizer: the live tensors; of shards, this process's slices, and on the first process what all have alike.
            progress: plain JSON values.
            wait: do not return before it is written.

        Returns:
            Whether it was taken: not while the one before is still being written, unless `wait`.
        """
        if self.busy:
            if not wait:
                return False
            self.flush()
        start = time.perf_counter()
        copy = {MODEL: self._copied(MODEL, model), OPTIMIZER: self._copied(OPTIMIZER, optimizer)}
        self.seconds_copying += time.perf_counter() - start
        best = self._best
        new = best is not None and best[0] not in self._sound
        if self._shards:
            new = self._shards.told(new)  # only the first process knows whether all of it came to lie on the disk
        self._start(lambda: self._write_step(step, copy, progress, best, new), f"checkpoint of step {step}")
        if wait:
            self.flush()
        return True

    def best(self, epoch: int, weights: Tensors) -> None:
        """Name the best epoch's weights, which the caller no longer changes. They are written with the next checkpoint."""
        self._best = (f"best-{epoch:04d}", weights)
        self._sound.discard(self._best[0])

    def flush(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def remove(self) -> None:
        """Delete the run's checkpoints: the model they were for is written."""
        self.flush()
        shutil.rmtree(self.root, ignore_errors=True)

    def _copied(self, kind: str, tensors: Tensors) -> Tensors:
        """Copies on the CPU, in the same memory each time: no writer is at work when this is called."""
        out = {}
        for name, t in tensors.items():
            key = f"{kind}/{name}"
            buffer = self._buffers.get(key)
            if buffer is None or buffer.shape != t.shape or buffer.dtype != t.dtype:
                buffer = self._buffers[key] = torch.empty_like(t, device="cpu", memory_format=torch.contiguous_format, requires_grad=False)
            out[name] = buffer.copy_(t.detach())
        return out

    def _start(self, work: Callable[[], None], what: str) -> None:
        def run() -> None:
            try:
                work()
            except OSError as e:
                if not self._first:
                    return  # it has told the first process
                self._warn(
                    f"{what} could NOT be written to {self.root}: {reason(e)}. Training goes on; the last good one is {self.last_good or 'none'}"
                )
                self._clean_partials()

        self._thread = threading.Thread(target=run, name="checkpoint", daemon=True)
        self._thread.start()

    def _write_step(
        self, step: int, state: dict[str, Tensors], progress: dict[str, Any], best: tuple[str, Tensors] | None, new: bool
    ) -> None:
        name = f"step-{step:09d}"
        if self._shards and self._first:
            self._shards.clear(self.root, step)
        if best is not None and new:
            self._publish(step, best[0], {MODEL: best[1]}, {})
            self._sound.add(best[0])
            if self._mirror:
                self._mirror.push(self.root / best[0])
        self._publish(step, name, state, {"progress": progress, "best": best[0] if best else None})
        if not self._first:
            return
        self.last_good = name
        if self._mirror:
            self._mirror.push(self.root / name)
        self._prune()
        if self._mirror:
            self._mirror.keep({p.name for kind in ("step-*", "best-*") for p in self.root.glob(kind)})

    def _publish(self, step: int, name: str, contents: dict[str, Tensors], fields: dict[str, Any]) -> None:
        target = self.root / name
        if self._shards is None:
            with files.new_dir(target) as tmp:
                _write_manifest(
                    tmp, {file_of(kind): write_tensors(tmp / file_of(kind), tensors) for kind, tensors in contents.items()}, fields
                )
            return
        partial = self._shards.partial(target, step)
        listed = self._shards.write(partial, contents)
        if self._first:
            _write_manifest(partial, listed, {"shards": self._shards.size, **fields})
            files.put_dir(partial, target)

    def _prune(self) -> None:
        steps = sorted(self.root.glob("step-*"))
        for old in steps[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        used = {self._best[0]} if self._best else set()
        for path in steps[-self.keep :]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                used.add(files.read_json(path / MANIFEST)["best"])
        for path in self.root.glob("best-*"):
            if path.name not in used:
                shutil.rmtree(path, ignore_errors=True)

    def _clean_partials(self) -> None:
        for path in self.root.glob(f"{files.PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)


def _write_manifest(path: Path, listed: dict[str, Any], fields: dict[str, Any]) -> None:
    manifest = {"format": FORMAT, "files": listed, **fields}
    files.write_json(path / MANIFEST, {**manifest, "digest": files.digest_of(manifest)})


def _manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = files.read_json(path / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"format is not {FORMAT}")
    if files.digest_of({k: v for k, v in manifest.items() if k != "digest"}) != manifest["digest"]:
        raise ValueError("its manifest was changed")
    return manifest
