"""Tasks: what kind of learning a project does. Built in: text, image, tabular; your own by ``module:Class``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from sluice.core.errors import ProjectError
from sluice.core.registry import findable
from sluice.learners.state import State
from sluice.tasks.base import TASKS, Task

if TYPE_CHECKING:
    from sluice.project import Project

__all__ = ["TASKS", "State", "Task", "import_task", "load_task", "section_of", "settled"]


def import_task(task: str, base_dir: Path | None = None) -> Any:
    """The class of a task by its name; a user's ``module:Class`` may lie beside the project file. Raises `ProjectError`."""
    found = TASKS.get(task, field="task", beside=base_dir)
    if not (isinstance(found, type) and issubclass(getattr(found, "Model", object), BaseModel)):
        raise ProjectError(
            "is not a task class", field="task", value=task, fix="derive it from sluice.tasks.base.Task and give it a Model section"
        )
    return found


def section_of(kind: Any, written: Any, base_dir: Path | None = None) -> type[BaseModel]:
    """The class that checks a task's ``model:`` as it was written. Raises `ProjectError`: it names what is not there."""
    choose = getattr(kind, "section", None)
    return choose(written, base_dir) if choose is not None and isinstance(written, Mapping) else kind.Model  # type: ignore[no-any-return]


def settled(kind: Any, project: Mapping[str, Any]) -> Any:
    """``model:`` of a project as it was written, with what it leaves open filled in (`Task.settled`)."""
    fill = getattr(kind, "settled", None)
    return fill(project) if fill is not None else project.get("model") or {}


def load_task(project: Project, base_dir: Path | None = None) -> Task:
    """The task a project names.

    Args:
        project: the project.
        base_dir: the project file's folder: relative paths start there, and a task of the
            user's own may lie in a module beside it.

    Raises:
        ProjectError: unknown, not importable, or not a `Task`.
    """
    if base_dir is not None:
        findable(base_dir)
    kind = import_task(project.task, base_dir)
    if not issubclass(kind, Task):
        raise ProjectError(
            "does not derive from sluice.tasks.base.Task", field="task", value=project.task, fix=f"class {kind.__name__}(Task): ..."
        )
    _refuse_passed_over(kind, project.task)
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise ProjectError(f"does not define {', '.join(missing)}", field="task", value=project.task, fix=f"define them in {kind.__name__}")
    return kind(project, base_dir)  # type: ignore[no-any-return]


#: What tells a network: methods of a task until tasks became declarations, which would be passed over in silence now.
_OF_A_NETWORK = ("fit", "build", "start", "adapt", "tensors", "targets", "augment", "loss", "serving_module", "graph", "finish_graph")


def _refuse_passed_over(kind: type[Task], name: str) -> None:
    """A task that defines a network's methods has to be a network. Raises `ProjectError`."""
    found = [n for n in _OF_A_NETWORK if hasattr(kind, n)]
    if not found:
        return
    from sluice.learners.torch.network import Network

    if issubclass(kind, Network):
        return
    if getattr(kind, "network", None) is not None:
        fix = f"move them to a class derived from the one that {kind.__name__}.network names, and name that: network = MyNetwork"
    else:
        fix = f"from sluice.learners.torch.task import TorchTask; class {kind.__name__}(TorchTask): ..."
    raise ProjectError(
        f"defines {', '.join(f'{n}()' for n in found)}, which the torch learner looks for in a task's network",
        field="task",
        value=name,
        fix=fix,
    )
