"""Runs in a step's pod: preprocess digits onto the shared volume, run the train step over two nodes, say what came of it."""

import hashlib
import json
import os
import sys
from pathlib import Path

from components.preprocess.logic import run as preprocess
from components.train import trainjob
from components.train.logic import run as train

what = sys.argv[1] if sys.argv[1:] else "digits"
settings = {
    "name": what,
    "task": "image",
    "data": {"source": "sklearn://digits"},
    "model": {"channels": 1, "size": [8, 8], "width": 8},
    "train": {"epochs": 30, "batch_size": 16, "nodes": 2, "processes": 1, "learning_rate": 3e-3, "checkpoint": {"every_seconds": 1}},
}
work = Path("/store/e2e-train") / what / os.environ["HOSTNAME"]
if what == "fails":
    jobs = trainjob.TrainJobs()
    spec = trainjob.JobSpec("digits-fails", 2, 1, ("sh", "-c", "echo about to fail; exit 3"))
    seen = set()
    jobs.replace(spec)
    try:
        jobs.wait(spec, on_line=lambda node, line: seen.add(node), seconds=180)
    except trainjob.TrainJobError as e:
        print("RESULT " + json.dumps({"error": str(e), "nodes": sorted(seen)}))
    jobs.cancel(spec.name)
    sys.exit()
settings["name"] = "digits-e2e"
paths = {name: str(work / name / "x" / name) for name in ("data", "data_gate", "model", "gate")}
for path in paths.values():
    Path(path).parent.mkdir(parents=True, exist_ok=True)
preprocess(json.dumps(settings), "", dataset_path=paths["data"], gate_path=paths["data_gate"])
train(json.dumps(settings), "", str(work / "home"), dataset_path=paths["data"], model_path=paths["model"], gate_path=paths["gate"])
gate = json.loads(Path(paths["gate"]).read_text())["evidence"]
weights = hashlib.sha256((Path(paths["model"]) / "model.safetensors").read_bytes()).hexdigest()
print(
    "RESULT "
    + json.dumps(
        {
            "world_size": gate["world_size"],
            "accuracy": gate["history"][-1]["validation_metrics"]["accuracy"],
            "weights": weights,
            "steps": [h["step"] for h in gate["history"]],
            "files": sorted(p.name for p in Path(paths["model"]).iterdir()),
        }
    )
)
