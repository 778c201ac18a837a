"""Inferred checks pass on the data they were read off, and refuse what differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.data.checks import validate
from sluice.data.config import Checks, Split
from sluice.data.infer import infer_checks

KINDS = {"x": "numeric", "c": "categorical"}
#: What data.checks decides; a split of a handful of rows is another matter.
DECLARED = {"rows", "nulls", "ranges", "label_set", "label_rows", "balance", "duplicates", "conflicts"}

FLOATS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-5, 5).map(float))
ROWS = st.lists(
    st.tuples(FLOATS, st.one_of(st.none(), st.sampled_from("uvw")), st.one_of(st.none(), st.sampled_from("abc"))), min_size=2, max_size=40
)


def refused(table: pa.Table, checks: dict[str, Any], kinds: dict[str, str], objective: str) -> set[str]:
    declared = Checks.model_validate(yaml.safe_load(yaml.safe_dump(checks)))
    report = validate(table, None, kinds=kinds, objective=objective, checks=declared, split=Split())
    return {f"{c.name}: {c.message}" for c in report.checks if c.status == "refuse" and c.name in DECLARED}


@given(ROWS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_rows_they_were_read_off_pass(rows: list[tuple], regression: bool) -> None:
    table = pa.table(
        {
            "x": pa.array([r[0] for r in rows], pa.float64()),
            "c": pa.array([r[1] for r in rows], pa.string()),
            "label": pa.array([r[0] if regression else r[2] for r in rows], pa.float64() if regression else pa.string()),
        }
    )
    objective = "regression" if regression else "classification"
    found = refused(table, infer_checks(table, KINDS, objective), KINDS, objective)
    empty = {n for n in (*KINDS, "label") if table.column(n).null_count == len(rows)}
    assert not found or empty, found  # a column of nothing is refused whatever is declared


@given(st.lists(st.one_of(st.none(), st.just(""), st.text(max_size=3)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_texts_pass_too(texts: list[str | None]) -> None:
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(["a"] * len(texts))})
    found = refused(table, infer_checks(table, {"text": "text"}, "classification"), {"text": "text"}, "classification")
    assert not found or not any(t and t.strip() for t in texts), found


def sound(n: int = 400, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table({"x": rng.uniform(0, 50, n), "c": rng.choice(["u", "v"], n), "label": rng.choice(["a", "b"], n), **columns})


def test_what_is_proposed_is_readable() -> None:
    made = infer_checks(sound(), KINDS, "classification")
    assert made["rows_min"] == 200 and made["labels"] == ["a", "b"] and made["nulls_max"] == 0.0 and made["imbalance_max"] == 10.0
    assert made["ranges"] == {"x": {"min": 0.0, "max": 55.0}}, "never negative stays so"


def test_data_that_differs_is_refused() -> None:
    checks = infer_checks(sound(), KINDS, "classification")
    rng = np.random.default_rng(4)
    for other in (
        sound(x=rng.uniform(-5, 50, 400)),
        sound(label=rng.choice(["a", "new"], 400)),
        sound(100),
        sound(c=[None] * 100 + ["u"] * 300),
        sound(x=[1.0] * 400, c=["u"] * 400),
    ):
        assert refused(other, checks, KINDS, "classification")


def test_many_labels_are_not_listed() -> None:
    table = pa.table({"x": np.arange(2000.0), "c": ["u"] * 2000, "label": [str(i // 2) for i in range(2000)]})
    assert "labels" not in infer_checks(table, KINDS, "classification")


def test_labels_that_are_quantities_have_a_range() -> None:
    table = sound().set_column(2, "label", pa.array(np.linspace(-10, 10, 400)))
    made = infer_checks(table, KINDS, "regression")
    assert made["ranges"]["label"] == {"min": -12.0, "max": 12.0} and "labels" not in made
