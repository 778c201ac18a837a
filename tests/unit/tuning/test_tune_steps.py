"""The steps of the tuning pipeline, one after another on a journal; trainings and the tracker are played."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import yaml

from components.tune import logic
from sluice.core.gate import Gate
from sluice.data.dataset import write_dataset
from sluice.tuning import search as searching

RATE = {"type": "float", "low": 1e-3, "high": 1e-1, "log": True}


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What went to the tracker; trainings answer at once, the better the larger the rate."""
    calls: list[tuple[Any, ...]] = []

    class Recorder:
        def __init__(self, settings: Any, home: Any, name: str):
            calls.append(("open", name))

        def put(self, *call: Any) -> None:
            calls.append(call)

        def close(self) -> None:
            calls.append(("close",))

    def fit(project: Any, dataset: Any, out: Path, *, base_dir: Any = None, on_event: Any = None) -> Any:
        rate = project.train.learning_rate
        on_event({"kind": "epoch", "epoch": 1, "epochs": 1, "validation_loss": 1 - rate, "validation_metrics": {"accuracy": rate}})
        return SimpleNamespace(metrics={"accuracy": rate})

    monkeypatch.setattr(logic, "BackgroundTracker", Recorder)
    monkeypatch.setattr(searching, "fit", fit)
    return calls


def test_begin_trials_choose(tmp_path: Path, tracked: list[tuple[Any, ...]]) -> None:
    rows = pa.table(
        {"row_id": [hashlib.sha256(bytes([i])).hexdigest()[:16] for i in range(4)], "a": [1.0, 2.0, 3.0, 4.0], "label": ["x", "y"] * 2}
    )
    write_dataset(
        tmp_path / "data",
        {"train": rows},
        task="tabular",
        objective="classification",
        labels=["x", "y"],
        columns={"a": "numeric"},
        source={},
        shard_rows=100,
    )
    project = json.dumps(
        {
            "name": "t",
            "task": "tabular",
            "data": {"source": "x"},
            "train": {"epochs": 1},
            "tune": {"trials": 5, "parallel": 2, "storage": f"journal:{tmp_path}/shared/t.journal", "space": {"train.learning_rate": RATE}},
        }
    )
    given = {"dataset_path": str(tmp_path / "data")}
    workers = logic.begin(project, "", "", gate_path=str(tmp_path / "begin/x/gate"), **given)
    assert workers == ["1", "2"]
    done = [logic.trials(project, "", "", w, gate_path=str(tmp_path / f"{w}/x/gate"), **given) for w in workers]
    assert done == [5, 0]
    text = logic.choose(project, "", "", report_path=str(tmp_path / "report.html"), gate_path=str(tmp_path / "choose/x/gate"), **given)
    found = Gate.read(tmp_path / "choose/x/gate").evidence
    rates = [t["params"]["train.learning_rate"] for t in found["trials"]]
    merged = yaml.safe_load(text)
    assert merged["train"] == {"epochs": 1, "learning_rate": max(rates)} and "tune" not in merged
    assert "value of each trial" in (tmp_path / "report.html").read_text()
    assert [c[1] for c in tracked if c[0] == "open"] == [f"{found['study']}-trial-{i}" for i in range(5)]
    assert [c for c in tracked if c[0] == "finish"] == [("finish", "FINISHED")] * 5


def test_a_space_the_project_does_not_take_ends_the_first_step(
    tmp_path: Path, tracked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    project = json.dumps(
        {"name": "t", "task": "tabular", "data": {"source": "x"}, "tune": {"space": {"train.rate": RATE}, "storage": "journal:/x"}}
    )
    with pytest.raises(SystemExit):
        logic.begin(project, "", "", dataset_path=str(tmp_path), gate_path=str(tmp_path / "begin/x/gate"))
    assert "tune.space.train.rate" in capsys.readouterr().out
