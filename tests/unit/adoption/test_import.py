"""`sluice import`: models that scikit-learn, PyTorch and ONNX made are packages that answer as they do, or are refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
import pytest
from onnx import TensorProto, helper

from sluice.cli import main
from sluice.core import files
from sluice.core.home import Home
from sluice.engines.predictor import Predictor
from sluice.package import package as packages
from sluice.package.store import default_store


def imported(capsys: pytest.CaptureFixture[str], home: Path, *args: str) -> tuple[int, dict[str, Any], str]:
    code = main(["import", *args, "--home", str(home), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out or "{}"), said.err


def opened(home: Path, digest: str) -> Predictor:
    return Predictor(default_store(Home(home)).get(digest))


def linear(path: Path, *, outputs: int = 3, softmax: bool = True, batch: str | int = "rows", name: str = "scores") -> np.ndarray:
    """x [rows, 4] times a matrix, with or without a softmax; returns the matrix."""
    weights = np.random.default_rng(3).normal(size=(4, outputs)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logits" if softmax else name])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], [name], axis=1))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, outputs])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return weights


def shares(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return found


ROWS = [np.array(r, dtype=np.float32) for r in np.random.default_rng(5).normal(size=(7, 4))]


@pytest.mark.parametrize("batch", ["rows", 1])
def test_an_onnx_file_is_a_package_and_the_first_one_the_champion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: str | int
) -> None:
    weights = linear(tmp_path / "Fraud_Net.onnx", batch=batch)
    code, said, _ = imported(
        capsys, tmp_path / "home", str(tmp_path / "Fraud_Net.onnx"), "--problem", "classification", "--labels", "ok,odd,bad"
    )
    assert (code, said["model"], said["alias"], said["proof"]["differing"]) == (0, "fraud-net", "champion", 0)
    model = opened(tmp_path / "home", said["digest"])
    assert model.package.labels == ("ok", "odd", "bad")
    np.testing.assert_allclose(model.predict(ROWS), shares(np.array(ROWS) @ weights), atol=1e-6)
    again = imported(
        capsys, tmp_path / "home", f"file://{tmp_path}/Fraud_Net.onnx", "--problem", "classification", "--labels", "ok,odd,bad"
    )
    assert again[1]["version"] == said["version"]
    other = imported(capsys, tmp_path / "home", str(tmp_path / "Fraud_Net.onnx"), "--problem", "classification")[1]
    assert other["alias"] == "candidate"
    assert orjson.loads((default_store(Home(tmp_path / "home")).get(other["digest"]).root / "model.json").read_bytes())["labels"] == [
        "0",
        "1",
        "2",
    ]


def test_a_row_that_is_answered_otherwise_alone_than_among_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),  # over the batch, as a layer left in training mode does
        helper.make_node("Sub", ["x", "mean"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(tmp_path / "a.onnx"))
    code, said, _ = imported(capsys, tmp_path / "home", str(tmp_path / "a.onnx"), "--problem", "classification")
    assert (code, said["outcome"]) == (3, "refused")


def test_a_file_of_the_newest_form_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linear(tmp_path / "a.onnx")
    model = onnx.load(str(tmp_path / "a.onnx"))
    model.ir_version = onnx.IR_VERSION
    onnx.save(model, str(tmp_path / "a.onnx"))
    assert imported(capsys, tmp_path / "home", str(tmp_path / "a.onnx"), "--problem", "classification")[0] == 0


def test_logits_are_no_probabilities_until_a_softmax_stands_behind_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = linear(tmp_path / "a.onnx", softmax=False, name="probabilities")
    code, _, why = imported(capsys, tmp_path / "home", str(tmp_path / "a.onnx"), "--problem", "classification")
    assert code == 2
    assert "--softmax" in why
    code, said, _ = imported(capsys, tmp_path / "home", str(tmp_path / "a.onnx"), "--problem", "classification", "--softmax")
    assert (code, said["proof"]["differing"]) == (0, 0)
    np.testing.assert_allclose(opened(tmp_path / "home", said["digest"]).predict(ROWS), shares(np.array(ROWS) @ weights), atol=1e-6)


def test_a_graph_of_values_is_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = linear(tmp_path / "v.onnx", outputs=1, softmax=False, name="value")
    code, said, _ = imported(capsys, tmp_path / "home", str(tmp_path / "v.onnx"), "--problem", "regression", "--name", "price")
    assert (code, said["model"]) == (0, "price")
    np.testing.assert_allclose(opened(tmp_path / "home", said["digest"]).predict(ROWS), (np.array(ROWS) @ weights)[:, 0], atol=1e-6)


def fixed_reshape(path: Path) -> None:
    """A graph that only works for the batch of two it was traced with."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [onnx.numpy_helper.from_array(np.array([2, 4], dtype=np.int64), "s")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@pytest.mark.parametrize(
    ("make", "args", "said"),
    [
        (lambda p: None, ["{}/none.onnx"], "is not there"),
        (lambda p: (p / "a.onnx").write_bytes(b"no model"), ["{}/a.onnx", "--problem", "regression"], "is no ONNX model"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx"], "--problem classification"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx", "--problem", "regression"], "has no output [rows] or [rows, 1]"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx", "--problem", "classification", "--labels", "a,b"], "has no output [rows, 2]"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx", "--problem", "classification", "--labels", "a,a,b"], "labels"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx", "--problem", "classification", "--name", "A B"], "is no DNS label"),
        (lambda p: linear(p / "a.onnx"), ["{}/a.onnx", "--problem", "classification", "--output-tensor", "z"], "is no output"),
        (lambda p: (linear(p / "a.onnx"), linear(p / "b.onnx")), ["{}"], "holds several ONNX files"),
        (lambda p: fixed_reshape(p / "a.onnx"), ["{}/a.onnx", "--problem", "classification"], "export it with a free batch"),
        (lambda p: (p / "s.yaml").write_text("kind: Pod\napiVersion: v1\n"), ["{}/s.yaml"], "is no InferenceService"),
        (
            lambda p: (p / "s.yaml").write_text(
                "kind: InferenceService\napiVersion: serving.kserve.io/v1beta1\nspec: {predictor: {containers: []}}\n"
            ),
            ["{}/s.yaml"],
            "has no storageUri",
        ),
        (lambda p: (p / "MLmodel").write_text("flavors: {prophet: {}}\n"), ["{}"], "no flavour that can be adopted"),
        (lambda p: (p / "MLmodel").write_text("flavors: {sklearn: {}}\n"), ["{}"], "runs code of whoever made it"),
        (lambda p: (p / "MLmodel").write_text("[]"), ["{}"], "is no mapping"),
    ],
)
def test_what_cannot_be_adopted_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, args: list[str], said: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    code, _, err = imported(capsys, tmp_path / "home", *[a.format(folder) for a in args])
    assert code == 2, err
    assert said in err
    assert not (tmp_path / "home" / "store").exists()


