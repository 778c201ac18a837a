"""From a file to a project of it: what `sluice init --data` finds out, and the commented sluice.yaml it writes."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice.core.errors import DataError, ProjectError
from sluice.data.archives import is_archive, unpacked
from sluice.data.computed import sums_to
from sluice.data.dataset import RESERVED
from sluice.data.filenames import guessed
from sluice.data.folders import LABELS_FILE, files_below
from sluice.data.look import Look, kind_in, looked_at
from sluice.data.prepare import load_canonical, validate_project_data, value_of
from sluice.data.report import Check, Report, listed
from sluice.data.scheme import Found
from sluice.fields import Field, field_of, fields_of
from sluice.problems.problem import DEFAULT, problem
from sluice.project import parse
from sluice.tasks import TASKS, load_task

#: Labels listed in the checks, and rounds of mending, at most.
_MOST_LABELS, _ROUNDS = 30, 60
#: From so many values on a label is not guessed to be normal where it is the commonest.
_FEW_VALUES = 10
#: From this share of the rarer of two labels down, and this ratio of several, accuracy says little.
_RARE, _RATIO = 0.2, 10.0


@dataclasses.dataclass
class Draft:
    """A project that is being written.

    Attributes:
        raw: the project file as a mapping.
        left_out: column -> why it is no feature.
        categorical: column -> why it is one of categories.
        texts: columns of free text that its task reads.
        report: the checks that the data passes with it.
        notes: what a person should know, in sentences.
        proposal: what is said of the model.
        unlabelled: whether the file has no column of labels.
        look: the file.
    """

    raw: dict[str, Any]
    look: Look | None = None
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    categorical: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: list[str] = dataclasses.field(default_factory=list)
    report: Report | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    proposal: str = ""
    unlabelled: bool = False

    def text(self, command: str) -> str:
        """The project file, commented. `command` made it."""
        from sluice.commands.starter_text import Writer

        return Writer(self).text(command)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: plain values."""
        columns = [dataclasses.asdict(c) for c in self.look.columns] if self.look else []
        return {
            "task": self.raw["task"],
            "label": self.raw["data"].get("columns", {}).get("label", None if self.unlabelled else "label"),
            "columns": columns,
            "left_out": self.left_out,
            "notes": self.notes,
            "whole": self.look.whole if self.look else True,
            "rows": self.report.rows["train"] if self.report else None,
        }


def draft(data: Path, folder: Path, *, name: str, task: str | None, label: str | None, ask: Callable[[Look], str] | None) -> Draft:
    """A project whose limits the data passes.

    Args:
        data: the file, or a folder of images.
        folder: where the project file will lie.
        task: text, image or tabular; null: what the columns say.
        label: the label's column; null: found, or asked for.
        ask: chooses a label among several; null: nobody can be asked.

    Raises:
        DataError: the file cannot be read or learnt from.
        ProjectError: the label is not said and not to be told from the columns (they are listed), or is none of them.
    """
    given, where, data = str(data), Path(os.path.relpath(data.absolute(), folder.absolute())).as_posix(), data.absolute()
    if data.is_dir():
        return _files(Draft({"name": name, "task": task or "", "data": {"source": where}}), data, data, folder, label)
    if is_archive(data):
        with unpacked(Found(data, given)) as inside:
            return _files(Draft({"name": name, "task": task or "", "data": {"source": where}}), data, inside.path, folder, label)
    if not data.is_file():
        raise DataError("no such file", field="--data", value=given, fix=f"it was looked for at {data}")
    with looked_at(data, given) as look:
        if len(look.columns) < 2:
            raise DataError(
                "has one column: nothing to learn it from",
                field=given,
                value=look.columns[0].name,
                fix="if its cells are separated by another character, save the file with commas",
            )
        chosen = _label_or_none(look, label, ask, task)
        columns = {"columns": {} if chosen is None else {"label": chosen}}
        made = Draft(
            {"name": name, "task": task or _task(look, chosen or ""), "data": {"source": where, **_declared(look), **columns}}, look
        )
        made.notes += look.notes
        made.unlabelled = chosen is None
        if made.unlabelled:
            made.notes.append("no column of labels was found, and none is needed; --label names one")
            for c in look.columns:  # rows that are made to judge by hold such a value again: no check sees it
                if c.kind == "number" and c.distinct == look.rows and _names_rows(made, c.name):
                    made.left_out[c.name] = "names the row: another value in each"
        if not look.whole:
            made.notes.append(f"only the first {look.rows:,} rows were looked at; what lies behind them may not pass the checks")
        _columns(made, look, chosen)
        _settle(made, look.path, folder)
        made.notes = list(dict.fromkeys(n.replace(str(look.path), given) for n in made.notes))
        return made


