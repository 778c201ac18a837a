"""A task and its network in one class: the shortest way to learn something of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluice.learners.torch.network import Network
from sluice.tasks.base import Task

if TYPE_CHECKING:
    from sluice.project import Project


class TorchTask(Task, Network):
    """A task that the torch learner learns by the task's own methods: `kinds`, `canonical`, `fit` and `build` are what it must bring.

    Args:
        project: the project; `project.model` is an instance of `Model`.
        base_dir: where relative paths in the project file start; null: the working directory.
    """

    def __init__(self, project: Project, base_dir: Path | None = None):
        Task.__init__(self, project, base_dir)
        self.task = self
