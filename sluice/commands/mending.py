"""What `sluice init --data` changes in a project until its data passes: columns left out, limits, a metric that sees rare labels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.commands.opening import opened
from sluice.commands.timing import found_time, or_forecast
from sluice.core.errors import DataError
from sluice.data.computed import sums_to
from sluice.data.config import Split
from sluice.data.labelnames import numbers_rows
from sluice.data.prepare import load_canonical
from sluice.data.report import Check, Report, counted, listed
from sluice.fields import field_of, fields_of
from sluice.problems.problem import problem
from sluice.tasks import TASKS

if TYPE_CHECKING:
    from sluice.commands.draft import Draft

#: Why a column of JSON objects is left out.
OBJECTS = "holds objects; pandas.json_normalize makes a column of each of their parts"
#: Labels listed in the checks, at most.
_MOST_LABELS = 30
#: From so many values on a label is not guessed to be normal where it is the commonest.
_FEW_VALUES = 10
#: Where a cell stands, as errors of reading say it.
_AMONG = re.compile(r": (.+), row \d+$", re.DOTALL)
#: From this share of the rarer of two labels down, and this ratio of several, accuracy says little.
_RARE, _RATIO = 0.2, 10.0


def among_numbers(error: Exception) -> str | None:
    """The column that an error of reading says holds a text among numbers, or numbers that are not written so; null where it says something else."""
    if not isinstance(error, DataError) or not error.message.startswith("is text in a column of numbers"):
        return None
    among = _AMONG.search(error.field or "")
    return among[1] if among else None


def mend_error(made: Draft, error: DataError) -> bool:
    """Whether an error of reading could be mended."""
    field = error.field or ""
    if error.message.startswith("says neither") and 1 < len(values := re.findall(r"'([^']*)' \(", error.fix or "")) < _FEW_VALUES:
        made.raw["model"] = {**made.raw.get("model", {}), "normal": values[:1]}  # the commonest stands first
        made.notes.append(
            f"{values[0]!r} is taken for normal, as the commonest label, and what else there is for an anomaly (model.normal)"
        )
        return True
    among = _AMONG.search(field)
    if found_time(made, error):
        return True
    if among and error.value == among[1]:
        raise DataError(
            "repeats the columns' names",
            field=field.rsplit(": ", 1)[0] + f", {field.rsplit(', ', 1)[-1]}",
            value=error.value,
            fix="remove the line: tables were put together with their headers",
        )
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
        made.left_out[name] = OBJECTS if error.message.startswith("is of type struct") else error.message
        return True
    return False


def _not_finite(check: Check) -> str:
    """Why a column is left out, with where: one cell may be all that keeps a model from it."""
    also = f"; mend {'it' if check.value == 1 else 'them'} or leave the cells empty, and it can be learnt from"
    return f"holds {counted(int(check.value or 0), 'number')} no model computes with, as in {', '.join(map(str, check.examples[:2]))}{also}"


def mend(made: Draft, check: Check) -> bool:
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
            made.left_out[check.column] = _not_finite(check) if check.name == "finite" else "no row has a value"
        elif check.name == "split" and (by := data.get("split", {}).get("by")):
            made.notes.append(f"rows are not split by {by}, as {data.pop('split')['column']!r} would have it: {check.message}")
        elif check.name == "split" and (seed := re.search(r"data\.split\.seed: (\d+)", check.message)):
            data["split"] = {"seed": int(seed[1])}
    elif check.name in ("predictive", "constant"):
        for name in check.examples:
            if check.name == "predictive" and _tells_by_itself(made, name):
                continue
            made.left_out[name] = (
                "gives the label away alone: will it be known when the model is asked?" if check.name == "predictive" else "one value only"
            )
    elif check.name == "spelling" and (alike := [e for e in check.examples if " = " in e]):
        raise DataError(
            "has labels written in several ways, each of which would be a class of its own",
            field=f"label {data['columns'].get('label', 'label')}",
            value=alike[0],
            fix="write each the same way; if they are different classes, write sluice.yaml by hand",
        )
    elif check.name == "derived":
        for name in check.examples:
            made.left_out[name] = (
                "tells the label together with the others: a class of its own in a column each?"
                if "together" in check.message
                else "the label told more coarsely: will it be known when the model is asked?"
            )
    elif check.name == "identifier":
        for name in check.examples:
            if names_rows(made, name):
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


def names_rows(made: Draft, name: str) -> bool:
    """Whether a column with another value in every row is a key: not a quantity that happens to rise with the rows."""
    if name == made.raw.get("model", {}).get("time"):
        return False
    look = next((c for c in made.look.columns if c.name == name), None) if made.look else None
    return look is None or look.kind != "number" or numbers_rows(name)


def computed(made: Draft, project: Any, folder: Path, task: Any) -> bool:
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


def _validated(data: Mapping[str, Any]) -> float:
    """The share of the rows on which a threshold is chosen."""
    split = data.get("split", {})
    return float(split.get("validation", Split().validation))


def nothing_left(made: Draft) -> DataError:
    """Every column was left out: why, and what else is wrong with the rows."""
    refused = made.report.reasons if made.report and made.report.decision == "refuse" else ()
    return DataError(
        "; ".join([*refused, f"no column is left to learn from: {listed([f'{name} ({why})' for name, why in made.left_out.items()])}"]),
        field="--data",
        fix=_flat(made)
        if OBJECTS in made.left_out.values()
        else f"name another label with --label, or write sluice.yaml by hand{or_forecast(made.look)}",
    )


def _flat(made: Draft) -> str:
    """The command that makes columns of the parts of objects."""
    path = made.given or "FILE"
    code = f"import pandas as pd; pd.json_normalize({opened(path)}.to_dict('records')).to_json('flat.jsonl', orient='records', lines=True)"
    return f'make columns of their parts: python3 -c "{code}"\nthen: --data flat.jsonl'


def judge(made: Draft, report: Report) -> None:
    """Limits, and a metric that sees rare labels."""
    data, counts = made.raw["data"], report.labels
    checks: dict[str, Any] = data.setdefault("checks", {})
    checks.setdefault("rows_min", max(1, report.rows["train"] // 2))
    if counts and len(counts) <= _MOST_LABELS and (made.look is None or made.look.whole):
        checks["labels"] = sorted(counts)
    asked = problem(report.objective)
    if asked.lopsided:  # its own metric is of rare labels; where they are told, they say where the threshold lies, and not a share
        if not made.unlabelled:
            for section, found in TASKS.get(made.raw["task"]).of_labels(counts, _validated(data)).items():
                made.raw[section] = {**found, **made.raw.get(section, {})}
    elif len(counts) == 2 and min(counts.values()) < _RARE * sum(counts.values()):
        made.raw["evaluate"] = {"metric": "average_precision", "decision": {"aim": "f1"}, **made.raw.get("evaluate", {})}
    elif len(counts) > 2 and max(counts.values()) > _RATIO * min(counts.values()):
        made.raw["evaluate"] = {"metric": "balanced_accuracy", **made.raw.get("evaluate", {})}
    made.notes += [c.message for c in report.checks if c.name == "task" or (c.status == "warn" and c.name not in ("identifier", "balance"))]
    if made.raw["task"] in TASKS.names() and not made.unlabelled:  # without labels the model that needs none is the better one
        texts = any(name not in made.left_out for name in made.texts)
        model, made.proposal = TASKS.get(made.raw["task"]).proposal(asked, report.rows["train"], texts)
        model = {**model, **made.raw.get("model", {})}
        made.raw |= {"model": model} if model else {}