def service(folder: Path, uri: str) -> Path:
    files.write_text(
        folder / "service.yaml",
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: shop-fraud, namespace: shop}\n"
        f"spec:\n  predictor:\n    model:\n      modelFormat: {{name: onnx}}\n      storageUri: {uri}\n",
    )
    return folder / "service.yaml"


def test_an_inference_service_becomes_a_model_rollout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    from sluice.package import store as stores

    (tmp_path / "model" / "1").mkdir(parents=True)
    linear(tmp_path / "model" / "1" / "model.onnx")
    args = [str(service(tmp_path, f"file://{tmp_path}/model")), "--problem", "classification", "--manifest", str(tmp_path / "rollout.yaml")]
    code, _, why = imported(capsys, tmp_path / "home", *args)
    assert code == 2
    assert "SLUICE_STORE" in why
    assert not (tmp_path / "rollout.yaml").exists()

    class Far(packages.Store):
        def uri(self, digest: str) -> str:
            return f"s3://models/sha256/{digest}"

    monkeypatch.setattr(stores, "default_store", lambda home: Far(tmp_path / "far"))
    code, said, _ = imported(capsys, tmp_path / "home", *args)
    assert (code, said["model"]) == (0, "shop-fraud")
    made = yaml.safe_load((tmp_path / "rollout.yaml").read_text())
    assert (made["kind"], made["metadata"]["name"], made["metadata"]["namespace"]) == ("ModelRollout", "shop-fraud", "shop")
    assert made["spec"]["model"] == {"name": "shop-fraud", "digest": said["digest"], "uri": said["uri"]}


