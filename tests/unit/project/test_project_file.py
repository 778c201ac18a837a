"""The project file: what it accepts, and how it says what is wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from sluice import project
from sluice.core import yamlfile
from sluice.core.errors import ProjectError

REPO = Path(__file__).resolve().parents[3]
GOOD = {"name": "intents", "task": "text", "data": {"source": "data/train.csv"}}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sluice.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def refusal(raw: dict, **more: object) -> ProjectError:
    with pytest.raises(ProjectError) as caught:
        project.parse({**raw, **more})
    return caught.value


def test_three_lines_are_enough() -> None:
    found = project.parse(GOOD)
    assert (found.train.epochs, found.train.batch_size, found.train.learning_rate) == (None, None, None)
    assert found.rollout.steps == [10, 50]


def test_the_design_s_example_is_accepted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        name: intents
        task: text
        data:
          source: data/train.csv
          test: data/test.csv
          columns: {text: text, label: label}
          checks: {rows_min: 1000}
        model: {pretrained: ./minilm, max_length: 32}
        train: {epochs: 3, batch_size: 64, learning_rate: 5e-5, precision: bf16, seed: 17,
                processes: 2, nodes: 1, early_stopping: {metric: accuracy, patience: 2}}
        evaluate: {metric: accuracy, minimum: 0.8, margin: 0.005, slices: [label]}
        export: {formats: [fp32, int8], max_loss: 0.005}
        rollout: {steps: [10, 50], minimum_requests: 300, latency_slo_ms: 200}
        monitor: {drift: {threshold: 0.25}, retrain: {schedule: "0 2 * * *"}}
        tracking: {backend: mlflow}
    """,
    )
    found = project.load(path)
    assert found.train.learning_rate == 5e-5
    assert found.model.pretrained == "./minilm"


@pytest.mark.parametrize(
    ("change", "field", "hint"),
    [
        ({"train": {"epoch": 3}}, "train.epoch", "'epochs'"),
        ({"model": {"max_len": 3}}, "model.max_len", "'max_length'"),
        ({"latency_slo_ms": 3}, "latency_slo_ms", "'rollout.latency_slo_ms'"),
        ({"data": {"source": "x", "checks": {"row_min": 3}}}, "data.checks.row_min", "'rows_min'"),
        ({"zzz": 3}, "zzz", "sluice schema"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(change: dict, field: str, hint: str) -> None:
    error = refusal(GOOD, **change)
    assert error.exit_code == 2
    assert error.field == f"project: {field}"
    assert hint in str(error.fix)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"train": {"epochs": "three"}}, "train.epochs"),
        ({"train": {"epochs": "3"}}, "train.epochs"),
        ({"train": {"epochs": 0}}, "train.epochs"),
        ({"train": {"epochs": True}}, "train.epochs"),
        ({"train": {"precision": "int4"}}, "train.precision"),
        ({"name": "Not A Label"}, "name"),
        ({"name": "-x"}, "name"),
        ({"data": {"source": "x", "split": {"test": 0.6, "validation": 0.5}}}, "data.split"),
        ({"data": {"source": "x", "split": {"test": -0.1}}}, "data.split.test"),
        ({"model": {"hidden": 100, "heads": 3}}, "model"),
        ({"rollout": {"steps": [50, 10]}}, "rollout"),
        ({"train": {"learning_rate": float("nan")}}, "train.learning_rate"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(change: dict, field: str) -> None:
    assert str(refusal(GOOD, **change).field).startswith(f"project: {field}")


def test_a_missing_key_is_named() -> None:
    assert "data" in str(refusal({"name": "a", "task": "text"}).field)


def test_every_fault_is_told_at_once() -> None:
    text = str(refusal(GOOD, train={"epoch": 1, "batch_size": "x"}, zzz=1))
    assert "3 faults" in text
    assert all(word in text for word in ("train.epoch", "train.batch_size", "zzz"))


def test_a_regression_metric_on_a_classifier_is_refused() -> None:
    assert "regression" in str(refusal(GOOD, evaluate={"metric": "rmse"}))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("txt", "did you mean 'text'"),
        ("no_such_module_here:Task", "cannot import"),
        ("json:NoSuchClass", "has no NoSuchClass"),
        ("json:JSONDecoder", "is not a task class"),
    ],
)
def test_an_unknown_task_is_refused_with_what_there_is(task: str, words: str) -> None:
    assert words in str(refusal({**GOOD, "task": task}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "this one is a list"),
        ("", "this one is empty"),
        ("just words", "this one is a text"),
        ("name: [unclosed", "is not YAML"),
        ("name: a\n\tb: c", "is not YAML"),
        ("name: a\nname: b\n", "stands twice"),
        ("? [a, b]\n: 3\n", "a key is a word"),
    ],
)
def test_what_is_no_project_file_is_called_so(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ProjectError, match=words):
        project.load(write(tmp_path, text))


