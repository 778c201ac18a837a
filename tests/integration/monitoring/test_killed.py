"""`sluice monitor --retrain`, killed at each moment of its work and called again: one shift is one retraining, whatever was killed in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.cli import main
from sluice.core import files
from sluice.core.home import Home
from sluice.core.warm.client import PLACE
from sluice.monitor import profile_of
from sluice.monitor.retrain import run_name
from sluice.package.package import Package, Store
from sluice.registry.versions import CHAMPION, Registry
from tests.support import logged
from tests.tools.long import ALL
from tests.unit.serving import builders

LABELS, TRAINED, TOLD = ["a", "b", "c"], 600, 900
PROJECT = """
name: churn
task: tabular
data: {source: "labelled://churn?rows=rows.parquet&log=log", columns: {label: left}}
model: {estimator: logistic_regression}
evaluate: {minimum: 0.5}
monitor: {window: {rows: 200}, retrain: {drift: {windows: 2}, cool_down_hours: 0}}
"""
#: Each with what the call before left, in the order in which they come to pass.
MOMENTS = [
    "reading",
    "writing:{digest}.json",
    "writing:-quality.json",
    "deciding",
    "writing:-retraining.json",
    "written:-retraining.json",
    "ended:preprocess",
    "ended:train",
    "ended:evaluate",
    "ended:register",
    "ended:rollout",
    "writing:outcome.json",
    "written:outcome.json",
]
#: Of these the run is begun anew each time: some stand for the others, which take their minutes where all is tested.
QUICK = [m for m in MOMENTS if m not in ("ended:train", "ended:evaluate", "ended:register", "writing:outcome.json")]


def people(rng: np.random.Generator, n: int, older: float = 0.0) -> tuple[pa.Table, list[str]]:
    age = rng.normal(40 + older, 10, n)
    job = rng.choice(["nurse", "cook"], n)
    label = np.array(LABELS)[(age > 38).astype(int) + (age > 52)]
    return pa.table({"age": age, "job": pa.array(job.tolist(), pa.string())}), label.tolist()


def watched(root: Path) -> Package:
    """A model, the rows it learnt from, and a log: 400 rows as those were, 500 of people who are older, each told what was true."""
    rng = np.random.default_rng(0)
    rows, true = people(rng, TRAINED)
    pq.write_table(rows.append_column("left", pa.array(true)), root / "rows.parquet")
    (root / "sluice.yaml").write_text(PROJECT)
    (root / "model").mkdir()
    files.write_json(root / "model" / "profile.json", profile_of(rows, {"age": "numeric", "job": "categorical"}, true))
    package = builders.tabular(root / "model")
    begun = int(time.time() - 3600) * 1_000_000
    for part, (n, older) in enumerate(((400, 0.0), (TOLD - 400, 25.0))):
        asked, true = people(rng, n, older)
        times, ids = begun + (np.arange(n) + 400 * part) * 1_000_000, [f"r{part}-{i}" for i in range(n)]
        p = np.array([[0.9 if name == t else 0.05 for name in LABELS] for t in true])
        columns = {c: asked.column(c).to_pylist() for c in asked.column_names}
        model = {"model": package.name, "version": package.digest[:12]}
        logged.predictions(root / "log", times, ids=ids, labels=LABELS, probabilities=p, features=columns, **model)
        logged.feedback(root / "log", times + 1_000_000, ids, true, model=package.name)
    return package


def call(root: Path, *begin: str, what: str = "") -> subprocess.CompletedProcess[str]:
    """`sluice monitor --retrain` as a person's: with a warm process of its own, which has to end with it. Of `what`, or the model that was watched first."""
    command = ["monitor", what or str(root / "model"), "--log", str(root / "log"), "--home", str(root / "home"), "--json", "--retrain"]
    command += ["--project", str(root / "sluice.yaml")]
    env = {k: v for k, v in os.environ.items() if k != PLACE} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", *begin, *command], env=env, capture_output=True, text=True, timeout=900, check=False)


def state(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "monitor" / "churn-retraining.json").read_text())["state"]
    return found


@pytest.mark.timeout(3600)
def test_one_shift_is_one_retraining_whatever_was_killed_in_it(tmp_path: Path) -> None:
    package, home = watched(tmp_path), Home(tmp_path / "home")
    name = run_name(package.name, str(home.root.resolve()), 1)
    for moment in MOMENTS if ALL else QUICK:
        # The last one watches the champion by its name, which is the promoted model by then: the run that was killed behind its promotion is its own.
        what = package.name if moment == MOMENTS[-1] else ""
        died = call(tmp_path, "tests.integration.monitoring.dies", moment.format(digest=package.digest[:12]), what=what)
        assert died.returncode == -signal.SIGKILL, (moment, died.returncode, died.stdout[-500:], died.stderr[-2000:])
        store = Store(home.root / "store")
        assert all(store.get(digest).digest == digest for digest in store.digests()), f"{moment}: what is in the store is whole"
        assert not home.runs.exists() or {p.name for p in home.runs.iterdir()} <= {name}, moment
    last = call(tmp_path, "sluice")
    told = json.loads(last.stdout)
    # The run had come to its end: the last call takes that over, and asks for no other.
    assert (last.returncode, told["retraining"]["what"]) == (3, "none"), last.stdout + last.stderr
    assert (told["rows"], told["windows"], told["open"], told["faults"]) == (TOLD, 4, 100, [])
    found = state(home.root)
    assert (found["number"], found["failed"], found["run"]["name"], found["run"]["outcome"]) == (1, 0, name, "promoted")
    assert [p.name for p in home.runs.iterdir()] == [name] and not list(home.root.rglob(files.PARTIAL + "*"))
    outcome = json.loads((home.runs / name / "outcome.json").read_text())
    # Trained on the rows it had and on those that asked for it, each once.
    assert outcome["steps"][0]["reasons"][0].startswith(f"{TRAINED + TOLD:,} train rows"), outcome["steps"][0]
    versions = Registry(home.tracking_uri).versions(package.name)
    assert [(v.number, v.digest, CHAMPION in v.aliases) for v in versions] == [("1", outcome["digest"], True)]
    assert Store(home.root / "store").get(outcome["digest"])
    assert main(["audit", "verify", "--home", str(home.root)]) == 0
