"""A project learnt, and a learnt project opened: by whichever learner its task names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.learners.base import Event, Job, Trained
from sluice.tasks import load_task

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.project import Project


def fit(
    project: Project,
    dataset: Dataset,
    out: Path,
    *,
    base_dir: Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    checkpoints: Path | None = None,
) -> Trained:
    """Learn on this machine. Equal project, data and seed give the same model, interrupted or not.

    Args:
        project: the project.
        dataset: its data.
        out: directory to make, whole or not at all.
        base_dir: where relative paths in the project start; null: the working directory.
        on_event: told of progress: ``{"kind": "step" | "epoch" | "note" | "warning" | "stack", ...}``.
        checkpoints: directory that outlives this call; a run of the same settings and data that was interrupted goes on
            from there, where the learner can, and deletes what is there when it is done.

    Raises:
        ProjectError, DataError: settings or rows that cannot be learnt from.
        NonFiniteError, TrainingError, ProcessDied: as the learner says.
    """
    return load_task(project, base_dir).learner().fit(Job(dataset, Path(out), on_event or (lambda event: None), checkpoints))


def load_trained(project: Project, root: Path, base_dir: Path | None = None) -> Trained:
    """What `fit` left in a directory.

    Raises:
        ProjectError: the project's settings do not build this model.
        DataError: not a directory that `fit` made.
    """
    return load_task(project, base_dir).learner().load(Path(root))
