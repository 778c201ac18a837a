"""From a file to a project of it: what `sluice init --data` finds out, and the commented sluice.yaml it writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sluice.commands.dividing import divided
from sluice.commands.draft import Draft, assumed, task_of_rows
from sluice.commands.mending import computed, judge, mend, mend_error, names_rows, nothing_left
from sluice.commands.onehot import told_in_columns
from sluice.commands.quantities import as_quantity
from sluice.commands.starter_files import divides, of_files
from sluice.commands.starter_tables import Tables, hold_out, holds_tables, tables_of
from sluice.commands.timing import lone_column, or_forecast
from sluice.core.errors import DataError, ProjectError
from sluice.data.archives import is_archive, unpacked
from sluice.data.folders import LABELS_FILE
from sluice.data.forms import format_of
from sluice.data.look import KEY, Look, looked_at
from sluice.data.prepare import validate_project_data, value_of
from sluice.data.report import listed
from sluice.data.scheme import Found
from sluice.data.writable import RESERVED
from sluice.fields import Field, field_of
from sluice.fields.text import Text
from sluice.problems.problem import DEFAULT, problem
from sluice.project import override, parse
from sluice.tasks import TASKS, Task, load_task

#: What of a project is said by an argument of its own.
_OWN = {"name": "--name NAME", "task": "--task TASK", "data.source": "--data FILE", "data.columns.label": "--label COL"}
#: Rounds of mending, at most.
_ROUNDS = 60


def draft(
    data: Path,
    folder: Path,
    *,
    name: str,
    task: str | None,
    label: str | None,
    ask: Callable[[Look], str] | None,
    said: Sequence[str] = (),
) -> Draft:
    """A project whose limits the data passes.

    Args:
        data: the file, or a folder of images.
        folder: where the project file will lie.
        task: text, image or tabular; null: what the columns say.
        label: the label's column; null: found, or asked for.
        ask: chooses a label among several; null: nobody can be asked.
        said: what a person knows of the file, ``key.path=value`` each.

    Raises:
        DataError: the file cannot be read or learnt from.
        ProjectError: the label is not said and not to be told from the columns (they are listed), or is none of them.
    """
    _check_form(data, task)
    given, where, data = str(data), Path(os.path.relpath(data.absolute(), folder.absolute())).as_posix(), data.absolute()
    if data.is_dir() and not holds_tables(data):
        return _files(_with({"name": name, "task": task or "", "data": {"source": where}}, said), data, data, folder, label)
    if is_archive(data):
        with unpacked(Found(data, given)) as inside:
            tables = sorted(p.relative_to(inside.path).as_posix() for p in inside.path.rglob("*") if format_of(p) is not None)
            if len(tables) > 1 and len(tables) == sum(p.is_file() for p in inside.path.rglob("*")):
                raise DataError(
                    "is an archive of several tables",
                    field="--data",
                    value=given,
                    fix=f"unpack it, and name one of {', '.join(tables[:5])}",
                )
            if divides(inside.path) or _known(inside.path, task) is not None:
                into = data.name.split(".")[0]
                command = (
                    f"python3 -m zipfile -e {given} {into}" if data.suffix == ".zip" else f"mkdir -p {into} && tar xf {given} -C {into}"
                )
                fix = f"unpack it: {command}\nthen: --data {into}"
                raise DataError("is an archive of a set whose folders have to be told apart", field="--data", value=given, fix=fix)
            return _files(_with({"name": name, "task": task or "", "data": {"source": where}}, said), data, inside.path, folder, label)
    return _table(tables_of(data, given, where), folder, name=name, task=task, label=label, ask=ask, said=said)


def _table(
    rows: Tables, folder: Path, *, name: str, task: str | None, label: str | None, ask: Callable[[Look], str] | None, said: Sequence[str]
) -> Draft:
    """A project of a file of rows, or of several with the same columns."""
    given = rows.given
    with looked_at(rows.first, given) as look:
        if len(look.columns) < 2:
            raise DataError(
                "has one column: nothing to learn it from",
                field=given,
                value=look.columns[0].name,
                fix=lone_column(look, given),
            )
        chosen = _label_or_none(look, label, ask, task, given)
        columns = {"columns": {} if chosen is None else {"label": chosen}}
        raw = {"name": name, "task": task or _task(look, chosen or ""), "data": {"source": rows.where, **_declared(look), **columns}}
        made = _with(raw, said, look)
        made.given = given
        as_quantity(made, look, chosen)
        made.notes += look.notes
        if label is None and chosen is not None and ask is None and chosen == look.guess() and chosen != look.label():
            made.notes.append(f"{chosen} is taken for the label: the last column, one of a few classes; --label names another")
        made.unlabelled = chosen is None
        if made.unlabelled:
            _without_labels(made, look)
        if not look.whole:
            made.notes.append(f"only the first {look.rows:,} rows were looked at; what lies behind them may not pass the checks")
        hold_out(made, rows, [c.name for c in look.columns])
        _columns(made, look, chosen)
        _settle(made, rows.source if look.whole else look.path, folder)
        made.notes = list(dict.fromkeys(_called(n, rows, look) for n in made.notes))
        made.left_out = {name: _called(why, rows, look) for name, why in made.left_out.items()}
        return made


def _called(text: str, rows: Tables, look: Look) -> str:
    """A sentence with the rows called as they were named."""
    return text.replace(str(rows.source), rows.given).replace(str(look.path), rows.given)


def _check_form(data: Path, task: str | None) -> None:
    """Raises `DataError` where a file or folder is known by its form, and read in another."""
    if (known := _known(data, task)) is not None:
        raise known


def _known(data: Path, task: str | None) -> DataError | None:
    """What is known of a file or folder by its form: by the task that was named, or by any."""
    names = TASKS.names() if task is None else [task] if task in TASKS.names() else []
    return next((known for name in names if (known := TASKS.get(name).known_as(data)) is not None), None)


def _without_labels(made: Draft, look: Look) -> None:
    """What is said, and left out, where rows have no label."""
    made.notes.append("no column of labels was found, and none is needed; --label names one")
    for c in look.columns:  # rows that are made to judge by hold such a value again: no check sees it
        if c.kind == "number" and c.distinct == look.rows and names_rows(made, c.name):
            made.left_out[c.name] = "names the row: another value in each"


def _with(raw: dict[str, Any], said: Sequence[str], look: Look | None = None) -> Draft:
    """A draft with what a person said beside it. Raises `ProjectError`: it is no setting, or an argument of its own says it."""
    for item in said:
        if own := _OWN.get(item.partition("=")[0].strip()):
            raise ProjectError("is said by an argument of its own", field="--set", value=item, fix=f"say {own}")
        override(raw, item)
    columns = raw["data"].get("columns", {})
    ignored, categories = (dict.fromkeys(columns.get(key, []), "as --set says") for key in ("ignore", "categorical"))
    return Draft(raw, look, ignored, categories)


def _label_or_none(look: Look, given: str | None, ask: Callable[[Look], str] | None, task: str | None, file: str) -> str | None:
    """As `_label`; where the task may do without, only a label that is told or beyond doubt."""
    asked = TASKS.get(task) if task is not None and task in TASKS.names() else None
    if asked is None or given is not None:
        return _label(look, given, ask, file)
    told = asked.label_in(look.columns)
    if asked.label_number:
        look = look.with_label_in("number")
    return told or look.label_of_classes() if asked.label_optional else told or _label(look, given, ask, file)


def _label(look: Look, given: str | None, ask: Callable[[Look], str] | None, file: str) -> str:
    names = [c.name for c in look.columns]
    if given is not None:
        if given not in names:
            near = next((n for n in names if n.lower() == given.lower()), None)
            raise ProjectError(
                "is no column of the file",
                field="--label",
                value=given,
                fix=(f"did you mean {near!r}? " if near else "") + f"columns: {', '.join(names[:20])}",
            )
        return given
    found = look.label()
    if found is not None:
        return found
    if ask is not None:
        return ask(look)
    guessed_label = look.guess()
    if guessed_label is not None:
        return guessed_label
    raise ProjectError(
        "which column is to be learnt cannot be told from the file",
        field="--label",
        fix=told_in_columns(look, file)
        or f"name it: --label {look.candidates()[0]}; candidates, the likeliest first: {', '.join(look.candidates()[:10])}{or_forecast(look)}"
        if look.candidates()
        else f"name one of the columns: {', '.join(names[:20])}",
    )


def _declared(look: Look) -> dict[str, Any]:
    """Settings without which the file cannot be read."""
    form = {"format": look.format} if look.format != "auto" else {}
    return {**form, **{key: getattr(look.dialect, key) for key in look.dialect.declared}}


def _task(look: Look, label: str) -> str:
    """A task for rows that are alone what files of the source hold, or what a column holds that has hardly another beside it; else for records."""
    others = [n for n in look.of("number", "category", "date") if n != label]

    def fit(value: Field | None) -> bool:
        return value is not None and any(n != label for n in look.of(value.kind)) and (value.listed or len(others) <= 1)

    return task_of_rows(fit) if any(fit(value_of(TASKS.get(t))) for t in assumed()) else task_of_rows(lambda v: v is None)


def _columns(made: Draft, look: Look, label: str | None) -> None:
    """What the look alone tells of each column."""
    columns, value = made.raw["data"]["columns"], made.value
    if value is not None:
        _value_column(made, look, label, value)
        return
    sure = next((c for c in look.columns if c.numerals is not None and c.numerals.thousands in (",", ".")), None)
    unsure = [c.name for c in look.columns if c.doubt]
    if sure is not None and sure.numerals is not None and unsure:
        written = {"decimal": sure.numerals.decimal, "thousands": sure.numerals.thousands}
        columns["numbers"] = {name: dict(written) for name in unsure}
        made.notes.append(f"{listed(unsure)} {'is' if len(unsure) == 1 else 'are'} read with {sure.numerals.words()}, as {sure.name} shows")
    for c in look.columns:
        if c.name == label:
            continue
        if c.kind == "empty":
            made.left_out[c.name] = "no row has a value"
        elif c.kind == "constant" and c.missing == 0:
            made.left_out[c.name] = f"every value is {c.example}"
        elif c.kind == KEY and c.name != made.raw.get("model", {}).get("time"):
            made.left_out[c.name] = "names the row: another value in each"
        elif field_of(c.kind, c.name).words and _reads_texts(made):
            made.texts.append(c.name)
        elif field_of(c.kind, c.name).words:
            made.left_out[c.name] = "free text, which this task does not read"
        elif c.name in RESERVED:
            made.left_out[c.name] = "a name the dataset keeps for itself: rename the column to use it"


def _value_column(made: Draft, look: Look, label: str | None, value: Field) -> None:
    """Which column the rows are read from, and what is not read; whether the label's cells hold several."""
    columns, kind, key = made.raw["data"]["columns"], Text.kind if isinstance(value, Text) else value.kind, value.setting or value.kind
    task = TASKS.get(made.raw["task"]) if made.raw["task"] in TASKS.names() else None
    if key not in columns:
        told = task.called([c.name for c in look.columns if c.name != label]) if task else {}
        columns.update(told.get("data", {}).get("columns", {}))
    if key not in columns:
        fit = [n for n in look.of(kind) if n != label] or ([n for n in look.of("key", "category") if n != label] if value.words else [])
        if not fit:
            raise DataError(
                f"has no column of {kind}s beside the label {label!r}",
                field="--data",
                value=[c.name for c in look.columns],
                fix="use --task tabular",
            )
        columns[key] = max(fit, key=lambda n: next(len(c.example) for c in look.columns if c.name == n)) if value.words else fit[0]
        if len(fit) > 1:
            made.notes.append(
                f"the {kind} is read from {columns[key]!r}; {listed([n for n in fit if n != columns[key]])} may be it too (data.columns.{key})"
            )
    beside = [c.name for c in look.columns if c.name not in (label, *columns.values()) and c.kind not in ("empty", "constant")]
    if beside and value.words and not value.listed:
        made.notes.append(
            f"read are {columns[key]!r} and {label!r} alone; not read: {listed(beside)} (--task {task_of_rows(lambda v: v is None)} reads several columns, texts among them)"
        )
    between = next((c.between for c in look.columns if c.name == label), None)
    if between and task and any(problem(p).independent for p in task.problems or ()) and "label_separator" not in columns:
        columns["label_separator"] = between
        made.notes.append(f"{label!r} is read as several labels a row, with {between!r} between them (data.columns.label_separator)")