def table(rows: int = 60) -> Any:
    import pandas as pd

    rng = np.random.default_rng(1)
    return pd.DataFrame({"age": rng.uniform(18, 80, rows), "fare": rng.lognormal(2, 1, rows), "city": rng.choice(["Rome", "Oslo"], rows)})


def saved(model: Any, folder: Path, example: Any, answers: Any) -> Path:
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=infer_signature(example, answers),
        input_example=example,
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
    return folder


@pytest.mark.filterwarnings("ignore")
def test_models_of_scikit_learn_answer_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = table()
    y = np.where((rows.age > 40) ^ (rows.city == "Oslo"), "yes", "no")
    pick = ColumnTransformer([("n", StandardScaler(), ["age", "fare"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["city"])])
    pipe = make_pipeline(pick, LogisticRegression()).fit(rows, y)
    code, said, _ = imported(capsys, tmp_path / "home", str(saved(pipe, tmp_path / "pipe", rows, y)), "--trust")
    assert (code, said["proof"]["rows"], said["proof"]["differing"]) == (0, 60, 0)
    model = opened(tmp_path / "home", said["digest"])
    assert model.package.labels == ("no", "yes")
    new = table(5).assign(age=[20.0, 30, 40, 50, 60])
    np.testing.assert_allclose(model.predict(new.to_dict("records")), pipe.predict_proba(new), atol=1e-5)

    numbers = rows[["age", "fare"]]
    trees = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(numbers, rows.fare)
    code, said, _ = imported(capsys, tmp_path / "home", str(saved(trees, tmp_path / "trees", numbers, rows.fare)), "--trust")
    assert (code, said["proof"]["differing"]) == (0, 0)
    assert opened(tmp_path / "home", said["digest"]).predict([{"age": 30.0, "fare": 9.0}]) == pytest.approx(
        trees.predict(numbers.head(1).assign(age=30.0, fare=9.0)), rel=1e-5
    )


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_would_answer_otherwise_is_not_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import LogisticRegression

    from sluice.adoption import flavours

    rows = table()[["age", "fare"]]
    model = LogisticRegression().fit(rows, rows.age > 40)
    folder = saved(model, tmp_path / "m", rows, model.predict(rows))
    load = flavours._load

    def other(module: str, root: Path, **more: Any) -> Any:
        found = load(module, root, **more)
        found.predict_proba = lambda x, was=found.predict_proba: was(x * 1.01)  # as a library that converts wrongly would do
        return found

    monkeypatch.setattr(flavours, "_load", other)
    code, said, err = imported(capsys, tmp_path / "home", str(folder), "--trust")
    assert (code, said["outcome"]) == (3, "refused")
    assert said["proof"]["differing"] > 0
    assert "--tolerance" in err
    assert not (tmp_path / "home" / "store").exists()


def test_dictionaries_at_the_end_of_a_graph_give_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.array(ROWS * 4, dtype=np.float32)
    model = LogisticRegression().fit(x, np.where(x[:, 0] > 0, "up", "down"))
    onnx.save(to_onnx(model, x[:1]), str(tmp_path / "z.onnx"))
    code, said, _ = imported(capsys, tmp_path / "home", str(tmp_path / "z.onnx"))
    assert code == 0
    found = opened(tmp_path / "home", said["digest"])
    assert found.package.labels == ("down", "up")
    np.testing.assert_allclose(found.predict(ROWS), model.predict_proba(np.array(ROWS)), atol=1e-6)