def _label_or_none(look: Look, given: str | None, ask: Callable[[Look], str] | None, task: str | None) -> str | None:
    """As `_label`; where the task may do without, only a label that is told or beyond doubt."""
    optional = task is not None and task in TASKS.names() and TASKS.get(task).label_optional
    return look.label() if optional and given is None else _label(look, given, ask)


def _label(look: Look, given: str | None, ask: Callable[[Look], str] | None) -> str:
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
    raise ProjectError(
        "which column is to be learnt cannot be told from the file",
        field="--label",
        fix=f"name it: --label {look.candidates()[0]}; candidates, the likeliest first: {', '.join(look.candidates()[:10])}"
        if look.candidates()
        else f"name one of the columns: {', '.join(names[:20])}",
    )


def _declared(look: Look) -> dict[str, Any]:
    """Settings without which the file cannot be read."""
    form = {"format": look.format} if look.format != "auto" else {}
    return {**form, **{key: getattr(look.dialect, key) for key in look.dialect.declared}}


def _of_rows(fit: Callable[[Field | None], bool]) -> str:
    """The first task that may be assumed whose rows are such a field alone, or records."""
    return next(task for task in _assumed() if fit(value_of(TASKS.get(task))))


def _assumed() -> list[str]:
    return [task for task in TASKS.names() if TASKS.get(task).assumed]


def _task(look: Look, label: str) -> str:
    """A task for rows that are alone what files of the source hold, or what a column holds that has hardly another beside it; else for records."""
    others = [n for n in look.of("number", "category", "date") if n != label]

    def fit(value: Field | None) -> bool:
        return value is not None and any(n != label for n in look.of(value.kind)) and (value.listed or len(others) <= 1)

    return _of_rows(fit) if any(fit(value_of(TASKS.get(t))) for t in _assumed()) else _of_rows(lambda v: v is None)


def _value(made: Draft) -> Field | None:
    """The field that a row is alone; None: rows are records."""
    task = made.raw["task"]
    return value_of(TASKS.get(task)) if task in TASKS.names() else None


def _columns(made: Draft, look: Look, label: str | None) -> None:
    """What the look alone tells of each column."""
    columns, value = made.raw["data"]["columns"], _value(made)
    if value is not None:
        kind = value.kind
        fit = [n for n in look.of(kind) if n != label] or ([n for n in look.of("key", "category") if n != label] if value.words else [])
        if not fit:
            raise DataError(
                f"has no column of {kind}s beside the label {label!r}",
                field="--data",
                value=[c.name for c in look.columns],
                fix="use --task tabular",
            )
        columns[kind] = max(fit, key=lambda n: next(len(c.example) for c in look.columns if c.name == n)) if value.words else fit[0]
        if len(fit) > 1:
            made.notes.append(
                f"the {kind} is read from {columns[kind]!r}; {listed([n for n in fit if n != columns[kind]])} may be it too (data.columns.{kind})"
            )
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
        elif c.kind == "key":
            made.left_out[c.name] = "names the row: another value in each"
        elif field_of(c.kind, c.name).words and _reads_texts(made):
            made.texts.append(c.name)
        elif field_of(c.kind, c.name).words:
            made.left_out[c.name] = "free text, which this task does not read"
        elif c.name in RESERVED:
            made.left_out[c.name] = "a name the dataset keeps for itself: rename the column to use it"


def _reads_texts(made: Draft) -> bool:
    """Whether its task takes columns of free text."""
    return made.raw["task"] in TASKS.names() and TASKS.get(made.raw["task"]).texts


def _settle(made: Draft, path: Path, folder: Path) -> None:
    """Validate and mend until the data passes: what is looked at may be a part of the source."""
    for _ in range(_ROUNDS):
        raw = _with_columns(made)
        if any(name not in made.left_out for name in made.texts):  # what reads them, so that they are checked as texts
            raw["model"] = TASKS.get(raw["task"]).proposal(problem(DEFAULT), 0, texts=True)[0]
        project = parse({**raw, "data": {**raw["data"], "source": str(path)}}, base_dir=folder)
        task = load_task(project, folder)
        try:
            made.report = validate_project_data(project, folder, task)
        except DataError as e:
            if e.message == "leaves no feature" and made.left_out:
                raise _nothing_left(made) from e
            if not _mend_error(made, e):
                raise
            continue
        mended = [_mend(made, c) for c in made.report.checks if c.status != "pass"]
        if any(mended) or _computed(made, project, folder, task):
            continue
        made.raw = raw
        break
    report = made.report
    if report is None or report.decision != "pass":
        reasons = report.reasons if report else ["it cannot be read"]
        raise DataError(
            f"no project of it passes its checks: {'; '.join(reasons)}", field="--data", fix="mend the rows, or write sluice.yaml by hand"
        )
    _judge(made, report)


