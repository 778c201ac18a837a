"""The SDK with DataFrames, event loops, comparisons and an output that is written over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import Client
from sluice.client import _opened, comparison, frames
from sluice.client.following import in_thread
from sluice.client.live import Live
from sluice.client.runs import Rollout, Run
from sluice.core import files
from sluice.core.errors import DataError, DeadlineError, HomeError, ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.engines.predictor import Predictor
from sluice.package.package import Package
from sluice.registry.versions import Version
from tests.unit.serving import builders

COLUMNS = {"id": ["r1", "r2", "r3"], "age": [20.0, None, 61.5], "job": ["cook", "nurse", None]}
FRAMES = {"pandas": pd.DataFrame(COLUMNS, index=[7, 8, 9]), "polars": pl.DataFrame(COLUMNS), "arrow": pa.table(COLUMNS)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return builders.tabular(tmp_path_factory.mktemp("model") / "p")


@pytest.mark.parametrize("kind", FRAMES)
def test_answers_come_back_as_the_kind_of_frame_that_was_given(model: Package, tmp_path: Path, kind: str) -> None:
    frame = FRAMES[kind]
    out = Client(tmp_path).predict(str(model.root), frame)
    rows = [{"age": a, "job": j} for a, j in zip(COLUMNS["age"], COLUMNS["job"], strict=True)]
    labels = [model.labels[i] for i in Predictor(model).predict(rows).argmax(axis=1)]
    assert type(out) is type(frame)
    assert list(out["prediction"].to_pylist() if kind == "arrow" else out["prediction"]) == labels
    names = out.column_names if kind == "arrow" else list(out.columns)
    assert names == ["id", "age", "job", "prediction", "probability"]
    if kind == "pandas":
        assert list(out.index) == [7, 8, 9] and "prediction" not in frame.columns


def test_a_column_the_model_needs_and_a_row_it_cannot_use_are_named(model: Package, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="job"):
        Client(tmp_path).predict(str(model.root), FRAMES["pandas"].rename(columns={"job": "jobs"}))
    with pytest.raises(DataError, match="age"):
        Client(tmp_path).predict(str(model.root), FRAMES["pandas"].assign(age=["20", "old", "3"]))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"a": [1]}, "no DataFrame"),
        ("rows.csv", "no DataFrame"),
        (pd.DataFrame({"a": [1, "x"]}), "several types"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of one name"),
        (pd.DataFrame({"a": []}), "is empty"),
    ],
)
def test_what_is_no_frame_of_rows_is_refused(frame: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as e:
        frames.to_arrow(frame)
    assert e.value.field == "data" and e.value.fix


def test_a_frame_stands_in_place_of_the_source_and_is_kept_once(tmp_path: Path) -> None:
    (tmp_path / "sluice.yaml").write_text(
        'name: mine\ntask: tabular\ndata: {source: rows.csv, format: csv, delimiter: ";", columns: {label: job}, split: {test: 0.3}}\n'
    )
    client = Client(tmp_path / "home")
    sources = client._sources(FRAMES["pandas"], None)
    assert sources == client._sources(FRAMES["arrow"], None), "equal rows are one file"
    project, text, _ = _opened(tmp_path, (), None, sources)
    assert project.data.source == sources["source"] and project.data.columns.label == "job" and project.data.split.test == 0.3
    assert "rows.csv" not in text and "delimiter" not in text
    assert pq.read_table(project.data.source).column_names == ["id", "age", "job"]
    with pytest.raises(ProjectError, match="of this machine"):
        Client(tmp_path, endpoint="http://127.0.0.1:9", token="x").submit(tmp_path, data=FRAMES["pandas"])


def test_a_cancelled_wait_comes_back_at_once_and_errors_come_through(tmp_path: Path) -> None:
    async def both() -> float:
        begun = time.monotonic()
        task = asyncio.create_task(in_thread(lambda: time.sleep(3)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - begun
        with pytest.raises(HomeError, match="no such run"):
            await Client(tmp_path).wait_async("never")
        assert await in_thread(lambda: 4) == 4
        return took

    assert asyncio.run(both()) < 2


def test_a_wait_with_a_deadline_says_how_to_come_back_also_to_an_event_loop(tmp_path: Path) -> None:
    client = Client(tmp_path)
    run = client.home.create().new_run("mine")
    with client.home.lock("test"), pytest.raises(DeadlineError, match="has not ended"):
        asyncio.run(client.wait_async(run, timeout=0.2, quiet=True))


def version(number: str, data: str, accuracy: float) -> Version:
    return Version("points", number, number * 64, "u", (), {"accuracy": accuracy}, {"sluice.data": data}, None, 0)


def test_two_models_are_drawn_side_by_side_with_their_intervals(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    for number, low in (("1", 0.8), ("2", 0.9)):
        run = f"points-{number}"
        files.write_json(
            home.runs / run / "outcome.json", {"run": run, "project": "points", "outcome": "promoted", "steps": [], "digest": number * 64}
        )
        metrics = {"accuracy": {"value": low + 0.02, "low": low, "high": low + 0.04}}
        Gate("evaluate", "pass", (), {"evaluation": {"metrics": metrics}}).write(home.runs / run / "gates" / "evaluate.json")
    found = comparison.of(version("1", "d", 0.82), version("2", "d", 0.92), home, {"train.epochs": ("1", "2")}, True)
    assert found.difference["accuracy"] == pytest.approx(0.1) and found.same_rows
    assert found.metrics["accuracy"] == ((0.82, 0.8, pytest.approx(0.84)), (0.92, 0.9, pytest.approx(0.94)))
    drawn = found.plot().body
    assert drawn.count("<circle") == 2 and "points@1: 0.82" in drawn and "different rows" not in drawn
    assert "train.epochs: 1 -> 2" in repr(found) and "accuracy: 0.82 (0.80 to 0.84)" in repr(found)
    other = comparison.of(version("1", "d", 0.82), version("2", "e", 0.92), home, {}, False)
    assert "different rows" in other.plot().body and "not known" in repr(other)


def test_a_rollout_is_a_thing_of_its_own() -> None:
    tests = [{"metric": "errors", "verdict": "pass", "e_worse": 0.1, "e_within": 30.0, "difference": 0.0, "low": -0.01, "high": 0.01}]
    line = [{"t": 0.0, "weight": 10, "tests": []}, {"t": 4.0, "weight": 100, "tests": tests}]
    run = Run({"run": "a-1", "project": "a", "outcome": "promoted"}, (Gate("rollout", "pass", ("no worse",), {"timeline": line}, 4.0),))
    assert isinstance(run.rollout, Rollout) and run.rollout.promoted and run.rollout.tests == tests
    assert "evidence that it is worse" in run.rollout.plot().body and "errors: pass" in repr(run.rollout)
    assert Run({"run": "a-1", "project": "a", "outcome": "refused"}, ()).rollout is None


def test_in_a_notebook_one_output_is_written_over_with_lines_and_a_bar() -> None:
    outputs: list[dict[str, str]] = []

    def show(data: dict[str, str], again: bool) -> None:
        assert again == bool(outputs)
        outputs.append(data)

    live = Live(show)
    live.start("mine: <run>")
    live.event({"kind": "gate", "step": "validate_data", "decision": "pass", "seconds": 1.0, "reasons": ["ok"]})
    live._written = 0.0
    live.event({"kind": "progress", "step": "train", "data": {"epoch": 1, "step": 3, "steps": 12, "loss": 0.5}})
    assert '<progress max="1" value="0.250"' in outputs[-1]["text/html"] and "&lt;run&gt;" in outputs[-1]["text/html"]
    written = len(outputs)
    for step in range(4, 12):
        live.event({"kind": "progress", "step": "train", "data": {"epoch": 1, "step": step, "steps": 12, "loss": 0.5}})
    assert len(outputs) - written <= 1, "a bar that moves is not written at each step"
    live.close()
    assert "<progress" not in outputs[-1]["text/html"] and "validate_data" in outputs[-1]["text/plain"]
    assert np.all([o["text/plain"].startswith("mine") for o in outputs])