def _reads_texts(made: Draft) -> bool:
    """Whether its task takes columns of free text."""
    return made.raw["task"] in TASKS.names() and TASKS.get(made.raw["task"]).texts


def _settle(made: Draft, path: Path, folder: Path) -> None:
    """Validate and mend until the data passes: what is looked at may be a part of the source."""
    for _ in range(_ROUNDS):
        raw = _with_columns(made)
        if any(name not in made.left_out for name in made.texts):  # what reads them, so that they are checked as texts
            raw["model"] = {**TASKS.get(raw["task"]).proposal(problem(DEFAULT), 0, texts=True)[0], **raw.get("model", {})}
        held = {"test": str(made.test)} if made.test else {}
        project = parse({**raw, "data": {**raw["data"], "source": str(path), **held}}, base_dir=folder)
        task = load_task(project, folder)
        try:
            made.report = validate_project_data(project, folder, task)
        except DataError as e:
            if e.message == "leaves no feature" and made.left_out:
                raise nothing_left(made) from e
            if not mend_error(made, e):
                raise
            continue
        if divided(made, project, folder, task) or _shown(made, task):
            continue
        mended = [mend(made, c) for c in made.report.checks if c.status != "pass"]
        if any(mended) or computed(made, project, folder, task):
            continue
        made.raw = raw
        break
    report = made.report
    if report is None or report.decision != "pass":
        reasons = report.reasons if report else ["it cannot be read"]
        raise DataError(
            f"no project of it passes its checks: {'; '.join(reasons)}", field="--data", fix="mend the rows, or write sluice.yaml by hand"
        )
    judge(made, report)


def _shown(made: Draft, task: Task) -> bool:
    """Whether the rows show settings of the model that were not there yet."""
    model = made.raw.get("model", {})
    found = {key: value for key, value in task.shown().items() if key not in model}
    for key, value in found.items():
        made.notes.append(
            f"{listed(value)} {'has' if len(value) == 1 else 'have'} values in rows after the last label (model.{key}): take out what will not be known when the model is asked"
        )
    made.raw |= {"model": {**model, **found}} if found else {}
    return bool(found)


def _with_columns(made: Draft) -> dict[str, Any]:
    columns = {**made.raw["data"].get("columns", {})}
    for key, names in (("ignore", list(made.left_out)), ("categorical", list(made.categorical))):
        columns.pop(key, None)
        if names and made.value is None:
            columns[key] = names
    data = {key: value for key, value in made.raw["data"].items() if key != "columns" or columns}
    return {**made.raw, "data": {**data, **({"columns": columns} if columns else {})}}


def _files(made: Draft, data: Path, inside: Path, folder: Path, label: str | None) -> Draft:
    """A project of files. See `starter_files.of_files`."""
    _settle(made, of_files(made, data, inside, label, lambda look: _label(look, None, None, str(inside / LABELS_FILE))), folder)
    return made