def _nothing_left(made: Draft) -> DataError:
    """Every column was left out: why, and what else is wrong with the rows."""
    refused = made.report.reasons if made.report and made.report.decision == "refuse" else ()
    return DataError(
        "; ".join([*refused, f"no column is left to learn from: {listed([f'{name} ({why})' for name, why in made.left_out.items()])}"]),
        field="--data",
        fix="name another label with --label, or write sluice.yaml by hand",
    )


def _with_columns(made: Draft) -> dict[str, Any]:
    columns = {**made.raw["data"].get("columns", {})}
    for key, names in (("ignore", list(made.left_out)), ("categorical", list(made.categorical))):
        columns.pop(key, None)
        if names and _value(made) is None:
            columns[key] = names
    data = {key: value for key, value in made.raw["data"].items() if key != "columns" or columns}
    return {**made.raw, "data": {**data, **({"columns": columns} if columns else {})}}


def _mend_error(made: Draft, error: DataError) -> bool:
    """Whether an error of reading could be mended."""
    field = error.field or ""
    if error.message.startswith("says neither") and 1 < len(values := re.findall(r"'([^']*)' \(", error.fix or "")) < _FEW_VALUES:
        made.raw["model"] = {"normal": values[:1]}  # the commonest stands first
        made.notes.append(
            f"{values[0]!r} is taken for normal, as the commonest label, and what else there is for an anomaly (model.normal)"
        )
        return True
    among = re.search(r": (.+), row \d+$", field, re.DOTALL)
    if error.message.startswith("is text in a column of numbers") and among and among[1] not in made.categorical:
        made.categorical[among[1]] = f"numbers, but for {error.value!r} ({field.rsplit(', ', 1)[-1]})"
        return True
    if error.message.startswith("can be read as two different days") and (forms := re.findall(r'"(%[^"]+)"', error.fix or "")):
        times = made.raw["data"]["columns"].setdefault("timestamps", {})
        times[field.removeprefix("column ")] = forms[0]
        made.notes.append(
            f"{field} has days such as {error.value}, which can be read in two ways: {forms[0]} is a guess, {forms[1]} the other (data.columns.timestamps)"
        )
        return True
    if (
        error.message.startswith("is not a time in")
        and (cell := re.fullmatch(r"column (.+), row \d+", field, re.DOTALL))
        and cell[1] not in made.categorical
    ):
        made.categorical[cell[1]] = f"times, but for {error.value!r} ({field.rsplit(', ', 1)[-1]})"
        return True
    name = error.value if error.message.startswith("is a name the dataset keeps") else field.removeprefix("data.columns.features: ")
    if isinstance(name, str) and name != field and name not in made.left_out:
        made.left_out[name] = error.message
        return True
    return False


