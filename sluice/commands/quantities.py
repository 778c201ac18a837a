"""Whether a label of whole numbers tells classes or a quantity, as `sluice init --data` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.data.prepare import value_of
from sluice.problems.problem import built_in
from sluice.tasks import TASKS

if TYPE_CHECKING:
    from sluice.commands.draft import Draft
    from sluice.data.look import Look

#: Whole numbers of so many values, up to what the task takes for classes, may be a quantity.
_SEVERAL, _CLASSES = 6, 20


def as_quantity(made: Draft, look: Look, label: str | None) -> None:
    """A label of whole numbers, of few values but hardly one twice, is a quantity; one of several values may be, which is told."""
    column = next((c for c in look.columns if c.name == label), None)
    task = TASKS.get(made.raw["task"]) if made.raw["task"] in TASKS.names() else None
    if column is None or task is None or not task.assumed or value_of(task) is not None or not column.counts:
        return
    quantity = built_in(classes=False).name
    if 2 < column.distinct > (1 - column.missing) * look.rows / 2:
        made.raw["model"] = {"objective": quantity, **made.raw.get("model", {})}
    elif _SEVERAL <= column.distinct <= _CLASSES and "objective" not in made.raw.get("model", {}):
        made.notes.append(
            f"each of the {column.distinct} values of {label!r} is a class of its own; to learn a quantity: --set model.objective={quantity}"
        )
