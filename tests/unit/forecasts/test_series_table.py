"""A long table read as series, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError, SluiceError
from sluice.tasks.forecast import ForecastTask

Made = Callable[..., ForecastTask]


def test_what_is_not_said_is_found_out(table: pa.Table, task: Made) -> None:
    found = task(known=["price"]).found(table)
    assert found["series"] == ["shop"] and found["time"] == "month" and found["known"] == ["price"]
    assert (found["season"], found["horizon"], found["context"]) == (12, 12, 24) and found["grid"]["unit"] == "month"


def test_a_row_is_a_forecast(table: pa.Table, task: Made) -> None:
    made = task(horizon=6, known=["price"])
    rows, kinds = made.canonical(table), made.kinds(table)
    assert kinds == {"shop": "categorical", "month": "timestamp", "history": "sequence", "price": "sequence"}
    assert rows.column_names == [*kinds, "label"]
    row = rows.slice(40, 1).to_pylist()[0]
    y = [r["sales"] for r in table.to_pylist() if r["shop"] == row["shop"]]
    months = [r["month"] for r in table.to_pylist() if r["shop"] == row["shop"]]
    at = months.index(row["month"].strftime("%Y-%m")) + 1
    assert row["history"][-5:] == y[at - 5 : at] and row["label"][:6] == y[at : at + 6]
    assert len(row["price"]) == len(row["history"]) + 6 and len(row["label"]) == 13
    assert len(made.sides(table)) == rows.num_rows


def test_the_order_of_the_rows_does_not_matter(table: pa.Table, task: Made) -> None:
    mixed = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    assert task().canonical(mixed).equals(task().canonical(table))


def test_one_series_needs_no_name(task: Made, table: pa.Table) -> None:
    one = table.slice(0, 72).drop_columns(["shop"])
    assert task(horizon=6).found(one)["series"] == []


def test_gaps_are_missing_values_and_said(table: pa.Table, task: Made) -> None:
    kept = table.take(pa.array([i for i in range(table.num_rows) if i % 17]))
    made = task(horizon=6)
    assert made.canonical(kept).num_rows > 0
    assert any("are missing (gaps, or empty cells" in note for note in made.notes(kept))
    assert any(None in row for row in made.canonical(kept).column("history").to_pylist())


def cells(table: pa.Table, name: str, change: Callable[[list[Any]], list[Any]]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(change(table.column(name).to_pylist())))


def days(table: pa.Table) -> pa.Table:
    """The same with a day for a month, in the second shop a week."""
    at: dict[str, int] = {}
    out = []
    for shop in table.column("shop").to_pylist():
        at[shop] = at.get(shop, -1) + 1
        out.append(str(np.datetime64("2020-01-06") + at[shop] * (7 if shop == "shop 1" else 1)))
    return cells(table, "month", lambda _: out)


@pytest.mark.parametrize(
    ("change", "model", "field", "message"),
    [
        (lambda t: pa.concat_tables([t, t.slice(5, 1)]), {"series": "shop"}, "column month, row 433", "stands more than once in series 'shop 0'"),
        (lambda t: t, {"series": "store"}, "model.series", "no such column"),
        (lambda t: t, {"time": "price"}, "column price, row", "no regular times|stands more than once"),
        (lambda t: t, {"known": ["weather"]}, "model.known", "no such column"),
        (lambda t: t.drop_columns(["month"]), {}, "model.time", "none of the data's is one"),
        (lambda t: cells(t, "month", lambda m: [f"01.{v[5:]}.{v[:4]}" if i % 2 else f"{v[5:]}/01/{v[:4]}" for i, v in enumerate(m)]), {"time": "month"}, "model.time", "neither times of one form"),
        (lambda t: cells(t, "month", lambda m: [None, *m[1:]]), {}, "column month, row 1", "rows have no time"),
        (lambda t: cells(t, "month", lambda m: [str(np.datetime64(v) + 0 + np.timedelta64(i * i % 5, "D") - i % 72 * 17) for i, v in enumerate(m)]), {"series": "shop"}, "column month, row", "no regular times"),
        (lambda t: cells(t, "sales", lambda s: [float("inf"), *s[1:]]), {}, "label sales, row 1", "is infinite"),
        (lambda t: cells(t, "sales", lambda s: ["many", *map(str, s[1:])]), {}, "label sales, row 1", "is not a number"),
        (lambda t: cells(t, "sales", lambda s: [None] * len(s)), {"series": "shop"}, "data.columns.label", "holds no number"),
        (lambda t: cells(t, "price", lambda p: ["low" if v < 1.5 else "high" for v in p]), {"known": ["price"]}, "model.known", "is a column of texts"),
        (lambda t: cells(t, "shop", lambda v: [*v[:9], None, *v[10:]]), {"series": "shop"}, "column shop, row 10", "do not say which series"),
        (lambda t: t, {"horizon": 40}, "model.horizon", "too few for 40 ahead"),
        (lambda t: pa.concat_tables([t, t.slice(5, 1)]), {}, "column month, row 433", "stands more than once in series 'shop 0' \\(1 such"),
        (lambda t: cells(t, "month", lambda m: [*m[:71], "2190-01", *m[72:]]), {"series": "shop"}, "column month, row 72", "stands far from the others: series 'shop 0' has 72"),
        (lambda t: cells(t, "month", lambda m: [f"{v[:4]}-W{i % 52 + 1:02}" for i, v in enumerate(m)]), {}, "model.time", "holds quarters or weeks .2015-W01.: write"),
        (lambda t: cells(t, "price", lambda p: [float("nan")] * len(p)), {"known": ["price"]}, "model.known", "holds no number"),
        (lambda t: t, {"season": 30}, "model.season", "does not fit twice into the .* times that are learnt from"),
        (lambda t: days(t), {}, "column month", "has times of two steps: series 'shop 1' has one row in 7 times of a day"),
    ],
)  # fmt: skip
def test_bad_input_says_field_and_fix(table: pa.Table, task: Made, change: Any, model: dict[str, Any], field: str, message: str) -> None:
    bad = change(table)
    with pytest.raises(DataError, match=message) as e:
        made = task(**model)
        made.kinds(bad)
        made.canonical(bad)
    assert (e.value.field or "").startswith(field) and e.value.fix


def test_a_file_of_held_out_rows_is_refused(table: pa.Table, task: Made) -> None:
    with pytest.raises(SluiceError, match="is not for forecasts, whose last times are held out"):
        task(data={"test": "y.csv"}).kinds(table)


def test_folds_are_refused(table: pa.Table, task: Made) -> None:
    made = task()
    made.project = made.project.model_copy(update={"train": made.project.train.model_copy(update={"folds": 3})})
    with pytest.raises(SluiceError, match="would learn from what came after") as e:
        made.kinds(table)
    assert e.value.field == "train.folds"


def test_texts_that_change_are_left_out_and_said(table: pa.Table, task: Made) -> None:
    changed = cells(table, "price", lambda p: ["low" if v < 1.5 else "high" for v in p])
    made = task(series="shop")
    assert "price" not in made.kinds(changed) and any("'price' holds texts" in n for n in made.notes(changed))


def test_values_of_times_to_come_are_said(table: pa.Table, task: Made) -> None:
    later = cells(table, "month", lambda m: [str(np.datetime64(v) + 12 * 90) for v in m])
    assert any("of times still to come, until 2110-12-01" in n for n in task().notes(later))
    assert not any("still to come" in n for n in task().notes(table))


def test_true_and_false_are_one_and_nothing(table: pa.Table, task: Made) -> None:
    made = task(series="shop", known=["price"], horizon=6)
    changed = cells(table, "price", lambda p: ["TRUE" if v > 1.5 else "false" for v in p])
    first = made.canonical(changed).column("price").to_pylist()[0]
    assert first[-6:] == [float(v > 1.5) for v in table.column("price").to_pylist()[13:19]]


def test_texts_of_a_series_are_what_it_is_like(table: pa.Table, task: Made) -> None:
    kind = ["big" if s in ("shop 4", "shop 5") else "small" for s in table.column("shop").to_pylist()]
    made = task(series="shop").kinds(table.append_column("size", pa.array(kind)))
    assert made["size"] == "categorical"


def test_a_row_a_month_is_a_month_whatever_its_day(table: pa.Table, task: Made) -> None:
    ends = cells(table, "month", lambda m: [str(np.busday_offset(np.datetime64(v) + 1, -1, roll="forward")) for v in m])
    made = task(horizon=6)
    assert made.found(ends)["grid"]["unit"] == "month" and made.found(ends)["season"] == 12
    assert made.canonical(ends).column("history").equals(task(horizon=6).canonical(table).column("history"))


def test_a_clock_that_was_set_back_is_named(task: Made) -> None:
    hours = np.arange(np.datetime64("2023-10-25T00", "h"), np.datetime64("2023-11-04T00", "h"))
    times = [f"{h.astype('datetime64[m]')}".replace("T", " ") for h in np.insert(hours, 99, np.datetime64("2023-10-29T02", "h"))]
    with pytest.raises(DataError, match="stands more than once") as e:
        task(label="y").canonical(pa.table({"time": times, "y": np.arange(float(len(times)))}))
    assert "set back give times in UTC" in (e.value.fix or "")


def test_forecasts_without_a_known_value_are_left_out(table: pa.Table, task: Made) -> None:
    gone = cells(table, "price", lambda p: [None if 10 <= i % 72 < 40 else v for i, v in enumerate(p)])
    rows = task(horizon=4, context=6, season=1, known=["price"]).canonical(gone)
    assert rows.num_rows and all(any(v is not None for v in row) for row in rows.column("price").to_pylist())


def test_series_that_never_change_are_said_and_scaled_by_the_others(table: pa.Table, task: Made) -> None:
    flat = cells(table, "sales", lambda y: [*[0.0] * 72, *y[72:]])
    made = task(horizon=6)
    rows = made.canonical(flat)
    scales = {r["shop"]: r["label"][-1] for r in rows.to_pylist()}
    assert scales["shop 0"] == np.median([v for k, v in scales.items() if k != "shop 0"]) > 0
    assert any("1 of 6 series never change ('shop 0')" in n for n in made.notes(flat))


def test_what_is_the_same_in_the_one_series_is_no_text_that_changes(table: pa.Table, task: Made) -> None:
    one = table.slice(0, 72)
    made = task(horizon=6)
    assert made.found(one)["series"] == [] and not any("holds texts that change" in n for n in made.notes(one))
