"""Tasks: what kind of learning a project does. Built in: text, image, tabular; your own by ``module:Class``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.errors import ProjectError
from sluice.tasks.base import State, Task

if TYPE_CHECKING:
    from sluice.project import Project

__all__ = ["State", "Task", "load_task"]


def load_task(project: Project, base_dir: Path | None = None) -> Task:
    """The task a project names.

    Args:
        project: the project.
        base_dir: the project file's folder: relative paths start there, and a task of the
            user's own may lie in a module beside it.

    Raises:
        ProjectError: unknown, not importable, or not a `Task`.
    """
    from sluice.project import import_task

    kind = import_task(project.task, base_dir)
    if not issubclass(kind, Task):
        raise ProjectError(
            "does not derive from sluice.tasks.base.Task", field="task", value=project.task, fix=f"class {kind.__name__}(Task): ..."
        )
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise ProjectError(f"does not define {', '.join(missing)}", field="task", value=project.task, fix=f"define them in {kind.__name__}")
    return kind(project, base_dir)  # type: ignore[no-any-return]
