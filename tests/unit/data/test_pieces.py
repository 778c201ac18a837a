"""A source gone through in pieces is what it is read whole: the same report, dataset, files and profile, however it is cut."""

from __future__ import annotations

import contextlib
import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core.errors import DataError, SluiceError
from sluice.data import blocks, flow, inpieces, lines, partitions, prepare
from sluice.data.config import DataConfig, Split
from sluice.data.partitions import Copies, Partitions, shared
from sluice.data.pieces import bounded
from sluice.data.splits import Piece, Splitter, checked_sides
from sluice.stats.tally import Tallier, Tally
from sluice.tasks import load_task

N = 700


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "ROWS", 150)
    monkeypatch.setattr(flow, "_ROWS", 130)
    monkeypatch.setattr(flow, "_BLOCK", 4000)
    monkeypatch.setattr(lines, "_BLOCK", 9000)
    monkeypatch.setattr(partitions, "_HELD", 100)


def columns(seed: int) -> dict[str, list[Any]]:
    r = np.random.default_rng(seed)
    made: dict[str, list[Any]] = {
        "size": np.round(r.normal(size=N), 2).tolist(),
        "gap": [None if x < 0.1 else float(y) for x, y in zip(r.random(N), r.normal(size=N), strict=True)],
        "count": r.integers(0, 4, N).tolist(),
        "town": r.choice(["Rome", "Oslo", "Bonn"], N).tolist(),
        "flag": r.choice(["true", "False", "1"], N).tolist(),
        "late": ["1.5"] * (N - 3) + ["n/a", "NA", "2"],  # numbers, with a word for none far from the beginning
        "day": [f"2025-{m:02d}-{d:02d}" for m, d in zip(r.integers(1, 13, N), r.integers(1, 29, N), strict=True)],
        "grown": [2] * (N - 50) + [0.5] * 50,  # whole numbers at the beginning
        "odd": [1.25] * (N - 60) + ["\u00a07"] + [3.0] * 59 if seed % 2 else [1.0] * N,  # a number that pyarrow alone does not read
        "note": ["7"] * (N // 2) + r.choice(["x", "y", "8"], N - N // 2).tolist(),  # begins as numbers do
        "label": r.choice(["yes", "no", ""], N, p=[0.6, 0.38, 0.02]).tolist(),
    }
    for name, values in made.items():
        values[-40:] = values[:40] if name != "label" else values[:40][::-1]
    return made


def write(folder: Path, made: dict[str, list[Any]], form: str, parts: int) -> None:
    cuts = np.linspace(0, N, parts + 1).astype(int)
    whole = pa.table({k: v for k, v in made.items() if k != "odd"})
    for i, (a, b) in enumerate(zip(cuts, cuts[1:], strict=False)):
        if form == "jsonl":
            rows = [{k: v for k, v in row.items() if v is not None} for row in whole.slice(a, b - a).to_pylist()]
            rows = [{**r, "grown": int(r["grown"]) if r["grown"] == 2 else r["grown"]} for r in rows]
            (folder / f"rows{i}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
            continue
        if form == "parquet":
            pq.write_table(whole.slice(a, b - a), folder / f"rows{i}.parquet", row_group_size=90)
            continue
        with (folder / f"rows{i}.csv").open("w", newline="") as f:
            out = csv.writer(f)
            out.writerow(made)
            out.writerows(zip(*(["" if v is None else v for v in values[a:b]] for values in made.values()), strict=True))


def outcome(folder: Path, engine: str, **data: Any) -> Any:
    project = projects.parse({"name": "trial", "task": "tabular", "data": {**data, "engine": engine}}, base_dir=folder)
    task = load_task(project, folder)
    report = prepare.validate_project_data(project, folder, task).to_dict()
    try:
        made = prepare.prepare(project, folder, load_task(project, folder), folder / engine)
    except SluiceError as e:
        return report, str(e), None, None
    return report, made.manifest, made.profile(), [p.read_bytes() for p in sorted(made.root.rglob("*.parquet"))]


@pytest.mark.parametrize(
    "form, parts, settings",
    [
        ("csv", 1, {}),
        ("parquet", 3, {"columns": {"label": "size", "ignore": ["late", "label"]}}),
        ("csv", 2, {"split": {"by": "group", "column": "town"}, "shard_rows": 90}),
        ("parquet", 1, {"split": {"by": "time", "column": "day"}, "columns": {"ignore": ["day"], "categorical": ["count"]}}),
        ("csv", 1, {"checks": {"duplicates_max": 0.01, "conflicts_max": 0.01, "ranges": {"size": {"max": 1.0}}}, "sensitive": ["town"]}),
        ("parquet", 1, {"test": "held.csv"}),
        ("jsonl", 1, {"split": {"by": "time", "column": "day"}, "columns": {"categorical": ["count"]}}),
    ],
)
def test_in_pieces_it_is_the_same(tmp_path: Path, form: str, parts: int, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = columns(len(form) + parts)
    write(tmp_path, made, form, parts)
    if "test" in settings:
        write(tmp_path, {k: v[::-1] for k, v in made.items()}, "csv", 1)
        (tmp_path / "rows0.csv").rename(tmp_path / "held.csv")
    found: list[Any] = []
    read = inpieces.rows_in_pieces
    monkeypatch.setattr(prepare, "rows_in_pieces", lambda *a: found.append(read(*a)) or found[-1])
    settings = {"source": f"rows*.{form}", **settings}
    whole = outcome(tmp_path, "auto", **settings)
    assert found == [None] * len(found)
    found.clear()
    assert outcome(tmp_path, "local", **settings) == whole
    assert found and not any(f is None or isinstance(f, str) for f in found)  # not by being read whole


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_files_with_their_columns_in_another_order_go_through_in_pieces(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = columns(3)
    write(tmp_path, made, form, 1)
    (tmp_path / f"rows0.{form}").rename(tmp_path / f"rows1.{form}")
    write(tmp_path, dict(reversed(made.items())), form, 1)
    whole = outcome(tmp_path, "auto", source=f"rows*.{form}")
    monkeypatch.setattr(inpieces, "_whole", lambda *why: pytest.fail(str(why)))
    assert outcome(tmp_path, "local", source=f"rows*.{form}") == whole


@pytest.mark.parametrize(
    "cells, message",
    [
        (["1"] * (N - 1) + ["old"], "is text in a column of numbers"),
        (["1"] * (N - 1) + ["1,2"], "cells"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_as_of_a_whole_one(tmp_path: Path, cells: list[str], message: str) -> None:
    rows = [f"{c},{'ab'[i % 2]}" for i, c in enumerate(cells)]
    (tmp_path / "rows.csv").write_text("\n".join(["size,label", *rows]) + "\n")
    said = []
    for engine in ("auto", "local"):
        with pytest.raises(SluiceError, match=message) as e:
            outcome(tmp_path, engine, source="rows.csv")
        said.append(str(e.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("rows.csv", "size, label\n" + "1, a\n2, b\n" * 60, "padded.*; declare data.delimiter"),
        ("rows.csv", "size,label\n" + "1,1\n2,NA\n3,2\n" * 60, "NA among numbers; leave these cells empty"),
        ("rows.jsonl", '{"size": [1], "label": "a"}\n' * 60, "lists or objects; store numbers or plain texts"),
    ],
)
def test_what_is_read_whole_though_it_should_not_be_is_said(
    tmp_path: Path, name: str, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_text(text)
    for engine, said in (("auto", False), ("local", True)):
        caplog.clear()
        project = projects.parse({"name": "trial", "task": "tabular", "data": {"source": name, "engine": engine}}, base_dir=tmp_path)
        with contextlib.suppress(SluiceError):
            report = prepare.validate_project_data(project, tmp_path, load_task(project, tmp_path))
            assert any(c.name == "reading" and re.search(why, c.message) for c in report.checks) is said
        assert bool(re.search(why, caplog.text)) is said


def test_arrows_memory_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    before, data = pa.default_memory_pool().backend_name, DataConfig(source="x.csv")
    with contextlib.suppress(ValueError), bounded(data):
        within = pa.default_memory_pool().backend_name
        raise ValueError
    assert within == ("jemalloc" if "jemalloc" in pa.supported_memory_backends() else before)
    assert pa.default_memory_pool().backend_name == before
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", before)
    with bounded(data):
        assert pa.default_memory_pool().backend_name == before


def test_the_engine_is_no_part_of_the_settings_version() -> None:
    def digest(**data: Any) -> str:
        return projects.parse({"name": "trial", "task": "tabular", "data": {"source": "a.csv", **data}}).digest

    assert digest() == digest(engine="local", memory="512 MB")


@pytest.mark.parametrize("seed", range(30))
def test_counts_of_parts_are_those_of_all(seed: int) -> None:
    r = np.random.default_rng(seed)
    x = np.where(r.random(400) < 0.1, r.choice([np.nan, np.inf, -np.inf], 400), np.round(r.normal(size=400), int(r.integers(0, 5))))
    counted = Tallier(int(r.integers(1, 120)))
    for part in np.array_split(x, int(r.integers(1, 7))):
        counted.add(part)
    pieces, whole, finite = counted.done(), Tally.of(x), np.sort(x[np.isfinite(x)])
    assert pieces.moments == whole.moments == pytest.approx((finite.mean(), finite.std()))
    assert (pieces.distinct, pieces.total, pieces.nulls) == (len(np.unique(finite)), len(finite), int(np.isnan(x).sum()))
    assert pieces.at(np.arange(len(finite))).tolist() == finite.tolist() and (pieces.least, pieces.most) == (np.nanmin(x), np.nanmax(x))
    assert pieces.below([0.0, 0.5]).tolist() == [int((finite < e).sum()) for e in (0.0, 0.5)]


@pytest.mark.parametrize("on_disk", [False, True])
def test_equal_rows_are_found_across_partitions(on_disk: bool) -> None:
    r = np.random.default_rng(3)
    ids = r.choice(r.integers(0, 2**64, 120, dtype=np.uint64), 300)
    values = r.integers(0, 2, 300).astype(float)
    parted = Partitions.of([(0, ids[:170], values[:170]), (170, ids[170:], values[170:])], on_disk)
    found = Copies.of(parted, 300, 5)
    rows: dict[int, list[int]] = {}
    for i, v in enumerate(ids.tolist()):
        rows.setdefault(v, []).append(i)
    assert found.different == len(rows) and found.again == sum(len(v) for v in rows.values() if len(v) > 1)
    assert found.most == max(map(len, rows.values()))
    assert np.flatnonzero(found.first).tolist() == sorted(v[0] for v in rows.values())
    at_odds = [v for v in rows.values() if len({values[i] for i in v}) > 1]
    assert found.against == sum(map(len, at_odds)) and found.differing[0] == min(min(v) for v in at_odds)
    others = Partitions.of([(0, ids[::7].copy(), None)], on_disk)
    count, twins = shared(others, parted, 5)
    assert count == len(ids[::7]) and twins == [(i, rows[int(v)][0]) for i, v in enumerate(ids[::7][:5].tolist())]


@pytest.mark.parametrize("by", ["hash", "group", "time"])
def test_rows_fall_on_the_same_side_however_they_come(by: Any) -> None:
    r = np.random.default_rng(5)
    ids = r.integers(0, 2**63, 2500, dtype=np.uint64)
    labels = pa.chunked_array([pa.array(r.choice(["a", "b", "rare"], 2500, p=[0.7, 0.28, 0.02]))])
    keys = None if by == "hash" else pa.chunked_array([pa.array(r.integers(0, 400, 2500))])
    keys = keys.cast(pa.string()) if by == "group" and keys is not None else keys
    split = Split(by=by, column=None if by == "hash" else "c")
    whole = checked_sides(ids, labels, split, False, keys)
    pieces = [Piece(ids[a : a + 700], labels.slice(a, 700), None if keys is None else keys.slice(a, 700)) for a in range(0, 2500, 700)]
    made = Splitter(lambda: iter(pieces), split, False, on_disk=True)
    assert np.concatenate([made.sides(p) for p in pieces]).tolist() == whole.tolist()


def test_steps_of_a_run_read_the_source_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = columns(1)
    write(tmp_path, made, "csv", 2)
    settings = {"source": "rows*.csv", "split": {"by": "time", "column": "day"}, "columns": {"ignore": ["note"]}}
    whole = outcome(tmp_path, "auto", **settings)
    monkeypatch.setenv("SLUICE_RUN_ROWS", str(tmp_path / "run"))
    looks: list[int] = []
    look = flow.look
    monkeypatch.setattr(flow, "look", lambda *a: looks.append(1) or look(*a))
    assert outcome(tmp_path, "local", **settings) == whole and len(looks) == 1
    write(tmp_path, {**made, "town": made["town"][::-1]}, "csv", 2)
    assert outcome(tmp_path, "local", **settings)[1] != whole[1] and len(looks) == 2  # a changed file is read again


@pytest.mark.parametrize("engine", ["local", "auto"])
def test_files_that_change_between_two_steps_of_a_run_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    made = columns(2)
    write(tmp_path, made, "parquet", 3)
    project = projects.parse({"name": "trial", "task": "tabular", "data": {"source": "rows*.parquet", "engine": engine}}, base_dir=tmp_path)

    def step(function: Any, *more: Any) -> Any:
        return function(project, tmp_path, load_task(project, tmp_path), *more)

    monkeypatch.setenv("SLUICE_RUN_ROWS", str(tmp_path / "run"))
    step(prepare.validate_project_data)
    step(prepare.prepare, tmp_path / "same")
    last = (tmp_path / "rows2.parquet").read_bytes()
    (tmp_path / "rows2.parquet").unlink()
    with pytest.raises(DataError, match=f"{N:,} rows were checked, and there are {N * 2 // 3:,} now"):
        step(prepare.prepare, tmp_path / "less")
    assert not (tmp_path / "less").exists()
    (tmp_path / "rows2.parquet").write_bytes(last)
    step(prepare.prepare, tmp_path / "again")
    monkeypatch.setenv("SLUICE_RUN_ROWS", str(tmp_path / "another run"))
    (tmp_path / "rows2.parquet").unlink()
    step(prepare.prepare, tmp_path / "unchecked")  # nothing was checked in this one