def test_a_file_that_is_not_there_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1")
    with pytest.raises(ProjectError, match=r"No such file(.|\n)*other.yaml"):
        project.load(tmp_path / "sluice.yaml")
    with pytest.raises(ProjectError, match="is a directory"):
        project.load(tmp_path)


def test_binary_junk_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "sluice.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProjectError, match="UTF-8"):
        project.load(path)


def test_numbers_and_booleans_are_yaml_1_2_s_and_merge_keys_work(tmp_path: Path) -> None:
    raw = project.read_yaml(write(tmp_path, "{a: 017, b: 1:30, c: no, d: 5e-5, e: true, f: -3}"))
    assert raw == {"a": 17, "b": "1:30", "c": "no", "d": 5e-5, "e": True, "f": -3}
    assert project.read_text("x: &x {a: 1}\ny: {<<: *x, b: 2}", "text")["y"] == {"a": 1, "b": 2}


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "{name: a, task: text, data: {source: x}}")
    assert project.load(path, ["train.epochs=7", "evaluate.slices=[label]", "data.test=t.csv"]).train.epochs == 7
    assert project.load(path, ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4
    for item, words in (
        ("train.epochs", "key.path=value"),
        ("train..x=1", "key.path=value"),
        ("train.epoch=1", "'epochs'"),
        ("name.x=1", "not a section"),
        ("train.epochs=[", "not YAML"),
    ):
        with pytest.raises(ProjectError, match=words):
            project.load(path, [item])


def test_the_config_digest_covers_what_makes_the_model_and_nothing_else() -> None:
    base = project.parse(GOOD).digest
    assert project.parse({**GOOD, "train": {"optimizer": "adamw"}}).digest == base, "a default written out is the same config"
    assert project.parse({**GOOD, "train": {"epochs": 4}}).digest != base
    assert project.parse({**GOOD, "rollout": {"minimum_requests": 7}}).digest == base


def test_the_schema_accepts_what_the_parser_accepts_and_refuses_unknown_keys() -> None:
    schema = project.schema()
    validator = jsonschema.Draft202012Validator(schema)
    for example in sorted(REPO.glob("examples/*/sluice.yaml")):
        raw = yaml.load(example.read_text(), yamlfile.Loader)
        assert not list(validator.iter_errors(raw)), example
        project.parse(raw)
    assert list(validator.iter_errors({**GOOD, "model": {"max_len": 3}}))
    assert list(validator.iter_errors({**GOOD, "train": {"epoch": 3}}))
    table = {**GOOD, "task": "tabular"}
    assert not list(validator.iter_errors({**table, "model": {"estimator": "xgboost", "max_depth": 3}}))
    assert list(validator.iter_errors({**table, "model": {"estimator": "svc", "max_depth": 3}}))
    assert list(validator.iter_errors({**table, "model": {"max_depth": 3}}))


def test_a_user_s_task_brings_its_own_model_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_task_for_schema.py").write_text(
        textwrap.dedent("""
        from sluice.core.section import Section
        class Model(Section):
            depth: int = 2
        class Mine:
            Model = Model
    """)
    )
    raw = {**GOOD, "task": "their_task_for_schema:Mine", "model": {"depth": 5}}
    assert project.parse(raw, base_dir=tmp_path).model.depth == 5
    with pytest.raises(ProjectError, match="depth"):
        project.parse({**raw, "model": {"deph": 5}}, base_dir=tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        "train.epochs=5",
        ["train.epochs=5"],
        {"train.epochs": 5},
        {"train": {"epochs": np.int64(5)}},
    ],
)
def test_overrides_are_texts_or_values(tmp_path: Path, overrides: project.Overrides) -> None:
    """As a command writes them, or as a notebook has them."""
    path = write(tmp_path, yaml.safe_dump({**GOOD, "data": {"source": "a.csv"}, "train": {"batch_size": 8}}))
    loaded = project.Project.load(path, overrides)
    assert (loaded.train.epochs, loaded.train.batch_size) == (5, 8)


@pytest.mark.parametrize("value", ["yes", "a: b # c", "1e3", [1, "two"], None, True, 3e-5, Path("a/b.csv"), "ü"])
def test_a_value_that_overrides_is_itself(value: object) -> None:
    raw: dict = {}
    for item in project.items({"a.b": value}):
        project.override(raw, item)
    assert raw == {"a": {"b": str(value) if isinstance(value, Path) else value}}


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), object()])
def test_a_value_that_is_none_is_refused_and_not_the_default(tmp_path: Path, value: object) -> None:
    path = write(tmp_path, yaml.safe_dump(GOOD))
    with pytest.raises(ProjectError, match=r"train\.learning_rate"):
        project.Project.load(path, {"train.learning_rate": value})
