"""Weights & Biases beside the first tracker."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.tracker import Data, Needs, flatten


class WandbTracker:
    """Weights & Biases; offline (files under the home) unless ``WANDB_MODE`` or ``WANDB_API_KEY`` says otherwise."""

    needs = Needs("wandb", "wandb")

    @classmethod
    def open(cls, project: Project, home: Home, name: str) -> WandbTracker:
        """See `Beside.open`."""
        return cls(home.root / "wandb", project.name, name)

    def __init__(self, folder: Path, project: str, name: str):
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        self._run = wandb.init(
            project=project, name=name, id=name, resume="allow", dir=str(folder), mode=mode, settings=wandb.Settings(silent=True)
        )  # type: ignore[arg-type]
        self.run_id: str | None = self._run.id

    def params(self, values: dict[str, Any]) -> None:
        """Put them into the run's configuration, nested ones under dotted names."""
        self._run.config.update(flatten(values), allow_val_change=True)

    def tags(self, values: dict[str, str]) -> None:
        """Put them into the run's configuration as ``tag.NAME``."""
        self._run.config.update({f"tag.{k}": v for k, v in values.items()}, allow_val_change=True)

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Log metrics of one step; None is left out."""
        self._run.log({**{k: v for k, v in values.items() if v is not None}, "step": step})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Store a file, or a whole folder; `folder` is the service's own to choose."""
        self._run.save(str(path), base_path=str(path.parent), policy="now")

    def dataset(self, data: Data) -> None:
        """Put source and digest into the run's configuration."""
        self._run.config.update({"dataset": data.source, "dataset.digest": data.digest}, allow_val_change=True)

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        """W&B keeps one run a process: the child's curves lie in it under the child's name."""
        self._run.config.update({f"{name}.{k}": v for k, v in tags.items()}, allow_val_change=True)
        for step, values in points:
            self._run.log({f"{name}/step": step, **{f"{name}/{k}": v for k, v in values.items()}})

    def finish(self, status: str = "FINISHED") -> None:
        """End the run: exit status 0 where it finished, else 1."""
        self._run.finish(exit_code=0 if status == "FINISHED" else 1)
