"""`sluice init --data` for a task that makes its labels itself: nothing is chosen, what the task reads is checked and said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluice.commands.mending import among_numbers
from sluice.core import yamlfile
from sluice.core.errors import DataError, ProjectError
from sluice.data.look import looked_at
from sluice.data.prepare import validate_project_data
from sluice.data.report import Report
from sluice.project import override, parse
from sluice.tasks import TASKS, load_task

#: Settings that name columns.
_NAMED = ("model.", "data.columns.")
#: Rounds of mending, at most.
_ROUNDS = 200


def draft_rows(data: Path, folder: Path, *, name: str, task: str, command: str, said: Sequence[str] = ()) -> tuple[str, list[str], int]:
    """A project whose data passes its checks.

    Args:
        data: the file.
        folder: where the project file will lie.
        name: of the project.
        task: a registered one.
        command: what is run, for the first line.
        said: what a person knows of the file, ``key.path=value`` each, such as which column is the user.

    Returns:
        The project file, what a person should know in sentences, and how many rows the task makes of the source.

    Raises:
        DataError: the file cannot be read, or must not be used.
    """
    if not data.is_file():
        raise DataError("no such file", field="--data", value=str(data), fix=f"it was looked for at {data.absolute()}")
    where = Path(os.path.relpath(data.absolute(), folder.absolute())).as_posix()
    raw: dict[str, Any] = {"name": name, "task": task, "data": {"source": where}}
    with looked_at(data.absolute(), str(data)) as look:
        if look.format != "auto":
            raw["data"]["format"] = look.format
        raw["data"] |= {key: getattr(look.dialect, key) for key in look.dialect.declared}
        for section, found in TASKS.get(task).called([c.name for c in look.columns]).items():
            raw[section] = {**raw.get(section, {}), **found}
    for item in said:
        override(raw, item)
    report, mended = _settled(raw, data, folder)
    refused = [c.message for c in report.checks if c.status == "refuse"]
    if refused:
        raise DataError("; ".join(refused), field="--data", value=str(data), fix="mend the file, or name another task")
    notes = mended + [c.message for c in report.checks if c.name == "task" or c.status == "warn"]
    said = [f"# Written by `{command}`; `sluice schema` lists every key.", *(f"# {' '.join(n.split())}" for n in notes)]
    return "\n".join([*said, yamlfile.dump(raw)]), notes, report.rows["train"]


def _settled(raw: dict[str, Any], data: Path, folder: Path) -> tuple[Report, list[str]]:
    """The checks of a project's data, and what had to be added to it for its rows to be read, in sentences. Raises as `draft_rows`."""
    notes: list[str] = []
    for _ in range(_ROUNDS):
        project = parse({**raw, "data": {**raw["data"], "source": str(data.absolute())}})  # the folder may not be there yet
        task = load_task(project, folder)
        try:
            return validate_project_data(project, folder, task), notes
        except (DataError, ProjectError) as e:
            if (note := _mended(raw, e) or type(task).mended(raw, e)) is not None:
                notes.append(note)
                continue
            if not (e.field and e.field.startswith(_NAMED)) or "--set" in (e.fix or ""):
                raise
            fix = f"{e.fix or 'name another'}; say which here: --set {e.field.split(':')[0]}=COLUMN"
            raise type(e)(e.message, field=e.field, fix=fix, **({"value": e.value} if e.has_value else {})) from e
    raise AssertionError("each round adds another setting")


def _mended(raw: dict[str, Any], error: Exception) -> str | None:
    """Names a column as one of categories where a cell among its numbers is a text: what was added, in a sentence; null where it is something else."""
    name = among_numbers(error)
    columns = raw["data"].setdefault("columns", {})
    if name is None or name in columns.get("categorical", []):
        return None
    columns["categorical"] = [*columns.get("categorical", []), name]
    return f"{name!r} is read as texts, since not all of its cells are numbers (data.columns.categorical)"
