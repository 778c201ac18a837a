"""Evidence of every step, as a run leaves it."""

from __future__ import annotations

from typing import Any

import orjson

from sluice import project
from sluice.core.gate import Gate

LABELS = [str(i) for i in range(10)]


PROJECT = project.parse({"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}})


EVIDENCE: dict[str, dict[str, Any]] = {
    "validate_data": {
        "checks": [
            {"name": "rows", "status": "pass", "message": "1,797 rows", "examples": []},
            {"name": "duplicates", "status": "refuse", "message": "too many", "examples": ["<b>x</b>"]},
        ],
        "columns": [
            {"name": "image", "type": "image", "rows": 9, "nulls": 0, "distinct": 9, "histogram": {"edges": [0, 1, 2], "counts": [4, 5]}},
            {"name": "job", "type": "categorical", "rows": 9, "nulls": 3, "distinct": 2, "top": [{"value": "cook", "count": 4}]},
        ],
        "labels": {"a": 5, "b": 4},
    },
    "preprocess": {
        "digest": "ab" * 32,
        "rows": {"train": 7, "validation": 1, "test": 1},
        "shards": {"train": 1, "validation": 1, "test": 1},
    },
    "train": {
        "history": [
            {
                "epoch": i,
                "train_loss": 1 / i,
                "validation_loss": None if i == 2 else 1 / i,
                "validation_metrics": {"accuracy": None if i == 1 else 0.5},
            }
            for i in (1, 2, 3)
        ],
        "best_epoch": 3,
        "stopped_early": False,
        "world_size": 2,
        "seconds": 3.0,
        "cross_validation": {
            "metric": "accuracy",
            "confidence": 0.95,
            "grouped_by": "town",
            "folds": [{"fold": i, "rows": 5, "metrics": {"accuracy": 0.9, "log_loss": None}, "epochs": 3, "seconds": 1.0} for i in (1, 2)],
            "summary": {
                "accuracy": {"mean": 0.9, "std": 0.0, "low": 0.9, "high": 0.9},
                "log_loss": {"mean": None, "std": None, "low": None, "high": None},
            },
        },
    },
    "evaluate": {
        "evaluation": {
            "metric": "accuracy",
            "value": 0.9833,
            "low": 0.96,
            "high": 0.99,
            "rows": 357,
            "metrics": {"accuracy": {"value": 0.9833, "low": 0.96, "high": 0.99}},
            "confusion": {"labels": LABELS, "matrix": [[34 if i == j else 0 for j in range(10)] for i in range(10)]},
            "per_label": [{"label": "0", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 3}],
            "slices": [{"column": "label", "value": "3", "rows": 30, "metric": 0.4, "low": 0.3, "high": 0.5, "ok": False}],
            "calibration": {"ece": 0.01, "bins": [{"confidence": 0.9, "accuracy": 0.91, "rows": 300}]},
        },
        "floor": {
            "verdict": "better",
            "said": "better than the majority class '<b>0</b>': accuracy 0.98 against 0.1",
            "rows_needed": None,
            "ahead": "logistic regression is better by 0.01",
            "trivial": {
                "metric": "accuracy",
                "name": "the majority class '<b>0</b>'",
                "baseline": 0.1,
                "difference": 0.88,
                "low": 0.85,
                "high": 0.9,
                "rows": 357,
                "facts": {"rows_trained": 1000, "rows_judged": 357, "note": ""},
            },
            "simple": {
                "metric": "accuracy",
                "name": "logistic regression",
                "baseline": 0.99,
                "difference": -0.01,
                "low": -0.02,
                "high": -0.001,
                "rows": 300,
                "facts": {
                    "rows_trained": 1000,
                    "features": 64,
                    "seconds": 1.2,
                    "note": "judged on 300 of 357 held-out rows, spread over all",
                },
            },
        },
        "cautions": ["logistic regression is better by 0.01"],
        "comparison": {"difference": 0.0112, "low": -0.003, "high": 0.025, "margin": 0.005, "verdict": "no_worse"},
        "precision": "fp32",
    },
    "export_onnx": {
        "formats": [
            {
                "format": "int8",
                "bytes": 1024,
                "max_abs_diff": 0.01,
                "agreement": 1.0,
                "metric": 0.98,
                "loss": 0.0,
                "ok": True,
                "moved": {"row_id": "00ab", "row": "x=<i>1</i>", "change": 0.01, "label": "<yes>", "fp32": 0.5, "answer": 0.51},
            },
            {"format": "int4", "bytes": None, "ok": False, "tried": False},
        ],
        "chosen": "int8",
        "digest": "cd" * 32,
    },
    "register": {"model": "digits", "version": "2", "digest": "cd" * 32, "uri": "file:///s/sha256/cd", "lineage": {"data": "ab"}},
    "rollout": {
        "outcome": "promoted",
        "digest": "cd" * 32,
        "version": "2",
        "timeline": [
            {
                "t": t,
                "phase": "Step",
                "weight": 10 * t,
                "arms": {"stable": {"requests": t, "errors": 0}, "candidate": {"requests": t, "errors": 0}},
                "tests": [{"metric": "errors", "verdict": "pass"}],
            }
            for t in range(5)
        ],
        "load": {"sent": 5200, "failed": 0, "p50_ms": 1.9, "p99_ms": 7.1, "by_arm": {"stable": 3000, "candidate": 2200}},
    },
}


# As the report gets them: through JSON.
GATES = [Gate(step, "pass", (f"{step} is fine",), orjson.loads(orjson.dumps(evidence)), 1.0) for step, evidence in EVIDENCE.items()]
