"""Logs that no server of ours wrote, or that broke: what can be read is read once, the rest is told, and what comes behind is judged as ever."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.core.errors import DataError
from sluice.monitor import log_files
from sluice.monitor.diagnosis import diagnose
from sluice.monitor.drift import DriftMonitor
from sluice.monitor.labelled_rows import write_rows
from sluice.monitor.labels import Coverage, joined
from sluice.monitor.log import PredictionLog
from sluice.monitor.logs import Asked, analyze
from sluice.monitor.quality import Judge
from sluice.monitor.reference import profile_of
from sluice.problems.problem import problem

BEGUN = 1_790_000_000
FOLDER = "predictions/model=m/version=aaaaaaaaaaaa"
KINDS = {"age": "numeric", "job": "categorical"}


def line(i: int, **other: Any) -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(BEGUN + i, datetime.UTC).isoformat()
    own = {"time": at, "request_id": f"r{i}", "row": 0, "model": "m", "version": "a" * 12, "prediction": "yes", "probability": 0.75}
    features = {"age": 30.0 + i % 20, "job": ["nurse", "cook"][i % 2]}
    return {**own, "probabilities": [0.25, 0.75], "value": None, "features": features, **other}


def told(i: int, **other: Any) -> dict[str, Any]:
    return {"time": BEGUN + 5000 + i, "request_id": f"r{i}", "row": 0, "model": "m", "label": "yes", **other}


def written(path: Path, lines: list[Any], mode: str = "ab") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        for each in lines:
            file.write((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n")
    return path


def asked(root: Path, cursor: dict[str, Any] | None = None, **more: Any) -> tuple[list[str], PredictionLog]:
    log = PredictionLog(root, "m", **more)
    found = [i for batch, _ in log.read(cursor, rows=40) for i in batch.column("request_id").to_pylist()]
    return found, log


def ids(first: int, last: int) -> list[str]:
    return [f"r{i}" for i in range(first, last)]


@pytest.fixture(scope="module")
def profile() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = pa.table({"age": rng.integers(30, 50, 2000).astype(float), "job": pa.array(rng.choice(["nurse", "cook"], 2000).tolist())})
    return profile_of(rows, KINDS, ["yes"] * 1000 + ["no"] * 1000)


def judge(labels: tuple[str, ...] = ("no", "yes")) -> Judge:
    asked_of = problem("classification")
    every = dict(asked_of.metrics())
    return Judge(asked_of, labels, None, every["accuracy"], every, labels[-1])


#: What stands between good lines -> rows it adds, and what is told of it.
CASES: dict[str, tuple[list[Any], int, str]] = {
    "no JSON": ([b"garbage", b'{"request_id": "cut', b"\xff\xfe{}", b"[]", b"3", b"null"], 0, "6 lines could not be read (first: line 101 "),
    "zeros": ([b"\0" * 5000], 0, "line 101 is nothing but zeros"),
    "zeros before a line": ([b"\0" * 5000 + json.dumps(line(100)).encode()], 1, ""),
    "another program's": ([{"level": "info", "msg": "hi"}], 0, "has none of the columns of predictions: level, msg"),
    "features that are none": ([line(100, features=v) for v in ("x", [1], None, {}, 3)], 5, ""),
    "values of other types": ([line(100, features={"age": v, "job": v}) for v in ("old", {"a": 1}, [2], True, 7, 1e300, 2**65)], 7, ""),
    "ids of other types": ([line(100, request_id=v) for v in (1, 2.5, None, True, [], {}, "x" * 100_000)], 7, ""),
    "rows of other types": ([line(100, row=v) for v in (-1, 1.5, None, True, "x", 2**40, 2**70, [])], 8, ""),
    "answers of other types": ([line(100, **dict.fromkeys(("prediction", "probability", "value"), v)) for v in (1, "x", None, [], {}, True)], 6, ""),
    "probabilities of other types": ([line(100, probabilities=v) for v in ("x", [1], [], None, 3, ["a"], [None, None], {"no": 1})], 8, ""),
    "numbers that are none": ([json.dumps(line(100, features={"age": float("nan"), "job": "cook"}, probability=float("inf"))).encode()], 1, ""),
    "a column that lacks": ([{k: v for k, v in line(100).items() if k != lacks} for lacks in line(0)], len(line(0)), ""),
    "times that cannot be": ([line(100, time=v) for v in ("2999-01-01T00:00:00Z", "1900-01-01", -5, 0, "9999-12-31T23:59:59")], 5, "5 rows tell a time"),
    "times of other kinds": ([line(100, time=v) for v in ("tomorrow", 1.79e9, 1.79e12, 1.79e15, 1.79e18, 1e300, True, [], {})], 9, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_lines_that_are_none_cost_no_others(case: str, tmp_path: Path, profile: dict[str, Any]) -> None:
    bad, more, said = CASES[case]
    good = [line(i) for i in range(200)]
    written(tmp_path / FOLDER / "a.jsonl", [*good[:100], *bad, *good[100:]])
    written(tmp_path / "feedback/model=m/f.jsonl", [told(i) for i in range(200)])
    found, log = asked(tmp_path)
    assert [i for i in found if i in {f"r{n}" for n in range(100)} | {f"r{n}" for n in range(101, 200)}] == ids(0, 100) + ids(101, 200)
    assert len(found) == 200 + more and (said in log.faults[0] if said else not log.faults)
    monitor = DriftMonitor(profile)
    state = monitor.begin()
    for batch, _ in PredictionLog(tmp_path, "m").read(columns=monitor.columns):
        state, _ = monitor.feed(json.loads(json.dumps(state, allow_nan=False)), batch)
    assert state["rows"] == 200 + more
    out = diagnose(profile, tmp_path, "m", judge=judge())
    assert out["rows"] == 200 + more and out["labels"]["labelled"] >= 200 and json.dumps(out, allow_nan=False)
    assert out["quality"]["windows"][-1]["value"] == 1.0
    rows = write_rows(tmp_path, "m", tmp_path / "rows", "y")
    assert rows["rows"] >= 195
    assert analyze([str(tmp_path)], Asked())["predictions"]["rows"] >= 200


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([b"xx", b"\0", b'{"level": 1}', b"[]"], "f.jsonl: 4 lines could not be read (first: line 51 is no JSON"),
        ([told(5, label=v) for v in (1, 1.5, True, [], {}, "", "never heard of")], ""),
        ([told(5, outcome=v) for v in ("x", 1e300, True, [], {}, 2**70)], ""),
        ([b'{"request_id": "r5", "label": NaN}', b'{"request_id": "r5", "outcome": Infinity}'], ""),
        ([{"label": "yes"}, {"label": "yes", "request_id": None}, {"label": "yes", "request_id": 7}], ""),
        ([told(5, time=v) for v in ("2999-01-01", -5, 1e300, "now", None)], "2 rows tell a time that cannot be"),
        ([told(i, request_id=f"unknown{i}") for i in range(300)], ""),
    ],
)
def test_feedback_that_is_none_costs_no_other(bad: list[Any], said: str, tmp_path: Path) -> None:
    written(tmp_path / FOLDER / "a.jsonl", [line(i) for i in range(100)])
    written(tmp_path / "feedback/model=m/f.jsonl", [*(told(i) for i in range(50)), *bad, *(told(i) for i in range(50, 100))])
    coverage = Coverage()
    rows = {r["request_id"]: r["label"] for b in joined(tmp_path, "m", coverage=coverage) for r in b.to_pylist()}
    assert len(rows) == 100 and {v for k, v in rows.items() if k != "r5"} == {"yes"}
    assert bool(coverage.unread_labels) == bool(said) and said in "".join(coverage.unread_labels)


def test_a_label_is_the_class_it_names_whatever_its_type(tmp_path: Path) -> None:
    found = judge(("0", "1"))
    written(tmp_path / FOLDER / "a.jsonl", [line(i) for i in range(6)])
    written(tmp_path / "feedback/model=m/f.jsonl", [told(i, label=v) for i, v in enumerate([1, "1", 1.0, True, "true", "nothing"])])
    targets = [t for b in joined(tmp_path, "m") for t in found.rows(b)[2].tolist()]
    assert targets == [1, 1, 1, 1, 1, -1]


def test_a_quantity_whose_label_is_no_number_is_left_out() -> None:
    asked_of = problem("regression")
    found = Judge(asked_of, (), None, dict(asked_of.metrics())["mae"], dict(asked_of.metrics()))
    batch = pa.RecordBatch.from_pydict({"value": [1.0, 2.0, 3.0, 4.0], "label": ["1.5", "much", "nan", "3"]})
    fine, outputs, targets = found.rows(batch)
    assert (fine.tolist(), outputs.tolist(), targets.tolist()) == ([True, False, False, True], [1.0, 4.0], [1.5, 3.0])


def test_a_line_of_fifty_megabytes_is_never_held_and_what_is_behind_it_is_read(tmp_path: Path) -> None:
    written(tmp_path / FOLDER / "a.jsonl", [line(0), json.dumps(line(1, features={"job": "x" * 50_000_000})).encode(), line(2)])
    found, log = asked(tmp_path)
    assert found == ["r0", "r2"] and "1 line could not be read (first: line 2 has more than 16 MiB)" in log.faults[0]
    said = analyze([str(tmp_path)], Asked())
    assert said["predictions"]["rows"] == 2 and "1 lines" in said["faults"][0] and "too long" in said["faults"][0]


def test_a_last_line_without_its_newline_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / FOLDER / "a.jsonl", [line(0)])
    whole = json.dumps(line(1))
    with path.open("a") as file:
        file.write(whole[:30])
    first, log = asked(tmp_path)
    with path.open("a") as file:
        file.write(whole[30:])
    second, after = asked(tmp_path, log.cursor)
    with path.open("a") as file:
        file.write("\n" + json.dumps(line(2)) + "\n")
    third, last = asked(tmp_path, after.cursor)
    assert (first, second, third) == (["r0"], ["r1"], ["r2"]) and not last.faults
    assert asked(tmp_path, last.cursor)[0] == []


def renamed(path: Path) -> None:
    path.rename(path.with_name("a.jsonl.1"))


def copied(path: Path) -> None:
    path.with_name("a.jsonl.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)


def packed(path: Path) -> None:
    path.with_name("a.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("turn", [renamed, copied, packed])
def test_a_file_that_is_turned_over_is_read_to_its_end_and_once(turn: Callable[[Path], None], tmp_path: Path) -> None:
    path = written(tmp_path / FOLDER / "a.jsonl", [line(i) for i in range(100)])
    first, log = asked(tmp_path)
    written(path, [line(i) for i in range(100, 110)])  # written behind the last look
    turn(path)
    written(path, [line(i) for i in range(110, 115)])
    second, log = asked(tmp_path, json.loads(json.dumps(log.cursor)))
    written(path, [line(i) for i in range(115, 300)])
    third, log = asked(tmp_path, log.cursor)
    assert first + second + third == ids(0, 300) and asked(tmp_path, log.cursor)[0] == [] and not log.faults


def test_a_cursor_of_before_files_were_known_by_how_they_begin_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / FOLDER / "a.jsonl", [line(i) for i in range(10)])
    old = {"boundary": "", "done": [], "part": "", "row": 0, "lines": {f"{FOLDER}/a.jsonl": path.stat().st_size}}
    written(path, [line(10)])
    found, log = asked(tmp_path, old)
    renamed(path)
    assert found == ["r10"] and asked(tmp_path, log.cursor)[0] == []


def test_a_packed_file_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    raw = gzip.compress(b"".join(json.dumps(line(i, trace_id=os.urandom(40).hex())).encode() + b"\n" for i in range(3000)))
    path = tmp_path / FOLDER / "a.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(raw[: len(raw) // 2])
    found, log = asked(tmp_path)
    assert found == ids(0, len(found)) and 500 < len(found) < 3000 and "cannot be read beyond byte" in log.faults[0]
    path.write_bytes(raw)
    rest, log = asked(tmp_path, log.cursor)
    assert found + rest == ids(0, 3000) and asked(tmp_path, log.cursor)[0] == []
    path.write_bytes(raw[: len(raw) // 2])
    said = analyze([str(tmp_path)], Asked())
    assert said["predictions"]["rows"] >= len(found) - 1 and "to its end" in said["faults"][0]


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_parts_of_other_types_and_broken_ones_cost_no_others(tmp_path: Path, profile: dict[str, Any]) -> None:
    folder = tmp_path / FOLDER
    whole = parquet(folder / "20261101T000001-a.parquet", [line(i) for i in range(300)]).read_bytes()
    parquet(folder / "20261101T000002-b.parquet", [{"foo": 1}] * 10)
    types = {"time": "x", "row": "a", "probability": "hi", "probabilities": "no", "value": "v", "features": "none"}
    parquet(folder / "20261101T000003-c.parquet", [{**types, "request_id": i, "prediction": i} for i in range(5)])
    parquet(folder / "20261101T000004-d.parquet", [{"time": -(10**18), "request_id": b"\xff", "features": {"age": "x", "job": 1.5}}] * 5)
    parquet(
        folder / "20261101T000005-e.parquet", [{"time": datetime.datetime(2999, 1, 1), "features": {"age": float("inf"), "job": None}}] * 5
    )
    (folder / "20261101T000006-f.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "20261101T000007-g.parquet").touch()
    (folder / "20261101T000008-h.parquet").mkdir()
    os.mkfifo(folder / "20261101T000009-i.parquet")
    os.mkfifo(folder / "i.jsonl")
    (folder / "empty.jsonl").touch()
    parquet(folder / "20261101T000010-z.parquet", [line(i) for i in range(300, 600)])
    written(tmp_path / "feedback/model=m/f.jsonl", [told(i) for i in range(600)])
    log = PredictionLog(tmp_path, "m")
    found = [i for b, _ in log.read() if "request_id" in b.schema.names for i in b.column("request_id").to_pylist()]
    assert [i for i in found if str(i).startswith("r")] == ids(0, 600)
    assert (
        [f for f in log.faults if "foo" in f]
        and [f for f in log.faults if "-f.parquet" in f]
        and [f for f in log.faults if "-g.parquet" in f]
    )
    assert [f for f in log.faults if "5 rows tell a time" in f] and not [f for f in log.faults if "-h." in f or "-i." in f]
    out = diagnose(profile, tmp_path, "m", judge=judge())
    assert out["rows"] == 615 and out["labels"]["labelled"] == 600 and any("not read" in c for c in out["cautions"])
    assert analyze([str(tmp_path)], Asked())["predictions"]["rows"] >= 600


def test_a_part_that_is_still_being_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = parquet(tmp_path / FOLDER / "20261101T000001-a.parquet", [line(i) for i in range(50)])
    raw = path.read_bytes()
    path.write_bytes(raw[:100])
    none, log = asked(tmp_path)
    path.write_bytes(raw)
    found, log = asked(tmp_path, log.cursor)
    assert none == [] and found == ids(0, 50) and asked(tmp_path, log.cursor)[0] == []


def test_a_name_or_a_time_of_the_future_hides_nothing_that_comes(tmp_path: Path, profile: dict[str, Any]) -> None:
    parquet(tmp_path / FOLDER / "29990101T000000-ahead.parquet", [line(i, time="2999-01-01T00:00:00Z") for i in range(10)])
    parquet(tmp_path / FOLDER / "20269999T999999-none.parquet", [line(i) for i in range(10, 20)])
    found, log = asked(tmp_path)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    parquet(tmp_path / FOLDER / f"{stamp}-now.parquet", [line(i) for i in range(20, 400)])
    more, log = asked(tmp_path, log.cursor)
    assert sorted(found) == sorted(ids(0, 20)) and more == ids(20, 400) and asked(tmp_path, log.cursor)[0] == []
    monitor = DriftMonitor(profile)
    state = monitor.begin()
    for batch, _ in PredictionLog(tmp_path, "m").read(columns=monitor.columns):
        state, _ = monitor.feed(state, batch)
    assert state["open"]["ended"] < (time.time() + 90_000) * 1e6


def test_of_two_versions_in_one_file_the_one_that_is_asked_for(tmp_path: Path) -> None:
    other = [line(i, version="b" * 64, features={"years": 1.0}) for i in range(5, 9)]
    written(tmp_path / "a.jsonl", [*(line(i) for i in range(5)), *other, line(9, model="another"), line(10, version=None)])
    assert asked(tmp_path, version="a" * 64)[0] == [*ids(0, 5), "r10"] and asked(tmp_path, version="b" * 12)[0] == [*ids(5, 9), "r10"]
    log = PredictionLog(tmp_path, "m", version="b" * 12)
    assert [b.schema.names for b, _ in log.read(columns=["features"])] == [["features"]]


def test_more_files_than_can_be_remembered_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        written(tmp_path / FOLDER / f"{i}.jsonl", [line(i)])
    assert asked(tmp_path)[0] == ids(0, 4)
    monkeypatch.setattr(log_files, "MOST", 3)
    with pytest.raises(DataError, match="more than 3 files of JSON lines"):
        asked(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told_and_read_once_it_may(tmp_path: Path) -> None:
    path = parquet(tmp_path / FOLDER / "20261101T000001-a.parquet", [line(i) for i in range(5)])
    path.chmod(0)
    found, log = asked(tmp_path)
    assert found == [] and "Permission denied" in log.faults[0]
    path.chmod(0o600)
    assert asked(tmp_path, log.cursor)[0] == ids(0, 5)
