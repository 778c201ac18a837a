"""Access and prediction logs are asked for errors, slow answers and the worst inputs, by version and hour; what is no log is said."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.runtime.logs.access_log import shown
from sluice.cli import main
from sluice.core.errors import DataError
from sluice.monitor.logs import Asked, analyze
from tests.support import logged

START = datetime.datetime(2026, 11, 30, 1, 0, tzinfo=datetime.UTC).timestamp()


def access(path: Path, n: int = 200) -> None:
    """An hour of version a, as the server writes it; then one of version b, of which a tenth fails and a fifth is slow."""
    with path.open("w") as file:
        for i in range(2 * n):
            b, at = i >= n, START + i * 18
            status = 500 if b and i % 10 == 0 else 400 if i % 50 == 1 else 200
            seconds = 2.5 + i / 1000 if b and i % 5 == 2 else 0.01
            line = (
                at,
                "10.0.0.9" if b else "10.0.0.1",
                "POST",
                "/v1/models/m:predict",
                status,
                100 + i,
                50,
                seconds,
                f"r{i}",
                None,
                "m",
                "b" * 12 if b else "a" * 12,
            )
            file.write(json.dumps(shown(line)) + "\n")
        file.write('nonsense\n{"time": "2026-11-30T01:00:00Z", "path": "/metrics", "status": 200, "ms": 1, "model": "", "version": ""}\n')


def predictions(root: Path) -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.05, 0.95]])
    ids = ["r0", "r1", "r2", "r3"]
    times = (np.array([START, START + 1, START + 3700, START + 3701]) * 1e6).astype(np.int64)
    features = {"age": [41.0, 30.0, None, 7.0], "note": ["x" * 500, "b", "c", "it's"], "photo": [b"\x00" * 9, None, None, None]}
    logged.predictions(root, times, ids=ids, labels=["no", "yes"], probabilities=p, features=features)
    logged.feedback(root, times + 5, ids, ["yes", "no", "no", "yes"])
    logged.feedback(root, times[1:2] + 9, ["r1"], ["yes"])  # corrected


def test_errors_and_slow_answers_by_version_and_hour(tmp_path: Path) -> None:
    access(tmp_path / "access.jsonl")
    found = analyze([str(tmp_path / "access.jsonl")], Asked(worst=3))
    told = found["access"]
    assert told["requests"] == 400 and told["errors"] == pytest.approx(20 / 400) and told["elsewhere"] == 1 and found["predictions"] is None
    by = {r["version"][0]: r for r in told["by_version"]}
    assert by["a"]["errors"] == 0 and by["b"]["errors"] == pytest.approx(0.1) and by["a"]["slow"] == 0 and by["b"]["slow"] > 0.15
    assert [(r["hour"], r["requests"]) for r in told["by_hour"]] == [("2026-11-30 01:00", 200), ("2026-11-30 02:00", 200)]
    assert [r["request_id"] for r in told["slowest"]] == ["r397", "r392", "r387"] and told["slowest"][0]["ms"] == pytest.approx(2897)
    assert {r["status"] for r in told["failed"]} == {500} and told["failed"][0]["request_id"] == "r390"
    assert told["clients"][0]["client"] == "10.0.0.9" and found["faults"] == ["lines of access logs that could not be read: 1"]
    assert {r["status"]: r["requests"] for r in told["by_status"]}[500] == 20


def test_the_worst_inputs_are_wrong_ones_that_were_surest_then_the_least_sure(tmp_path: Path) -> None:
    predictions(tmp_path)
    told = analyze([str(tmp_path)], Asked())["predictions"]
    assert told["rows"] == 4
    (version,) = told["by_version"]
    assert (version["model"], version["version"], version["labelled"], version["off"]) == ("m", logged.VERSION, 4, 0.25)
    assert [(r["request_id"], r["answer"], r["label"]) for r in told["worst"]] == [
        ("r0", "no", "yes"),
        ("r1", "yes", "yes"),
        ("r2", "no", "no"),
        ("r3", "yes", "yes"),
    ]
    assert told["worst"][0]["features"] == {"age": 41.0, "note": "x" * 59 + "…", "photo": "9 bytes"}
    assert [r["hour"] for r in told["by_hour"]] == ["2026-11-30 01:00", "2026-11-30 02:00"]


def test_values_are_worst_where_they_are_farthest_off_and_models_are_kept_apart(tmp_path: Path) -> None:
    times = (START * 1e6 + np.arange(3)).astype(np.int64)
    logged.predictions(tmp_path, times, ids=["x", "y", "z"], values=np.array([1.0, 2.0, 3.0]), features={"a": [1, 2, 3]}, model="rent")
    logged.feedback(tmp_path, times, ["x", "y", "z"], ["1.5", "9.0", "3.0"], model="rent")
    predictions(tmp_path)
    told = analyze([str(tmp_path)], Asked(model="rent", worst=2))["predictions"]
    assert [(r["request_id"], r["badness"]) for r in told["worst"]] == [("y", 7.0), ("x", 0.5)] and told["rows"] == 3
    assert {r["model"] for r in analyze([str(tmp_path)], Asked())["predictions"]["by_version"]} == {"m", "rent"}


def test_predictions_as_json_lines_and_a_quote_in_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] log"
    folder.mkdir()
    (folder / "p.jsonl").write_text(
        '{"request_id": "q", "time": "2026-11-30T01:00:00Z", "model": "m", "prediction": "no", "probability": 0.6, "features": {"age": 3}}\nno\n'
    )
    told = analyze([str(folder)], Asked())["predictions"]
    assert told["rows"] == 1 and told["worst"][0]["features"] == {"age": 3} and told["by_hour"][0]["hour"] == "2026-11-30 01:00"


def test_what_is_no_log_is_an_error_and_a_broken_part_is_left_out(tmp_path: Path) -> None:
    for bad in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError):
            analyze([str(bad)], Asked())
    predictions(tmp_path)
    (tmp_path / f"predictions/model=m/version={logged.VERSION}/20261130T000000-broken.parquet").write_bytes(b"PAR1 nonsense")
    assert analyze([str(tmp_path)], Asked())["predictions"]["rows"] == 4


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    access(tmp_path / "access.jsonl")
    predictions(tmp_path / "log")
    logs = ["logs", "analyze", str(tmp_path / "access.jsonl"), str(tmp_path / "log")]
    assert main([*logs, "--report", str(tmp_path / "r.html")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "400 requests, 5 % failed" in said and "fails most: 10 %" in said and "r0" in said
    page = (tmp_path / "r.html").read_text()
    assert "The worst inputs" in page and "<svg" in page and "<script" not in page
    assert main([*logs, "--json", "--most-errors", "0.01", "--most-slow", "0.5"]) == 3
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 3 and len(told["over"]) == 1 and "5 %, more than 1 %" in told["over"][0]
    assert main([*logs, "--most-errors", "7"]) == 2 and main(["logs", "analyze", str(tmp_path / "none")]) == 2
