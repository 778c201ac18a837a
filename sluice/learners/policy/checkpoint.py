"""A checkpoint after a part of the steps: tensors and JSON, written whole or not at all."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core import files

_TENSORS, _PROGRESS = "state.safetensors", "progress.json"


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Of one run: the last part's, beside the best policy so far.

    Attributes:
        root: the run's own directory; None: nothing is kept.
    """

    root: Path | None

    def save(self, part: int, progress: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        """Keep a part's, and no other's. Raises `OSError`."""
        if self.root is None:
            return
        from safetensors.numpy import save

        self.root.mkdir(parents=True, exist_ok=True)
        with files.new_dir(self.root / f"part-{part:05d}") as tmp:
            files.write_bytes(tmp / _TENSORS, save(tensors))
            files.write_json(tmp / _PROGRESS, progress | {"sha256": files.sha256_file(tmp / _TENSORS)})
        for old in self._all()[:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The last that is whole and what it was when it was written; None where there is none."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        for path in reversed(self._all()):
            try:
                progress = files.read_json(path / _PROGRESS)
                if files.sha256_file(path / _TENSORS) == progress["sha256"]:
                    return progress, load((path / _TENSORS).read_bytes())
            except (OSError, ValueError, KeyError, SafetensorError):
                continue
        return None

    def forget(self) -> None:
        """Delete all of the run's."""
        if self.root is not None:
            shutil.rmtree(self.root, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(self.root.glob("part-*")) if self.root is not None and self.root.is_dir() else []
