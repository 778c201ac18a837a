"""What calibration changes, and what importance and a row's explanation cost, on a table like the adult census: one JSON line.

python -m tests.bench.explanations
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import answers
from sluice.formats.export import export_package
from sluice.gates.facts import Judged
from sluice.gates.importance import Importance
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.prediction.explain import Explainer
from sluice.problems.evaluator import evaluate
from sluice.project import parse
from sluice.tasks import load_task
from tests.bench.tables.made import adult_like


def main(base: Path) -> dict[str, Any]:
    """Weights of classes make XGBoost's probabilities say what does not come true."""
    frame = adult_like()
    frame.to_csv(base / "rows.csv", index=False)
    raw = {
        "name": "adult",
        "task": "tabular",
        "data": {"source": "rows.csv", "columns": {"label": "income"}},
        "model": {"estimator": "xgboost"},
        "train": {"class_weights": "balanced"},
    }
    project = parse(raw, base_dir=base)
    task = load_task(project, base)
    dataset = prepare(project, base, task, base / "data")
    task.learner().fit(Job(dataset, base / "model"))
    out: dict[str, Any] = {"rows": len(frame), "calibration": {}}
    for method in ("isotonic", "platt"):
        asked = parse({**raw, "export": {"calibrate": method}}, base_dir=base)
        found = export_package(asked, base / "model", dataset, base / method, base_dir=base).evidence["calibration"]
        sides = {side: {k: round(found[side][k]["value"], 4) for k in ("brier", "log_loss")} for side in ("before", "after")}
        out["calibration"][method] = {**sides, "ece": [round(found[side]["calibration"]["ece"], 4) for side in ("before", "after")]}
    package = packages.read(base / "isotonic")
    predictor, labels = Predictor(package), list(package.labels)
    outputs = answers(predictor.predict, package.preprocess, dataset, "test")
    targets = dataset.problem.targets(dataset.read("test", ["label"]).column("label"), labels)
    judged = evaluate(outputs, targets, labels, project.evaluate, asked=dataset.problem)
    begun = time.process_time()
    told = Importance().judge(Judged(project, dataset, package, outputs, targets, judged["positive"], None, judged), project.evaluate)
    out["importance"] = {c["column"]: round(c["value"], 4) for c in told.evidence["importance"]["columns"]}
    out["importance_seconds"] = round(time.process_time() - begun, 3)
    explainer, row = Explainer(predictor), {k: v for k, v in frame.iloc[0].items() if k != "income" and v == v}
    begun = time.process_time()
    out["residual"] = explainer.explain(row)["residual"]
    out["explain_seconds"] = round(time.process_time() - begun, 4)
    return out


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(main(Path(folder))))