def _mend(made: Draft, check: Check) -> bool:
    """Whether what a check found was mended: by a limit that the data passes, or by leaving a column out."""
    data, rows = made.raw["data"], made.report.rows["train"] if made.report else 0
    checks: dict[str, Any] = data.setdefault("checks", {})
    before = (dict(checks), dict(made.left_out), dict(data.get("split", {})))
    if check.status == "refuse":
        if check.name == "rows" and rows:
            checks["rows_min"] = max(1, rows // 2)
        elif check.name == "label_rows":
            checks["label_rows_min"] = 1
        elif check.name == "balance" and check.value:
            checks["imbalance_max"] = float(math.ceil(2 * check.value))
        elif check.name in ("finite", "nulls") and check.column and check.column != "label" and data["columns"].get("text") is None:
            made.left_out[check.column] = "holds numbers no model computes with" if check.name == "finite" else "no row has a value"
        elif check.name == "split" and (seed := re.search(r"data\.split\.seed: (\d+)", check.message)):
            data["split"] = {"seed": int(seed[1])}
    elif check.name in ("predictive", "constant"):
        for name in check.examples:
            if check.name == "predictive" and _tells_by_itself(made, name):
                continue
            made.left_out[name] = (
                "gives the label away alone: will it be known when the model is asked?" if check.name == "predictive" else "one value only"
            )
    elif check.name == "identifier":
        for name in check.examples:
            if _names_rows(made, name):
                made.left_out[name] = (
                    "free text, which this task does not read"
                    if "free text" in check.message
                    else "names the row: another value in nearly each"
                )
    if not checks:
        data.pop("checks")
    return before != (dict(checks), dict(made.left_out), dict(data.get("split", {})))


def _tells_by_itself(made: Draft, name: str) -> bool:
    """Whether a column that tells the label alone may be what the label is about: a quantity, by which a row is unlike the others."""
    assert made.report is not None
    kinds = {c["name"]: c["type"] for c in made.report.columns}
    return problem(made.report.objective).lopsided and field_of(kinds.get(name, ""), name).quantity


def _names_rows(made: Draft, name: str) -> bool:
    """Whether a column with another value in every row is a key: not a quantity that happens to rise with the rows."""
    look = next((c for c in made.look.columns if c.name == name), None) if made.look else None
    return (
        look is None
        or look.kind != "number"
        or bool(re.search(r"(^|[^a-z])(id|key|no|nr|number|index|row|code)s?$|[a-z]I[dD]$", name, re.IGNORECASE))
    )


def _computed(made: Draft, project: Any, folder: Path, task: Any) -> bool:
    """Whether columns from which the label was computed were found, and left out."""
    if made.report is None or not problem(made.report.objective).scalar:
        return False
    table, kinds, _ = load_canonical(project, folder, task)
    found = sums_to(table, [n for n, f in fields_of(kinds).items() if f.quantity], "label")
    for name in found:
        others = [n for n in found if n != name]
        made.left_out[name] = (
            f"the label is computed from it{f' and {listed(others)}' if others else ''}: will it be known when the model is asked?"
        )
    return bool(found)


def _judge(made: Draft, report: Report) -> None:
    """Limits, and a metric that sees rare labels."""
    data, counts = made.raw["data"], report.labels
    checks: dict[str, Any] = data.setdefault("checks", {})
    checks.setdefault("rows_min", max(1, report.rows["train"] // 2))
    if counts and len(counts) <= _MOST_LABELS and (made.look is None or made.look.whole):
        checks["labels"] = sorted(counts)
    asked = problem(report.objective)
    if asked.lopsided:  # its own metric is of rare labels
        pass
    elif len(counts) == 2 and min(counts.values()) < _RARE * sum(counts.values()):
        made.raw["evaluate"] = {"metric": "average_precision", "decision": {"aim": "f1"}}
    elif len(counts) > 2 and max(counts.values()) > _RATIO * min(counts.values()):
        made.raw["evaluate"] = {"metric": "balanced_accuracy"}
    made.notes += [c.message for c in report.checks if c.name == "task" or (c.status == "warn" and c.name not in ("identifier", "balance"))]
    if made.raw["task"] in TASKS.names():
        texts = any(name not in made.left_out for name in made.texts)
        model, made.proposal = TASKS.get(made.raw["task"]).proposal(asked, report.rows["train"], texts)
        model = {**model, **made.raw.get("model", {})}
        made.raw |= {"model": model} if model else {}


def _files(made: Draft, data: Path, inside: Path, folder: Path, label: str | None) -> Draft:
    """A project of files: in a sub-folder a label, listed in a table, or with names that say their labels.

    Args:
        data: the folder, or an archive of it.
        inside: the folder.
        label: of the parts of a name, the one that is the label.
    """
    found = kind_in(inside)
    if not made.raw["task"]:
        made.raw["task"] = _of_rows(lambda v: v is not None and v.listed and found in (None, v.kind))
    value = _value(made)
    if value is None or value.files is None or found is None or field_of(found, found).files is not value.files:
        names = sorted({p.suffix for p in inside.iterdir() if p.is_file()})
        word = value.files.word if value is not None and value.files is not None else "image"
        raise DataError(
            f"is a folder without {word}s in sub-folders",
            field="--data",
            value=str(data),
            fix=f"name a file in it{f', or a glob: {data}/*{names[0]}' if names else ''}; {word}s lie in a sub-folder a label",
        )
    if not value.loose and not (inside / LABELS_FILE).is_file() and any(p.suffix.lower() in value.files.read for p in inside.iterdir()):
        _named(made, files_below(Found(inside, data.name), value.files), label)
    _settle(made, data, folder)
    return made


def _named(made: Draft, paths: list[Path], label: str | None) -> None:
    """What the names of files without labels' folders say."""
    pattern = guessed([p.stem for p in paths], label)
    if pattern is None:
        raise DataError(
            "lies in no label's folder, and names do not tell labels",
            field=paths[0].name,
            fix=f"put files into a sub-folder a label, or list files and labels in {LABELS_FILE}",
        )
    made.raw["data"]["columns"] = {"file_name": pattern}
    made.notes.append(
        f"the label is taken from the files' names, as {paths[0].name} is read by {pattern}; give parts their own names (data.columns.file_name)"
    )
    if others := [p for p in re.findall(r"{(.*?)}", pattern) if p != "label"]:
        made.notes.append(f"if rows of one {others[0]} belong together: split: {{by: group, column: {others[0]}}}")
