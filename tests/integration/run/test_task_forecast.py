"""A forecast from `sluice init` to a second model through a canary, answered over REST and gRPC, and from a long file."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

from serving.runtime.models.model import Model
from serving.runtime.protocols import grpc_server, v1, v2
from sluice.client import frames
from sluice.commands.project import template
from sluice.core.home import Home
from sluice.data.scheme import Found
from sluice.package.package import Package
from sluice.prediction.files import predict_file
from tests.integration.serving.server import serving
from tests.tools.long import long
from tests.tools.run import promoted, run

pb = grpc_server.pb
pytestmark = pytest.mark.timeout(600)
QUICK = ("rollout.minimum_requests=40", "train.epochs=2")
ROW = {"industry": "utilities", "month": "2015-12", "history": [550.0 + i / 4 for i in range(24)]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Package]:
    folder = tmp_path_factory.mktemp("forecast") / "sales"
    subprocess.run(
        [sys.executable, "-m", "sluice", "init", str(folder), "--task", "forecast"], check=True, capture_output=True, timeout=120
    )
    return (folder, *promoted(folder, *QUICK))


def told(model: Model, units: list[Any]) -> dict[str, np.ndarray]:
    """What a client reads of the first unit."""
    return v2.select(model, model.run(units[0].tensors), None, ["0.1", "0.5", "0.9"])


def test_it_beats_the_seasonal_naive_forecast(made: tuple[Path, dict[str, Any], Package]) -> None:
    folder, outcome, package = made
    assert template("forecast").name == "forecast"
    evidence = json.loads((folder / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_text())["evidence"]
    floor = evidence["floor"]
    assert floor["verdict"] == "better" and floor["trivial"]["low"] > 0 and floor["trivial"]["units"] == 15
    assert package.objective == "series_forecast" and list(package.labels[:2]) == ["1:0.1", "1:0.5"]
    report = Path(outcome["report"]).read_text()
    assert "Forecasts and what came" in report and "seasonal naive forecast (season 12)" in report


def test_every_protocol_answers_alike(made: tuple[Path, dict[str, Any], Package]) -> None:
    model = Model(made[2], "forecast", 1, 1 << 30)
    first = told(model, v1.parse(model, json.dumps({"instances": [ROW]}).encode(), 64, 100)[0])
    assert {n: a.shape for n, a in first.items()} == {"0.1": (1, 12), "0.5": (1, 12), "0.9": (1, 12)}
    assert (first["0.1"] <= first["0.5"]).all() and (first["0.5"] <= first["0.9"]).all()
    inputs = [
        {"name": "industry", "datatype": "BYTES", "shape": [1], "data": [ROW["industry"]]},
        {"name": "month", "datatype": "BYTES", "shape": [1], "data": [ROW["month"]]},
        {"name": "history", "datatype": "FP64", "shape": [1, 24], "data": ROW["history"]},
    ]
    by_v2 = told(model, v2.parse(model, json.dumps({"inputs": inputs}).encode(), None, 64, 100).units)
    request = pb.ModelInferRequest(model_name="forecast")
    for name in ("industry", "month"):
        request.inputs.add(name=name, datatype="BYTES", shape=[1]).contents.bytes_contents.append(str(ROW[name]).encode())
    request.inputs.add(name="history", datatype="FP64", shape=[1, 24]).contents.fp64_contents.extend(ROW["history"])
    by_grpc = told(model, v2.ask_of_tensors(model, grpc_server.tensors_of(request), 64, 100, encoded=False)[0])
    for other in (by_v2, by_grpc):
        for name, values in first.items():
            np.testing.assert_array_equal(values, other[name])


def test_a_server_answers_alike_over_its_sockets(made: tuple[Path, dict[str, Any], Package], tmp_path: Path) -> None:
    _, outcome, package = made
    inputs = [
        {"name": "industry", "datatype": "BYTES", "shape": [1], "data": [ROW["industry"]]},
        {"name": "month", "datatype": "BYTES", "shape": [1], "data": [ROW["month"]]},
        {"name": "history", "datatype": "FP64", "shape": [1, 24], "data": ROW["history"]},
    ]
    request = pb.ModelInferRequest(model_name=outcome["project"])
    for i in inputs[:2]:
        request.inputs.add(name=i["name"], datatype="BYTES", shape=[1]).contents.bytes_contents.append(str(i["data"][0]).encode())
    request.inputs.add(name="history", datatype="FP64", shape=[1, 24]).contents.fp64_contents.extend(ROW["history"])
    with serving(tmp_path / "log", package.root, "--grpc-port", "0") as server:
        (first,) = server.predict(outcome["project"], ROW)
        by_v2 = server.post(f"/v2/models/{outcome['project']}/infer", {"inputs": inputs})["outputs"]
        assert server.grpc is not None
        with grpc.insecure_channel(server.grpc) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer", lambda r: r.SerializeToString(), pb.ModelInferResponse.FromString
            )
            by_grpc = {o.name: np.array(o.contents.fp32_contents) for o in ask(request, timeout=20).outputs}
        bad = {"instances": [{**ROW, "history": [None, None]}]}
        status, _, said = server.request("POST", f"/v1/models/{outcome['project']}:predict", bad)
    assert set(first) == {"0.1", "0.5", "0.9"} and len(first["0.5"]) == 12
    for out in (o for o in by_v2 if o["name"] in first):
        np.testing.assert_allclose(out["data"], first[out["name"]], rtol=1e-6)
        np.testing.assert_allclose(by_grpc[out["name"]], first[out["name"]], rtol=1e-6)
    assert status == 400 and b"history" in said and b"has 0 numbers of 2" in said


def test_a_long_file_is_forecast_from_its_end(made: tuple[Path, dict[str, Any], Package], tmp_path: Path) -> None:
    folder, _, package = made
    source, out = folder / "data" / "employment.csv", tmp_path / "next.csv"
    done = predict_file(package, Found(source, str(source)), out)
    rows = list(csv.DictReader(out.open()))
    assert done.rows == len(rows) == 15 * 12 and list(rows[0]) == ["industry", "month", "0.1", "0.5", "0.9"]
    assert [r["month"] for r in rows[:2]] == ["2016-01-01", "2016-02-01"]
    latest = [float(r["employees"]) for r in csv.DictReader(source.open()) if r["industry"] == rows[0]["industry"]][-1]
    assert abs(float(rows[0]["0.5"]) / latest - 1) < 0.05


def test_a_frame_of_history_gets_a_frame_of_the_months_to_come(made: tuple[Path, dict[str, Any], Package]) -> None:
    rows = pd.read_csv(made[0] / "data" / "employment.csv")
    history = rows[rows["industry"] == "utilities"]
    ahead = frames.predicted(made[2], history)
    assert isinstance(ahead, pd.DataFrame) and len(ahead) == 12 and len(history) > 12


def test_a_file_of_rows_is_answered_row_by_row(made: tuple[Path, dict[str, Any], Package], tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "answers.jsonl"
    file.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "history": ROW["history"][-3:]}) + "\n")
    assert predict_file(made[2], Found(file, str(file)), out).columns == ["0.1", "0.5", "0.9"]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 and len(rows[0]["0.5"]) == 12 and rows[0]["industry"] == "utilities"


@long
def test_a_second_model_passes_comparison_and_canary(made: tuple[Path, dict[str, Any], Package]) -> None:
    folder, before, _ = made
    outcome, _ = promoted(folder, "rollout.minimum_requests=40", "train.epochs=4", "train.seed=18")
    assert outcome["digest"] != before["digest"]
    gates = Path(Home(folder / "home").root) / "runs" / outcome["run"] / "gates"
    assert json.loads((gates / "evaluate.json").read_text())["evidence"]["comparison"]["units"] == 15
    assert json.loads((gates / "rollout.json").read_text())["evidence"]["load"]["failed"] == 0


def test_bad_rows_are_refused_before_training(made: tuple[Path, dict[str, Any], Package], tmp_path: Path) -> None:
    shutil.copytree(made[0] / "data", tmp_path / "data")
    shutil.copy(made[0] / "sluice.yaml", tmp_path / "sluice.yaml")
    with (tmp_path / "data" / "employment.csv").open("a") as f:
        f.write("utilities,2015-12,1\n")
    status, outcome, _ = run(tmp_path, *QUICK)
    assert status == 2 and "stands more than once in series 'utilities'" in json.dumps(outcome)
