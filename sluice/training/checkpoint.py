"""Checkpoints: all a run needs to go on bit for bit, written whole or not at all, beside the training.

A checkpoint is a directory ``step-000001234``: ``model.safetensors`` (weights and buffers),
``optimizer.safetensors`` (its state, and the moving average's weights), and ``manifest.json``,
written last, with progress, schedule and the sha256 of every file. The best epoch's weights lie
in ``best-0007`` of the same form. Chance is a function of seed, step and rank, and so is the order
of the rows, so neither a generator's state nor the sampler's has to be kept beyond the step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sluice import files
from sluice.training.mirror import Mirror
from sluice.training.tensorfile import write_tensors

FORMAT = "sluice.checkpoint/v1"
MANIFEST = "manifest.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"

Tensors = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A verified checkpoint: tensors of each file, and what its manifest says."""

    path: Path
    model: Tensors
    optimizer: Tensors
    progress: dict[str, Any]
    best: Tensors | None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        root: the run's directory; one per configuration and data digest.
        keep: how many of the last are kept.
        warn: told what went wrong, in a sentence; training goes on.
        mirror: an object store that gets a copy of each.
    """

    def __init__(self, root: Path, keep: int, warn: Callable[[str], None], mirror: Mirror | None = None):
        self.root, self.keep, self._warn, self._mirror = root, keep, warn, mirror
        self._thread: threading.Thread | None = None
        self._buffers: dict[str, torch.Tensor] = {}
        self._best: tuple[str, Tensors] | None = None
        self._sound: set[str] = set()  # best weights on disk that this process wrote or verified
        self.last_good: str | None = None
        self.seconds_copying = 0.0

    # --- reading ---

    def latest(self) -> Loaded | None:
        """The newest checkpoint that is whole; damaged ones are named in a warning, set aside and passed over."""
        if self._mirror:
            self._mirror.fetch(self.root)
        for path in sorted(self.root.glob("step-*"), reverse=True):
            try:
                loaded = self.read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
                self._warn(f"checkpoint {path.name} is refused: {e}; the one before it is used")
                path.rename(path.with_name(f"refused-{path.name}-{secrets.token_hex(2)}"))
                continue
            self.last_good = path.name
            return loaded
        return None

    def read(self, path: Path) -> Loaded:
        """One checkpoint, verified. Raises `OSError`, `ValueError`, `KeyError`, `TypeError` or `SafetensorError` for a damaged one."""
        manifest = self._verified(path)
        best = None
        if manifest["best"] is not None:
            where = self.root / manifest["best"]
            self._verified(where)
            best = load_file(where / MODEL)
            self._best = (manifest["best"], best)
            self._sound.add(manifest["best"])
        return Loaded(path, load_file(path / MODEL), load_file(path / OPTIMIZER), manifest["progress"], best)

    def _verified(self, path: Path) -> dict[str, Any]:
        manifest: dict[str, Any] = files.read_json(path / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        if files.digest_of({k: v for k, v in manifest.items() if k != "digest"}) != manifest["digest"]:
            raise ValueError("its manifest was changed")
        for name, entry in manifest["files"].items():
            if files.sha256_file(path / name) != entry["sha256"]:
                raise ValueError(f"{name} does not have the sha256 its manifest gives")
        return manifest

    # --- writing ---

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def save(self, step: int, model: Tensors, optimizer: Tensors, progress: dict[str, Any], *, wait: bool = False) -> bool:
        """Copy the state and write it from a thread; the step pays only for the copy.

        Args:
            step: optimiser steps done.
            model, optimizer: the live tensors.
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
        copy = {"model": self._copied("model", model), "optimizer": self._copied("optimizer", optimizer)}
        self.seconds_copying += time.perf_counter() - start
        best = self._best
        self._start(lambda: self._write_step(step, copy["model"], copy["optimizer"], progress, best), f"checkpoint of step {step}")
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
                why = "no space left on the device" if e.errno in (errno.ENOSPC, errno.EDQUOT) else e.strerror or str(e)
                self._warn(f"{what} could NOT be written to {self.root}: {why}. Training goes on; the last good one is {self.last_good or 'none'}")
                self._clean_partials()

        self._thread = threading.Thread(target=run, name="checkpoint", daemon=True)
        self._thread.start()

    def _write_step(self, step: int, model: Tensors, optimizer: Tensors, progress: dict[str, Any], best: tuple[str, Tensors] | None) -> None:
        if best is not None and best[0] not in self._sound:
            self._publish(best[0], {MODEL: best[1]}, {})
            self._sound.add(best[0])
            if self._mirror:
                self._mirror.push(self.root / best[0])
        name = f"step-{step:09d}"
        self._publish(name, {MODEL: model, OPTIMIZER: optimizer}, {"progress": progress, "best": best[0] if best else None})
        self.last_good = name
        if self._mirror:
            self._mirror.push(self.root / name)
        self._prune()
        if self._mirror:
            self._mirror.keep({p.name for kind in ("step-*", "best-*") for p in self.root.glob(kind)})

    def _publish(self, name: str, contents: dict[str, Tensors], fields: dict[str, Any]) -> None:
        target = self.root / name
        with files.new_dir(target) as tmp:
            listed = {file: write_tensors(tmp / file, tensors) for file, tensors in contents.items()}
            manifest = {"format": FORMAT, "files": listed, **fields}
            files.write_json(tmp / MANIFEST, {**manifest, "digest": files.digest_of(manifest)})

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
