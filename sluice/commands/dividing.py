"""How `sluice init --data` has rows held out: whole persons where rows by chance would measure memory; and what it says where time would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.commands.timing import forecasts
from sluice.data.checks.leaks import FEWEST, floats
from sluice.data.prepare import load_canonical, value_of
from sluice.data.report import percent
from sluice.fields import Field, fields_of
from sluice.fields.summaries import encoded
from sluice.problems.problem import problem
from sluice.tasks import TASKS
from sluice.tasks.roles import plain
from sluice.tasks.timecolumns import TIMES

if TYPE_CHECKING:
    from sluice.commands.draft import Draft

#: Words for whom rows are of; the second ones may count something too, so that they need a word such as id behind them.
_WHOM = frozenset(
    {"animal", "client", "customer", "employee", "individual", "participant", "patient", "person", "player", "pupil", "respondent", "student", "subject", "user"}
)  # fmt: skip
_WHOSE = frozenset(
    {"account", "case", "child", "dog", "driver", "family", "household", "member", "mouse", "owner", "rat", "session", "visitor", "worker"}
)
_NAMED = frozenset({"code", "id", "name", "no", "nr", "number", "uid", "uuid"})
_SHORT = frozenset({"id", "pid", "uid", "subj", "subjid", "patid", "ptid", "personid", "caseid", "idno", "userid", "customerid"})
#: At least so many of them, with so many rows each on average.
_FEWEST_GROUPS, _ROWS = 10, 1.5
#: From this on a label goes on from row to row in time: a correlation of a row with its neighbours' mean, or what the row before settles.
_GOES_ON = 0.5
#: Years a number may be.
_YEARS = (1500, 2200)


def divided(made: Draft, project: Any, folder: Path, task: Any) -> bool:
    """Whether a way to hold out rows was found that the rows need; it is looked for once.

    Of time it is only told: held out, the newest rows are also not learnt from, which a model that fills gaps pays for.
    """
    data = made.raw["data"]
    if made.divided or made.report is None or made.look is None or "split" in data or made.unlabelled:
        return False
    made.divided = True
    asked = problem(made.report.objective)
    if not TASKS.get(made.raw["task"]).assumed or value_of(task) is not None or not {"group", "time"} <= set(asked.splits):
        return False
    table, kinds, _ = load_canonical(project, folder, task)
    fields = fields_of(kinds)
    if (whom := _of_whom(table, fields)) is not None:
        name, groups = whom
        data["split"] = {"by": "group", "column": name}
        made.left_out[name] = "names whom a row is of: those held out are others than those learnt from"
        made.notes.append(
            f"whole groups are held out by {name!r}, of which there are {groups:,} in {table.num_rows:,} rows, so that no row is judged by another of the same; "
            "if the model will be asked about those it has seen, remove data.split"
        )
        return True
    if table.num_rows < FEWEST or not (asked.classes or asked.scalar):
        return False
    scores = {name: _goes_on(at, table.column("label"), asked.classes) for name, at in _times(table, fields).items()}
    name = max(scores, key=lambda n: scores[n], default="")
    if scores.get(name, 0) < _GOES_ON:
        return False
    made.notes.append(
        f"rows are held out by chance, and the label goes on from row to row by {name!r} ({percent(scores[name])}), so that their neighbours tell them: right for "
        f"a model that fills gaps; one that is asked about days to come is judged on the newest rows by data.split: {{by: time, column: {name}}}"
        + (f"; to forecast what comes after the last: sluice init --task {forecasts()}" if asked.scalar else "")
    )
    return False


def names_whom(name: str) -> bool:
    """Whether a column is called as one that says whom a row is of: ``patient``, ``subject_id``, ``id``."""
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower()).split()
    if len(words) == 1:
        return words[0] in _WHOM | _SHORT
    return len(words) == 2 and words[0] in _WHOM | _WHOSE and words[1] in _NAMED


def _of_whom(table: pa.Table, fields: dict[str, Field]) -> tuple[str, int] | None:
    """The column that says whom a row is of, and of how many there are rows."""
    for name, field in fields.items():
        if not names_whom(name) or not (field.quantity or field.category):
            continue
        values = table.column(name).drop_null()
        if field.quantity and not (floats(values) % 1 == 0).all():
            continue
        groups = len(values.unique())
        if groups >= _FEWEST_GROUPS and len(values) >= _ROWS * groups:
            return name, groups
    return None


def _times(table: pa.Table, fields: dict[str, Field]) -> dict[str, NDArray[np.float64]]:
    """When each row was, by each column that says so: its times, or its years, with a fraction or without. Without a row where it is missing, nothing."""
    found = {}
    for name, field in fields.items():
        column = table.column(name)
        if column.null_count:
            continue
        if field.timed:
            found[name] = floats(column.cast(pa.timestamp("us")).cast(pa.int64()))
        elif field.quantity and plain(name) in TIMES:
            years = floats(column)
            if len(years) and _YEARS[0] <= years.min() and years.max() <= _YEARS[1]:
                found[name] = years
    return found


def _goes_on(at: NDArray[np.float64], label: pa.ChunkedArray, classes: bool) -> float:
    """How well a row's label is told by the rows before and behind it in time; of rows at one time the order is by chance."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(at)), at))
    if classes:
        code = np.asarray(encoded(label).indices.fill_null(-1)).astype(np.int64)[order]
        code = code[code >= 0]
        common = np.bincount(code).max(initial=0) / max(len(code), 1)
        return float(((code[1:] == code[:-1]).mean() - common) / (1 - common)) if common < 1 and len(code) >= FEWEST else 0.0
    y = floats(label)[order]
    y = y[np.isfinite(y)]
    if len(y) < FEWEST:
        return 0.0
    beside, own = (y[:-2] + y[2:]) / 2, y[1:-1]
    return float(np.corrcoef(beside, own)[0, 1]) if np.ptp(beside) > 0 and np.ptp(own) > 0 else 0.0
