"""What MLflow shows of a version and of an experiment: over a real SQLite store, with its files read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.core.datatypes import EngineSpec, TensorSpec
from sluice.core.gate import Gate
from sluice.package.manifest import FORMAT
from sluice.package.package import Package
from sluice.proof.config import CardConfig
from sluice.registry.versions import Registry
from sluice.tracking.card import Card
from sluice.tracking.mlflow import MLflowTracker, client
from sluice.tracking.tracker import Data
from tests.support.prompts import prompt_package

EVALUATED = {
    "evaluation": {"metric": "accuracy", "value": 0.9889, "low": 0.9719, "high": 0.9957, "confidence": 0.95, "rows": 361},
    "comparison": {
        "verdict": "no_worse",
        "difference": -0.0011,
        "low": -0.0041,
        "high": 0.003,
        "margin": 0.005,
        "confidence": 0.95,
        "champion": 0.99,
        "champion_digest": "c" * 64,
    },
    "floor": {"trivial": {"name": "the majority class 'a|b'", "difference": 0.88, "low": 0.84, "high": 0.91, "confidence": 0.95}},
    "cautions": ["<script>alert(1)</script> it never predicts 'x'"],
}
GATES = [
    Gate("preprocess", "pass", ("1,255 train",), {"rows": {"train": 1255, "test": 361}}),
    Gate("evaluate", "inconclusive", ("too few rows",), EVALUATED),
]


def package(folder: Path, **spec: Any) -> Package:
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text('{"format": "x"}')
    preprocess = spec or {"kind": "tabular", "columns": [{"name": "age", "type": "numeric"}, {"name": "job", "type": "categorical"}]}
    return Package(
        folder,
        "ab" * 32,
        "people",
        "tabular",
        "classification",
        (TensorSpec("image", "UINT8", (-1, 1, 8, 8)),),
        (TensorSpec("probabilities", "FP32", (-1, 2)),),
        ("no", "yes"),
        preprocess,
        "fp32",
        {"accuracy": 0.9889, "roc_auc": None},
        {},
        {"format": FORMAT},
        EngineSpec("onnxruntime"),
        "classification",
        {"age": "numeric", "job": "categorical"},
    )


def card(folder: Path, **spec: Any) -> Card:
    return Card(package(folder, **spec), "s3://bucket/people.csv", GATES, {"code": "1" * 64, "data": "2" * 64, "git": ""})


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'm.db'}"


def test_a_card_has_data_metric_with_interval_champion_and_gates_and_no_markup_of_others(tmp_path: Path) -> None:
    text = card(tmp_path).description()
    for word in (
        "| accuracy | **0.9889** (95% interval 0.9719 to 0.9957) on 361 held-out rows |",
        "no worse, -0.0011 (95% interval -0.0041 to 0.003), margin 0.005",
        "`cccccccccccc` at 0.99",
        "s3://bucket/people.csv (1,255 train, 361 test rows), digest `222222222222`",
        "- evaluate: **inconclusive**, too few rows",
        "'a\\|b'",
        "2 labels: `no`, `yes`",
    ):
        assert word in text, word
    assert "<script" not in text and "the anchor" not in text and "disturbed" not in text
    more = {"anchor": EVALUATED["comparison"] | {"digest": "d" * 64}, "robustness": {"suites": [{"suite": "noise", "value": 0.97}]}}
    told = Card(package(tmp_path), "s", [Gate("evaluate", "pass", (), EVALUATED | more)], {}).description()
    assert "| against the anchor, the best champion so far | no worse, -0.0011" in told and "anchor `dddddddddddd` at 0.99" in told
    assert "| on disturbed rows | noise 0.97 |" in told
    assert "| package | ONNX, fp32, `sha256:" in text
    prompt = prompt_package(tmp_path / "prompt", "http://127.0.0.1:9/v1")
    assert "| package | prompt, `sha256:" in Card(prompt, "s", [], {}).description()
    long = Card(package(tmp_path), "s", [Gate(f"g{i}", "pass", ("x" * 900,)) for i in range(90)], {})
    assert len(long.description()) == 5000


def test_the_whole_card_tells_what_it_is_for_each_metric_slices_and_where_it_came_from(tmp_path: Path) -> None:
    told = CardConfig(
        uses=["sorting mail"],
        users=["the post office"],
        not_for=["judging people"],
        limits=["short texts"],
        ethics=["<b>none</b>"],
        licence="MIT",
    )
    evaluated = EVALUATED | {
        "measured": {"accuracy": [0.9889, 0.97, 0.99], "mcc": [0.9, None, None]},
        "sliced": [["job = cook", 0.5, 0.4, 0.6, 30]],
    }
    made = [("code", "commit `" + "a" * 40 + "`"), ("signed by", "key `" + "b" * 64 + "`")]
    found = Card(package(tmp_path), "rows.csv", [Gate("evaluate", "pass", ("fine",), evaluated)], {}, told, made)
    text, page = found.markdown(), found.html()
    for word in (
        "- sorting mail",
        "- users: the post office",
        "- not for: judging people",
        "- short texts",
        "| licence | MIT |",
        "| accuracy | 0.9889 | 0.97 | 0.99 |",
        "| mcc | 0.9 |  |  |",
        "| job = cook | 0.5 | 0.4 | 0.6 |",
        "| signed by | key `bbbb",
    ):
        assert word in text, word
    assert "<b>none" not in text and "&lt;b&gt;none&lt;/b&gt;" in page and "<h3>Slices</h3>" in page and "<code>bbbb" in page
    assert "job = cook" not in found.description() and "sorting mail" in found.description()
    silent = Card(package(tmp_path), "rows.csv", [], {}).markdown()
    assert not any(word in silent for word in ("Intended use", "Metrics", "Slices", "Ethical", "References", "Provenance"))


def test_the_reports_section_on_the_version_shows_the_card_and_who_signed(tmp_path: Path) -> None:
    from sluice.steps.register import Register

    evidence = {
        "model": "people",
        "version": "3",
        "digest": "d" * 64,
        "uri": "file:///x",
        "lineage": {},
        "proof": ["model.sig"],
        "signed_by": "k" * 64,
    }
    drawn = Register().section(evidence | {"card": card(tmp_path).parts()})
    assert "<summary>Model card</summary>" in drawn and "key <code>kkkk" in drawn and "<script" not in drawn
    assert "nobody: there was no key" in Register().section(evidence | {"signed_by": None})
    assert "Model card" not in Register().section({k: v for k, v in evidence.items() if k not in ("proof", "signed_by")})


def test_a_signature_is_what_a_client_sends_and_gets(tmp_path: Path) -> None:
    import mlflow.models

    found = mlflow.models.ModelSignature.from_dict(card(tmp_path).signature())
    assert [(c.name, c.type.name, c.required) for c in found.inputs.inputs] == [("age", "double", False), ("job", "string", False)]
    assert [(t.name, str(t.type), t.shape) for t in found.outputs.inputs] == [("probabilities", "float32", (-1, 2))]
    for kind, wanted in (("text", ["text: string (required)"]), ("image", ["image: binary (required)"])):
        assert [
            str(c).replace("'", "") for c in mlflow.models.ModelSignature.from_dict(card(tmp_path, kind=kind).signature()).inputs.inputs
        ] == wanted
    tensors = mlflow.models.ModelSignature.from_dict(card(tmp_path, kind="tensor").signature()).inputs
    assert tensors.inputs[0].shape == (-1, 1, 8, 8)


def test_a_version_shows_its_card_its_files_its_dataset_and_opens_as_model_training(tmp_path: Path, uri: str) -> None:
    tracker = MLflowTracker(uri, "people", artifacts=(tmp_path / "artifacts").as_uri())
    tracker.dataset(Data("people", "2" * 64, "s3://bucket/people.csv", {"age": "numeric"}, {"train": 1255, "test": 361}))
    tracker.finish()
    registry, c = Registry(uri), tracker._client
    version = registry.register(
        "people", "ab" * 32, "s3://store/ab", metrics={"accuracy": 0.9889}, tags={}, run_id=tracker.run_id, card=card(tmp_path / "p")
    )
    assert (version.uri, registry.note) == ("s3://store/ab", ""), "the package is where it was"
    shown = c.get_model_version("people", version.number)
    logged = c.get_logged_model(shown.tags["sluice.logged_model"])
    assert shown.description == card(tmp_path / "p").description() and logged.source_run_id == tracker.run_id and logged.status == "READY"
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "people", "version": int(version.number)}]
    place = Path(logged.artifact_location.removeprefix("file://"))
    assert sorted(p.name for p in place.iterdir()) == ["MLmodel", "README.md", "card.html", "model.json"]
    said = yaml.safe_load((place / "MLmodel").read_text())
    assert said["flavors"]["sluice"]["uri"] == "s3://store/ab" and json.loads(said["signature"]["inputs"])[0]["name"] == "age"
    assert c.get_model_version_download_uri("people", version.number) == logged.artifact_location
    run = c.get_run(tracker.run_id)
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest, entry.dataset.source_type) == ("people", "2" * 36, "s3") and entry.tags[
        0
    ].value == "training"
    assert json.loads(entry.dataset.profile)["num_rows"] == 1616 and [m.model_id for m in run.outputs.model_outputs] == [logged.model_id]
    assert [(m.key, m.dataset_digest) for m in logged.metrics] == [("test_accuracy", "2" * 36)]
    assert c.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    again = registry.register("people", "ab" * 32, "s3://store/ab", metrics={}, tags={}, run_id=tracker.run_id, card=card(tmp_path / "p"))
    assert again.number == version.number and len(c.search_logged_models([run.info.experiment_id])) == 1


def test_two_that_begin_at_once_share_one_experiment(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    first = MLflowTracker(uri, "both")
    real, asked = MlflowClient.get_experiment_by_name, []

    def not_yet(self: MlflowClient, name: str) -> object:
        asked.append(name)
        return None if len(asked) == 1 else real(self, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", not_yet)
    second = MLflowTracker(uri, "both")
    assert second.run_id is not None and len(asked) == 2
    c = MlflowClient(uri)
    assert c.get_run(second.run_id).info.experiment_id == c.get_run(first.run_id).info.experiment_id


def test_an_experiment_of_before_is_told_what_it_is_and_one_that_a_person_named_keeps_its_kind(uri: str) -> None:
    c = client(uri)
    before, named = c.create_experiment("before"), c.create_experiment("named", tags={"mlflow.experimentKind": "regression"})
    for name in ("before", "named"):
        MLflowTracker(uri, name).finish()
    assert [c.get_experiment(e).tags["mlflow.experimentKind"] for e in (before, named)] == ["custom_model_development", "regression"]


@pytest.mark.parametrize("fails", ["create_logged_model", "log_model_artifacts", "finalize_logged_model"])
def test_a_server_that_takes_no_logged_model_gets_the_version_all_the_same(
    tmp_path: Path, uri: str, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MLflowTracker(uri, fails, artifacts=(tmp_path / "artifacts").as_uri())
    registry = Registry(uri)

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no such page")

    monkeypatch.setattr(registry._client, fails, refuse)
    version = registry.register(fails, "ab" * 32, "s3://store/ab", metrics={}, tags={}, run_id=tracker.run_id, card=card(tmp_path / "p"))
    assert "no such page" in registry.note and version.uri == "s3://store/ab"
    shown = tracker._client.get_model_version(fails, version.number)
    assert shown.source == "s3://store/ab" and "sluice.logged_model" not in shown.tags and "**0.9889**" in shown.description
    assert tracker._client.search_logged_models([tracker._client.get_run(tracker.run_id).info.experiment_id]) == [], (
        "nothing half-made stays"
    )
