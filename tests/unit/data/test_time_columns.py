"""Columns of times are found, read the same from every source, and named where they cannot be read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core.errors import DataError, ProjectError
from sluice.data import timestamps
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.data.profile import profile_counts
from sluice.data.timestamps import Times, find, read
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.fields import TabularProcessor, load_processor
from sluice.fields.timestamps import TimeForm
from sluice.learners.folds import groups_of
from sluice.learners.tables.fit import fit_table
from sluice.tasks import load_task

N = 120
MOMENTS = [datetime.datetime(2023, 1, 1) + datetime.timedelta(hours=61 * i) for i in range(N)]


def texts(form: str) -> pa.ChunkedArray:
    return pa.chunked_array([[m.strftime(form) for m in MOMENTS]])


@pytest.mark.parametrize(
    "form, found",
    [
        ("%Y-%m-%d", "iso"),
        ("%Y-%m-%dT%H:%M:%SZ", "iso"),
        ("%Y-%m-%d %H:%M", "iso"),
        ("%Y-%m", "iso"),
        ("%Y/%m/%d", "%Y/%m/%d"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d/%m/%Y", "%d/%m/%Y"),
        ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"),
        ("%d-%b-%Y", "%d-%b-%Y"),
        ("%d-%b-%y", "%d-%b-%y"),
        ("%b %d, %Y", "%b %d, %Y"),
        ("%d %B %Y", "%d %b %Y"),
        ("%a, %d %b %Y %H:%M:%S +0000", "%a, %d %b %Y"),
        ("%m/%d/%y", "%m/%d/%y"),
        ("%b %Y", "%b %Y"),
        ("%H:%M", "%H:%M"),
        ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y"),
    ],
)
def test_forms_are_found_out(form: str, found: str) -> None:
    column = texts(form)
    times = find(column, "when", None, "UTC")
    assert times is not None and times == Times(found)
    wall = read(column, "when", times).to_pylist()
    again = [datetime.datetime.strptime(m.strftime(form), form) for m in MOMENTS]
    assert wall == ([m.replace(year=1970) for m in again] if form == "%H:%M" else again)


@pytest.mark.parametrize(
    "values",
    [
        ["1.2.3", "10.12.24", "2.0.1"],
        ["1.2.10", "1.11.11", "2.3.12"],
        ["a", "b"],
        ["192.168.0.1", "10.0.0.1"],
        ["16:9", "4:3"],
        ["2024-W01", "2024-W02"],
        ["12-3456", "34-1234"],
        ["+49 30 123", "+49 30 456"],
        ["1-2", "3-4"],
        ["9999-99-99", "0000-12-45"],
        ["", " "],
        ["v2024-01-01", "v2024-02-02"],
    ],
)
def test_what_is_no_time_stays_a_category(values: list[str]) -> None:
    assert find(pa.chunked_array([values * 30]), "version", None, "UTC") is None


@pytest.mark.parametrize("clock", [datetime.time(0, 0), datetime.time(23, 59, 58)])
def test_every_form_that_is_looked_for_is_found_though_most_texts_are_ruled_out_at_a_glance(clock: datetime.time) -> None:
    for form in timestamps._forms():
        texts = {
            datetime.datetime.combine(datetime.date(2021, m, d), clock, datetime.UTC).strftime(form.replace("%q", f"{(m + 2) // 3}"))
            for m in range(1, 13)
            for d in (13, 28)
        }
        assert form in timestamps._shares(sorted(texts)), form
    assert timestamps._shares([f"town {i}: a" for i in range(200)]) == {}


def test_day_and_month_that_cannot_be_told_apart_are_named_with_the_setting() -> None:
    column = pa.chunked_array([["03/04/2024", "01/02/2024", "05/05/2024"] * 10])
    with pytest.raises(DataError, match="two different days") as e:
        find(column, "when", None, "UTC")
    assert '{when: "%m/%d/%Y"}' in str(e.value.fix) and '{when: "%d/%m/%Y"}' in str(e.value.fix) and e.value.value == "03/04/2024"
    assert find(pa.chunked_array([["05/05/2024", "06/06/2024"]]), "when", None, "UTC") == Times("%m/%d/%Y")  # both readings are one day


@pytest.mark.parametrize(
    "name, values, form",
    [
        ("created_at", [1_700_000_000, 1_700_000_060], "s"),
        ("eventTime", [1_700_000_000_000, 1_700_000_060_000], "ms"),
        ("ts", [1.7e9, 1.71e9], "s"),
        ("date", [20240131, 20241231], "%Y%m%d"),
        ("ts", [1_700_000_000_000_000_000], "ns"),
        ("amount", [1_700_000_000, 1_700_000_060], None),
        ("time", [0, 172_792], None),
        ("date", [20240131, 20241301], None),
        ("time", [1_700_000_000, 5], None),
        ("at", [None, None], None),
    ],
)
def test_numbers_since_1970_are_times_where_name_and_range_say_so(name: str, values: list[Any], form: str | None) -> None:
    column = pa.chunked_array([pa.array(values, pa.float64() if any(isinstance(v, float) for v in values) else pa.int64())])
    assert find(column, name, None, "UTC") == (None if form is None else Times(form))


def test_a_value_that_is_no_time_is_named_with_its_row() -> None:
    column = pa.chunked_array([[f"2024-01-{i:02}" for i in range(1, 31)] + ["2024-02-30", None, "NA", "soon"]])
    times = find(column, "when", None, "UTC")
    assert times == Times("iso")
    with pytest.raises(DataError, match=r"column when, row 31: is not a time in ISO 8601 .*\(and 1 more\) \(got '2024-02-30'\)"):
        read(column, "when", times)


def project(folder: Path, source: str = "rows.csv", **data: Any) -> tuple[projects.Project, Path, Any]:
    made = projects.parse({"name": "trial", "task": "tabular", "data": {"source": source, **data}}, base_dir=folder)
    return made, folder, load_task(made, folder)


def columns(form: str = "%d/%m/%Y %H:%M:%S") -> dict[str, list[Any]]:
    return {
        "when": [m.strftime(form) for m in MOMENTS],
        "size": [i % 7 + 0.5 for i in range(N)],
        "label": ["yes" if i % 3 else "no" for i in range(N)],
    }


def csv(folder: Path, name: str = "rows.csv", **columns: list[Any]) -> None:
    lines = [",".join(columns), *(",".join("" if v is None else str(v) for v in row) for row in zip(*columns.values(), strict=True))]
    (folder / name).write_text("\n".join(lines) + "\n")


def processor(data: Dataset, made: tuple[projects.Project, Path, Any]) -> TabularProcessor:
    found = load_processor(fit_table(data).preprocess, {})
    assert isinstance(found, TabularProcessor)
    return found


def test_training_evaluation_and_requests_see_the_same_whatever_the_source(tmp_path: Path) -> None:
    """One set of rows as CSV with a local form, JSON lines, and Parquet: one dataset but for the form, one answer to each spelling."""
    plain = columns()
    csv(tmp_path, **plain)
    (tmp_path / "rows.jsonl").write_bytes(
        b"\n".join(
            orjson.dumps({**dict(zip(plain, row, strict=True)), "when": m.isoformat()})
            for m, row in zip(MOMENTS, zip(*plain.values(), strict=True), strict=True)
        )
    )
    pq.write_table(pa.table({**plain, "when": pa.array(MOMENTS, pa.timestamp("ns"))}), tmp_path / "rows.parquet")
    pq.write_table(
        pa.table({**plain, "when": pa.array([int((m - datetime.datetime(1970, 1, 1)).total_seconds()) for m in MOMENTS])}),
        tmp_path / "epoch.parquet",
    )
    found = []
    for at, source in enumerate(("rows.csv", "rows.jsonl", "rows.parquet", "epoch.parquet")):
        made = project(tmp_path, source)
        data = prepare(*made, tmp_path / f"d{at}")
        assert data.columns == {"when": "timestamp", "size": "numeric"}
        found.append((data, processor(data, made)))
    data, first = found[0]
    assert [d.times["when"] for d, _ in found] == [Times("%d/%m/%Y"), Times("iso"), Times("iso", declared=True), Times("s")]
    table = data.read("test")
    trained = tensors_from_arrow(first, table)
    sent = rows_from_arrow(first.spec(), table)
    assert sent[0]["when"] == table.column("when")[0].as_py().isoformat(" ")
    spellings = [
        sent,
        [{**r, "when": datetime.datetime.fromisoformat(r["when"]).strftime("%d/%m/%Y %H:%M:%S")} for r in sent],
        [{**r, "when": r["when"] + "Z"} for r in sent],
        [{**r, "when": int(datetime.datetime.fromisoformat(r["when"] + "+00:00").timestamp())} for r in sent],
    ]
    for other, made_of in found:
        assert other.read("test").equals(table)
        for rows in spellings if made_of is first or made_of is found[3][1] else [sent]:
            try:
                got = made_of.encode_batch(rows)
            except Exception:
                assert made_of is found[3][1] and rows is spellings[1]  # a local form was never declared there
                continue
            assert all((got[k] == trained[k]).all() for k in trained)


def test_the_report_the_manifest_and_the_profile_say_how_times_are_read(tmp_path: Path) -> None:
    csv(tmp_path, **{**columns(), "due": [None if i % 5 == 0 else m.strftime("%d.%m.%Y") for i, m in enumerate(MOMENTS)]})
    made = project(tmp_path, columns={"time_zone": "Europe/Berlin"})
    report = validate_project_data(*made)
    said = [c.message for c in report.checks if c.name == "times"]
    assert (
        report.decision == "pass"
        and "'when' is read as times: the form %d/%m/%Y" in said[0]
        and "found out" in said[0]
        and "Europe/Berlin" in said[0]
    )
    data = prepare(*made, tmp_path / "d")
    assert data.manifest["columns"][0] == {
        "name": "when",
        "kind": "timestamp",
        "form": "%d/%m/%Y",
        "zone": "Europe/Berlin",
        "declared": False,
    }
    assert Dataset.open(data.root).times["when"] == Times("%d/%m/%Y", "Europe/Berlin")
    profile = data.profile()
    assert profile is not None and set(profile["features"]["when"]["parts"]) == {"month", "weekday", "hour"}
    table = data.read("train")
    raw = [{"when": None if m is None else m.strftime("%d/%m/%Y %H:%M:%S")} for m in table.column("when").to_pylist()]
    for rows in (table, raw):
        assert profile_counts(profile, rows)["features"]["when"]["hour"] == profile["features"]["when"]["parts"]["hour"]["counts"]
    assert profile["features"]["due"]["parts"]["month"]["counts"][-1] == table.column("due").null_count
    assert profile_counts(profile, [{"when": "soon"}])["features"]["when"]["hour"][-1] == 1


def test_a_declared_form_settles_it_and_held_out_rows_are_read_alike(tmp_path: Path) -> None:
    plain = {**columns("%d/%m/%Y"), "when": ["03/04/2024", "05/06/2024"] * (N // 2)}
    plain["size"] = list(range(N))
    csv(tmp_path, **plain)
    csv(tmp_path, "test.csv", when=["12/01/2025"] * 60, size=list(range(1000, 1060)), label=["yes", "no"] * 30)
    with pytest.raises(DataError, match="two different days"):
        validate_project_data(*project(tmp_path))
    data = prepare(*project(tmp_path, test="test.csv", columns={"timestamps": {"when": "%d/%m/%Y"}}), tmp_path / "d")
    assert data.read("test").column("when")[0].as_py() == datetime.datetime(2025, 1, 12)
    assert data.times["when"] == Times("%d/%m/%Y", declared=True)


def test_held_out_rows_take_the_form_that_was_found_in_the_training_rows(tmp_path: Path) -> None:
    csv(tmp_path, **columns("%d/%m/%Y"))
    csv(tmp_path, "test.csv", when=["01/02/2025"] * 60, size=list(range(1000, 1060)), label=["yes", "no"] * 30)
    data = prepare(*project(tmp_path, test="test.csv"), tmp_path / "d")
    assert data.read("test").column("when")[0].as_py() == datetime.datetime(2025, 2, 1)


def test_a_split_by_time_reads_a_column_that_is_no_feature(tmp_path: Path) -> None:
    csv(tmp_path, **columns("%d/%m/%Y"))
    settings = {"columns": {"ignore": ["when"]}, "split": {"by": "time", "column": "when"}}
    made = project(tmp_path, **settings)
    report = validate_project_data(*made)
    assert "test from 2023-09-" in next(c.message for c in report.checks if c.name == "split")
    data = prepare(*made, tmp_path / "d")
    assert data.columns == {"size": "numeric"} and data.manifest["source"]["split"]["by"] == "time"
    assert data.rows("test") == 24 and data.rows("validation") == 12
    csv(tmp_path, "test.csv", **{**columns("%d/%m/%Y"), "when": ["01/05/2023"] * 60 + ["01/05/2024"] * 60})
    report = validate_project_data(*project(tmp_path, test="test.csv", **settings))
    assert any("60 held-out rows of 120 are older than the newest training row (2023-10-" in r for r in report.reasons), report.reasons


def test_a_split_by_group_keeps_groups_that_are_no_feature_on_one_side(tmp_path: Path) -> None:
    csv(tmp_path, **columns(), patient=[i // 4 for i in range(N)])
    data = prepare(*project(tmp_path, columns={"ignore": ["patient"]}, split={"by": "group", "column": "patient"}), tmp_path / "d")
    at = {m: i // 4 for i, m in enumerate(MOMENTS)}
    groups = [{at[m] for m in data.read(s).column("when").to_pylist()} for s in ("train", "validation", "test")]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2] and sum(map(len, groups)) == N // 4
    assert data.grouped_by == "patient" and Dataset.open(data.root).columns == {"when": "timestamp", "size": "numeric"}
    codes, kept = groups_of(data, None), [at[m] for m in data.read("train", ["when"]).column(0).to_pylist()]
    assert len(set(zip(codes.tolist(), kept, strict=True))) == len(set(kept)) == len(set(codes.tolist()))  # folds keep them together too
    assert "__group" not in rows_from_arrow("tabular", data.read("train"))[0]
    with pytest.raises(DataError, match=r"data.split.column: no such column in the data \(got 'patent'\)"):
        prepare(*project(tmp_path, split={"by": "group", "column": "patent"}), tmp_path / "e")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"columns": {"timestamps": {"when": "%Q"}}}, "no directive"),
        ({"columns": {"time_zone": "Mars"}}, "no time zone"),
        ({"split": {"by": "group"}}, "needs data.split.column"),
        ({"split": {"column": "when"}}, "takes no column"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        project(tmp_path, **settings)


def test_a_column_most_of_which_is_times_is_named_with_what_is_not(tmp_path: Path) -> None:
    csv(tmp_path, **{**columns(), "due": [m.strftime("%d.%m.%Y") if i % 4 else f"week {i}" for i, m in enumerate(MOMENTS)]})
    made = project(tmp_path)
    found = next(c for c in validate_project_data(*made).checks if c.name == "mixed")
    assert "'due' is read as categories, though 75 % of its values are times" in found.message and "{due: '%d.%m.%Y'}" in found.message
    assert found.examples[0].endswith("'week 0'")


@pytest.mark.parametrize("factor, unit", [(1, "s"), (1000, "ms")])
def test_auto_finds_numbers_since_1970_in_a_csv_too(tmp_path: Path, factor: int, unit: str) -> None:
    csv(tmp_path, **{**columns(), "when": [factor * int(m.replace(tzinfo=datetime.UTC).timestamp()) for m in MOMENTS]})
    made = project(tmp_path, columns={"timestamps": {"when": "auto"}})
    data = prepare(*made, tmp_path / "d")
    assert data.columns["when"] == "timestamp" and {
        m for s in data.manifest["splits"] for m in data.read(s).column("when").to_pylist()
    } == set(MOMENTS)
    assert any(c.column == "when" and TimeForm(unit).words in c.message for c in validate_project_data(*made).checks if c.name == "times")


def test_a_form_for_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    csv(tmp_path, **columns())
    with pytest.raises(DataError, match=r"data.columns.timestamps: .*no such column \(got 'wen'\)"):
        validate_project_data(*project(tmp_path, columns={"timestamps": {"wen": "iso"}}))


def test_a_month_that_begins_a_long_column_does_not_hide_which_is_the_day() -> None:
    start = datetime.datetime(2024, 1, 1)
    values = [(start + datetime.timedelta(minutes=i)).strftime("%d/%m/%Y %H:%M") for i in range(60_000)]
    assert find(pa.chunked_array([values]), "when", None, "UTC") == Times("%d/%m/%Y")


def test_numbers_that_fall_together_in_32_bits_are_centred_or_named(tmp_path: Path) -> None:
    start = 1_700_000_000
    csv(
        tmp_path,
        **{
            **columns(),
            "counter": [start + 60 * i for i in range(N)],
            "pairs": [(i // 2 + 1) * 10**9 + i % 2 for i in range(N)],
            "price": [10**8 + 7919 * i for i in range(N)],
        },
    )
    made = project(tmp_path)
    report = validate_project_data(*made)
    said = {c.column: (c.status, c.message) for c in report.checks if c.name == "precision"}
    assert said["counter"][0] == "pass" and "relative to 1700003570" in said["counter"][1]
    assert (
        said["pairs"][0] == "warn"
        and "52 values of 120 in 'pairs' fall together" in said["pairs"][1]
        and "1000000000 and 1000000001" in said["pairs"][1]
    )
    assert "price" not in said
    data = prepare(*made, tmp_path / "d")
    state = fit_table(data)
    found = load_processor(state.preprocess, {})
    out = found.encode_batch([{"counter": start + 60 * i} for i in range(N)])["counter"]
    assert len(np.unique(out)) == N and abs(state.extra["numeric"]["counter"]["mean"]) < 60 * N


@pytest.mark.parametrize(
    "settings, said",
    [
        ({}, "row 3: is a time outside of the years 1 to 9999 (got '14646-"),
        ({"columns": {"categorical": ["when"]}}, "when: holds a date outside of the years"),
    ],
)
def test_a_typed_date_beyond_the_calendar_is_named(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    far = pa.array([0, None, 400_045_824_000_000_000, *range(N - 3)], pa.timestamp("us"))
    pq.write_table(pa.table({"when": far, "label": ["a", "b"] * (N // 2)}), tmp_path / "rows.parquet")
    with pytest.raises(DataError) as e:
        validate_project_data(*project(tmp_path, source="rows.parquet", **settings))
    assert said in str(e.value)


def test_the_last_day_of_the_calendar_is_a_time() -> None:
    last = datetime.datetime(9999, 12, 31, 23, 59)
    assert read(pa.chunked_array([pa.array([last, None])]), "when", Times("iso")).to_pylist() == [last, None]


def test_times_yet_to_come_are_no_newest_rows_and_worth_a_look_elsewhere(tmp_path: Path) -> None:
    cells = columns("%Y-%m-%d %H:%M:%S")
    cells["when"][3] = "2999-01-01 00:00:00"
    csv(tmp_path, **cells)
    looked = validate_project_data(*project(tmp_path))
    (found,) = [c for c in looked.checks if c.name == "ahead"]
    assert looked.decision == "pass" and found.status == "warn" and found.column == "when"
    assert "1 time yet to come, such as 2999-01-01T00:00:00" in found.message and "leave the cells empty" in found.message
    split = validate_project_data(*project(tmp_path, split={"by": "time", "column": "when"}))
    assert split.decision == "refuse" and any("'when' holds 1 time yet to come" in r and "correct them" in r for r in split.reasons)


def test_a_column_of_what_lies_ahead_is_no_fault(tmp_path: Path) -> None:
    due = [m.replace(year=2990).strftime("%Y-%m-%d %H:%M:%S") for m in MOMENTS]
    csv(tmp_path, **{**columns("%Y-%m-%d %H:%M:%S"), "due": due})
    assert not [c for c in validate_project_data(*project(tmp_path)).checks if c.name == "ahead"]
