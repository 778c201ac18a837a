"""What a run comes to in Kubernetes: counted as it was found there, kept small, and told where it is too much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines import size
from pipelines.compiler import Compiled, compile_training, compile_tuning
from sluice import project
from sluice.core import yamlfile
from sluice.core.errors import ProjectError

IMAGE = "docker.io/sluice/pipeline@sha256:" + "a" * 64
#: Of the length of a real one: tests/e2e/test_kfp.py's study, with what a cluster adds.
RAW: dict[str, Any] = {
    "name": "digits-e2e-tuned",
    "task": "image",
    "data": {"source": "sklearn://digits", "split": {"seed": 17, "test": 0.2, "validation": 0.1}},
    "model": {"architecture": "cnn", "augment": False, "channels": 1, "size": [8, 8], "width": 8},
    "train": {"batch_size": 64, "early_stopping": {"metric": "loss", "patience": 10}, "epochs": 3, "processes": 1, "seed": 17},
    "evaluate": {"margin": 0.2, "metric": "accuracy", "minimum": 0.5, "slices": ["label"]},
    "export": {"formats": ["fp32", "int8"], "max_loss": 0.005},
    "rollout": {
        "keep_seconds": 5.0,
        "latency_slo_ms": 2000.0,
        "minimum_requests": 200,
        "ready_seconds": 300.0,
        "settle_seconds": 3.0,
        "shadow": {"requests": 50},
        "step_deadline_seconds": 600.0,
        "steps": [20, 50],
    },
    "cluster": {
        "defaults": {
            "env": {
                "AWS_ENDPOINT_URL_S3": "http://minio-service.kubeflow:9000",
                "AWS_REGION": "minio",
                "MLFLOW_TRACKING_URI": "http://mlflow.sluice:5000",
                "SLUICE_NAMESPACE": "sluice",
                "SLUICE_STORE": "s3://mlpipeline/sluice-e2e",
            },
            "secrets": [
                {
                    "name": "mlpipeline-minio-artifact",
                    "env": {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"},
                }
            ],
            "volumes": [{"claim": "sluice-e2e-studies-ebd76869", "mount": "/studies"}],
        }
    },
}
TUNE = {
    "trials": 8,
    "parallel": 2,
    "storage": "journal:/studies/digits.journal",
    "space": {"train.learning_rate": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}},
}


def study(**changes: Any) -> Compiled:
    text = json.dumps({**RAW, "tune": {**TUNE, **changes}})
    return compile_tuning(project.parse(project.read_text(text, "text")), text=text, image=IMAGE)


def test_a_study_of_eight_trials_stays_far_below_what_argo_packs() -> None:
    made, line = study(), yamlfile.line({**RAW, "tune": TUNE})
    comes_to = {n: size.stored(made.spec, made.platform, project=line, workers=n) for n in (2, 8)}
    assert comes_to[2] < 620_000 and comes_to[8] < 920_000, "a study's run has grown"
    assert size.stored(made.spec, made.platform, project=line, workers=2, retries=True) < 830_000, "where every task has retries"


def test_too_many_processes_are_refused_with_the_figure_and_how_many_fit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProjectError, match=r"about 1,\d{3},\d{3} bytes .*1,048,576") as refused:
        study(parallel=32)
    assert (refused.value.field, refused.value.value) == ("tune.parallel", 32)
    fits = int(refused.value.fix.split()[2])
    assert 8 <= fits < 32 and study(parallel=fits)
    assert "note: a run would come to about" in capsys.readouterr().err, "on a cluster whose defaults give retries it is too many"
    with pytest.raises(ProjectError):
        study(parallel=fits + 1)


def test_a_project_too_long_to_be_handed_from_step_to_step_is_refused() -> None:
    names = [f"column_{i:04}" for i in range(1500)]
    text = json.dumps({**RAW, "data": {**RAW["data"], "columns": {"ignore": names}}})
    parsed = project.parse_sections(project.read_text(text, "text"))
    with pytest.raises(ProjectError, match="Argo packs") as refused:
        compile_training(parsed, text=text, image=IMAGE)
    assert refused.value.field == "project" and "each step is handed all of it" in refused.value.fix
