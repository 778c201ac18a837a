"""A diagnosis tells a broken source from a real shift and from another truth, says since when, and ends in a sentence; on the command line too."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from sluice.cli import main
from sluice.core import files
from sluice.core.errors import DataError
from sluice.engines.predictor import Predictor
from sluice.monitor import diagnosis_report, losses, timeline
from sluice.monitor.diagnosis import diagnose
from sluice.monitor.quality import Judge
from sluice.monitor.reference import profile_of
from tests.support import logged, world
from tests.support.world import World
from tests.unit.serving import builders

AT = "2026-11-02 11:46:40"  # of row 2000


@pytest.fixture(scope="module")
def profile() -> dict[str, Any]:
    return World(99).profile()


def judge(profile: dict[str, Any]) -> Judge:
    package = SimpleNamespace(objective="classification", labels=tuple(world.LABELS), rule=None, metrics={}, profile=lambda: profile)
    return Judge.of(cast(Any, package))


def told(root: Path, profile: dict[str, Any], what: str, seed: int = 0, *, labels: bool = True) -> dict[str, Any]:
    """2,000 rows as ever, then 1,200 to which `what` happened."""
    w = World(seed)
    x = w.rows(2000)
    at = w.log(root, x, w.truth(x) if labels else None)
    x, seen = w.rows(1200), None
    if what in world.SHIFTS:
        x, _ = world.shifted(what, w, 1200)
    y = w.truth(x)
    if what in world.FAULTS:
        seen, _ = world.broken(what, x, w.rng)
    if what == "another truth":
        y = np.where((x["job"] == "nurse") & (w.rng.random(1200) < 0.4), 1 - y, y)
    w.log(root, x, y if labels else None, seen=seen, at=at)
    return diagnose(profile, root, "m", judge=judge(profile))


@pytest.mark.parametrize("what", ["nulls", "cents in half", "inches", "swapped texts", "upper case", "default"])
def test_a_broken_source_is_told_from_a_shift(tmp_path: Path, profile: dict[str, Any], what: str) -> None:
    found = told(tmp_path, profile, what)
    _, columns = world.broken(what, World(1).rows(10), np.random.default_rng(0))
    assert found["kind"] == "data fault" and found["wrong"]
    assert {f["feature"] for f in found["features"] if (f["cause"] or {}).get("fault")} == columns
    assert found["sentence"].startswith(f"The data is broken since {AT} UTC") and "train on no row since" in found["sentence"]


@pytest.mark.parametrize("what", ["older", "richer", "new city"])
def test_a_real_shift_is_no_fault(tmp_path: Path, profile: dict[str, Any], what: str) -> None:
    found = told(tmp_path, profile, what, labels=what == "older")
    assert found["kind"] == "shift" and f"really moved since {AT}" in found["sentence"]
    assert ("say 1,200 labelled rows" if what == "older" else "once labels of these rows are there") in found["sentence"]
    if what != "older":
        assert any("no row has a label" in c for c in found["cautions"]) and found["estimate"]["blind"]


def test_another_truth_is_found_with_its_slice_and_nothing_else_moved(tmp_path: Path, profile: dict[str, Any]) -> None:
    found = told(tmp_path, profile, "another truth")
    assert found["kind"] == "concept drift" and found["features"] == []
    assert found["slices"]["all_in"] == "job = nurse" and "All of the loss is where job = nurse" in found["sentence"]
    assert found["quality"]["after"]["high"] < found["quality"]["before"]["value"]
    assert [e["what"] for e in found["timeline"]] == ["release", "quality"]


def test_nothing_wrong_and_nothing_to_say(tmp_path: Path, profile: dict[str, Any]) -> None:
    found = told(tmp_path, profile, "nothing")
    assert (found["kind"], found["wrong"]) == ("healthy", False) and "3,200 labelled rows" in found["sentence"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    (tmp_path / "empty").mkdir()
    found = diagnose(profile, tmp_path / "empty", "m", judge=judge(profile))
    assert (found["kind"], found["wrong"]) == ("unknown", False) and "too few rows" in found["sentence"]


def test_two_columns_that_look_alike_are_found_by_their_company(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    n = 4000
    shared = rng.normal(size=(n, 2))
    x = np.stack([shared[:, 0], shared[:, 0] + 0.5 * rng.normal(size=n), shared[:, 1], shared[:, 1] + 0.5 * rng.normal(size=n)], axis=1)
    x /= x.std(axis=0)
    p = 1 / (1 + np.exp(-4 * x[:, 0]))
    y = rng.random(n) < p
    seen = x.copy()
    seen[2000:, [0, 2]] = x[2000:][:, [2, 0]]
    shown = 1 / (1 + np.exp(-4 * seen[:, 0]))
    names = ["a", "a2", "b", "b2"]
    profile = profile_of(pa.table(dict(zip(names, x.T, strict=True))), dict.fromkeys(names, "numeric"), ["yes" if v else "no" for v in y])
    ids = [f"r{i}" for i in range(n)]
    times = world.START + np.arange(n) * 60_000_000
    logged.predictions(
        tmp_path,
        times,
        ids=ids,
        labels=world.LABELS,
        probabilities=np.stack([1 - shown, shown], axis=1),
        features=dict(zip(names, seen.T, strict=True)),
    )
    logged.feedback(tmp_path, times + 1, ids, ["yes" if v else "no" for v in y])
    found = diagnose(profile, tmp_path, "m", judge=judge(profile))
    assert found["kind"] == "data fault" and "a and b are swapped" in found["sentence"], found["sentence"]


def test_events_stand_on_one_line_and_a_release_just_before_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"time": "2026-11-02T11:40:00Z", "what": "rollout", "text": "stock.csv moved to the new system"}\n\n'
        '{"alerts": [{"startsAt": "2026-11-02T12:00:00Z", "status": "firing", "labels": {"alertname": "SlowAnswers"}, "annotations": {"summary": "p99 2 s"}}]}\n'
    )
    events = timeline.of_file(path)
    assert [(e.what, e.text) for e in events] == [
        ("rollout", "stock.csv moved to the new system"),
        ("alert", "SlowAnswers firing: p99 2 s"),
    ]
    assert timeline.beside(events, timeline.micros("2026-11-02T11:46:40Z")) == "7 minutes after stock.csv moved to the new system"
    assert timeline.beside(events, timeline.micros("2026-11-09T11:46:40Z")) == ""
    path.write_text("nonsense\n")
    with pytest.raises(DataError, match="line 1"):
        timeline.of_file(path)


def test_on_the_command_line_with_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)

    def people(n: int) -> dict[str, np.ndarray]:
        return {"age": rng.normal(40, 10, n), "job": np.array(["nurse", "cook"], dtype=object)[rng.choice(2, n)]}

    table = pa.table({"age": people(4000)["age"], "job": pa.array(people(4000)["job"].tolist())})
    (tmp_path / "churn").mkdir()
    files.write_json(
        tmp_path / "churn/profile.json", profile_of(table, {"age": "numeric", "job": "categorical"}, ["a"] * 3000 + ["b"] * 1000)
    )
    package = builders.tabular(tmp_path / "churn")
    log, labels = tmp_path / "log", list(package.labels)
    for at in (0, 1500):
        x = people(1500)
        shown = {**x, "age": x["age"] * (1 if at == 0 else 1000)}
        ids = [f"r{at + i}" for i in range(1500)]
        times = world.START + (at + np.arange(1500)) * 60_000_000
        p = np.full((1500, len(labels)), 1 / len(labels))
        features = {"age": shown["age"], "job": shown["job"].tolist()}
        logged.predictions(
            log, times, ids=ids, labels=labels, probabilities=p, features=features, model="churn", version=package.digest[:12]
        )
        logged.feedback(log, times + 1, ids, [labels[0]] * 1500, model="churn")
    command = ["diagnose", str(package.root), "--log", str(log), "--home", str(tmp_path / "home"), "--model", "churn"]
    assert main([*command, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "data fault" and "age is 1000 times larger" in found["sentence"] and found["exit_code"] == 3
    page = Path(found["report"]).read_text()
    assert '<span class="badge refuse">data fault</span>' in page and "-0.000" not in page
    assert "1000 times larger" in page and "In a sentence" in page and "<script" not in page
    assert {w["column"] for w in found["importance"]} == {"age", "job"}
    assert main(command) == 3 and "1000 times larger" in " ".join(capsys.readouterr().out.split())
    assert main([*command, "--events", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(("kind", "moved"), [("quiet", []), ("unrelated", ["age", "job"]), ("a little", [])])
def test_a_column_that_is_worth_more_or_less_than_it_was_is_marked_and_no_other(tmp_path: Path, kind: str, moved: list[str]) -> None:
    package, rng, n = builders.tabular(tmp_path / "churn"), np.random.default_rng(3), 1600
    columns = {"age": rng.normal(40, 10, n), "job": np.array(["nurse", "cook"], dtype=object)[rng.choice(2, n)]}
    predictor = Predictor(package)
    given = predictor.processor.encode_batch([{c: v[i] for c, v in columns.items()} for i in range(n)])
    outputs = np.asarray(predictor.run(given)[package.outputs[0].name], np.float64)
    targets, after = outputs.argmax(axis=1), np.arange(n) >= n // 2
    # What is true goes with the answers; since then with nothing, or in all but a tenth of the rows.
    other = {"quiet": 0.0, "unrelated": 1.0, "a little": 0.1}[kind]
    swapped = after & (rng.random(n) < other)
    targets = np.where(swapped, rng.permutation(targets), targets)
    rows = losses.Rows(np.arange(n), np.arange(n), outputs, targets, {c: np.asarray(v, object) for c, v in columns.items()})
    found = losses.importance(package, Judge.of(package), rows, after)
    assert found is not None and sorted(w["column"] for w in found if w["moved"]) == moved, found
    told = {"features": [], "importance": found}
    cells = next(rows for head, rows, _ in diagnosis_report.tables(told) if head[0].startswith("What columns"))
    assert sorted(c[0] for c in cells if c[-1] == "changed") == moved
