"""`sluice init --data` for a task that makes its labels itself: nothing is chosen, what the task reads is checked and said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluice.core import yamlfile
from sluice.core.errors import DataError, ProjectError
from sluice.data.look import looked_at
from sluice.data.prepare import validate_project_data
from sluice.project import override, parse
from sluice.tasks import TASKS, load_task

#: Settings that name columns.
_NAMED = ("model.", "data.columns.")


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
    project = parse({**raw, "data": {**raw["data"], "source": str(data.absolute())}})  # the folder may not be there yet
    try:
        report = validate_project_data(project, folder, load_task(project, folder))
    except (DataError, ProjectError) as e:
        if not (e.field and e.field.startswith(_NAMED)):
            raise
        fix = f"{e.fix or 'name another'}; say which here: --set {e.field.split(':')[0]}=COLUMN"
        raise type(e)(e.message, field=e.field, fix=fix, **({"value": e.value} if e.has_value else {})) from e
    refused = [c.message for c in report.checks if c.status == "refuse"]
    if refused:
        raise DataError("; ".join(refused), field="--data", value=str(data), fix="mend the file, or name another task")
    notes = [c.message for c in report.checks if c.name == "task" or c.status == "warn"]
    said = [f"# Written by `{command}`; `sluice schema` lists every key.", *(f"# {' '.join(n.split())}" for n in notes)]
    return "\n".join([*said, yamlfile.dump(raw)]), notes, report.rows["train"]
