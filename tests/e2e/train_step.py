"""Runs in a step's pod: preprocess digits onto the shared volume, train over two nodes, say what came of it."""

import json
import shutil
import sys
from pathlib import Path

from components.preprocess.logic import run as preprocess
from components.train import trainjob
from sluice.data.dataset import Dataset
from sluice.project import parse

fail = sys.argv[1:] == ["fail"]
settings = {"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8], "width": 8},
            "train": {"epochs": 2, "nodes": 2, "processes": 1, "learning_rate": 3e-3}}  # fmt: skip
work = Path("/store/e2e-train")
shutil.rmtree(work, ignore_errors=True)
work.mkdir()
preprocess(json.dumps(settings), "", dataset_path=str(work / "dataset"), gate_path=str(work / "gate"))
seen = set()


def on_line(node, line):
    seen.add(node)
    print(f"[{node}] {line}", flush=True)


if fail:
    jobs = trainjob.TrainJobs()
    spec = trainjob.JobSpec("digits-fails", 2, 1, ("sh", "-c", "echo about to fail; exit 3"))
    jobs.cancel(spec.name)
    jobs.submit(spec)
    try:
        jobs.wait(spec, on_line=on_line, seconds=180)
    except trainjob.TrainJobError as e:
        print("RESULT " + json.dumps({"error": str(e), "nodes": sorted(seen)}))
    jobs.cancel(spec.name)
    sys.exit()
result = trainjob.fit(parse(settings), Dataset.open(work / "dataset"), work / "model", on_line=on_line, seconds=400)
print("RESULT " + json.dumps({"world_size": result.world_size, "accuracy": result.history[-1]["validation_metrics"]["accuracy"], "nodes": sorted(seen),
                              "files": sorted(p.name for p in (work / "model").iterdir())}))  # fmt: skip
