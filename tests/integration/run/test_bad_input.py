"""Every bad input ends `sluice run` before work is lost, with the status, the place and the fix."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

BAD, REFUSED = 2, 3
TABLE = {
    "name": "trial",
    "task": "tabular",
    "data": {"source": "rows.csv", "columns": {"label": "kind"}},
    "model": {"objective": "classification", "hidden": [8]},
    "train": {"epochs": 1},
}


def sluice(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sluice", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )


def run(folder: Path, project: Any = None, *args: str) -> dict[str, Any]:
    if project is not None:
        (folder / "sluice.yaml").write_text(project if isinstance(project, str) else yaml.safe_dump(project))
    done = sluice("run", "sluice.yaml", "--home", "home", "--json", *args, cwd=folder)
    assert done.stdout, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    assert done.returncode == found["exit_code"]
    return found


def rows(count: int = 120, kinds: str = "abc", **broken: Callable[[int], str]) -> str:
    pick = random.Random(1)
    lines = ["size,weight,kind"]
    for i in range(count):
        row = {"size": f"{pick.random():.6f}", "weight": f"{pick.random() * 9:.6f}", "kind": kinds[i % len(kinds)]}
        lines.append(",".join(broken[c](i) if c in broken and broken[c](i) is not None else v for c, v in row.items()))
    return "\n".join(lines) + "\n"


def explained(found: dict[str, Any], *words: str) -> None:
    text = orjson.dumps({k: found.get(k) for k in ("error", "reasons", "message", "field", "fix")}).decode().lower()
    for word in words:
        assert word.lower() in text, (word, text)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda d: None, ("rows.csv", "fix")),
        (lambda d: (d / "rows.csv").write_text(""), ("rows.csv", "empty")),
        (lambda d: (d / "rows.csv").mkdir(), ("rows.csv", "directory")),
        (lambda d: (d / "rows.csv").write_text(rows().replace("kind", "sort", 1)), ("kind", "sort")),
        (lambda d: (d / "rows.csv").write_text(rows() + "1,2\n"), ("rows.csv",)),
        (lambda d: (d / "rows.csv").write_bytes(b"\xff\xfe\x00\x01" * 50), ("rows.csv",)),
    ],
    ids=["missing file", "empty file", "a directory where a file is meant", "wrong column name", "ragged row", "binary junk"],
)
def test_a_source_that_cannot_be_read_is_bad_data(tmp_path: Path, write: Callable[[Path], Any], words: tuple[str, ...]) -> None:
    write(tmp_path)
    found = run(tmp_path, TABLE)
    assert found["exit_code"] == BAD
    explained(found, *words)
    assert not (tmp_path / "home" / "store").exists(), "nothing was trained"


def test_text_in_a_numeric_column_names_the_row_and_the_value(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(rows(size=lambda i: "heavy" if i == 77 else None))
    found = run(tmp_path, TABLE)
    assert found["exit_code"] in (BAD, REFUSED)
    explained(found, "size", "heavy")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rows(kind=lambda i: "d" if i == 7 else None), ("1 label with fewer than 2 rows: 'd'",)),
        (rows(kind=lambda i: "" if i % 9 == 0 else None), ("have no label (null)", "nulls_max")),
        (rows(kinds="a"), ("'a'", "nothing to tell apart")),
        ("size,weight,kind\n" + "1,2,a\n1,2,a\n3,4,b\n3,4,b\n" * 30, ("duplicate",)),
        (rows(count=9), ("rows", "9")),
    ],
    ids=["a label seen once", "labels missing", "all one class", "all duplicates", "too few rows"],
)
def test_data_that_fails_a_check_is_refused_as_a_result(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "rows.csv").write_text(text)
    found = run(
        tmp_path,
        {**TABLE, "data": {**TABLE["data"], "checks": {**TABLE["data"].get("checks", {}), "nulls_max": 0.0, "duplicates_max": 0.5}}},
    )
    assert (found["outcome"], found["exit_code"]) == ("refused", REFUSED)
    assert all(w in "; ".join(found["reasons"]) for w in words), found["reasons"]
    assert found["gate"] == "validate_data"
    assert "Why" in Path(found["report"]).read_text()


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(15):
            Image.effect_noise((16, 16), 20 + i).save(tmp_path / "pictures" / label / f"{i}.png")
    broken = tmp_path / "pictures" / "dog" / "7.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = run(tmp_path, {"name": "pets", "task": "image", "data": {"source": "pictures"}, "model": {"channels": 1, "size": [16, 16]}})
    assert found["exit_code"] in (BAD, REFUSED)
    explained(found, "7.png" if found["exit_code"] == BAD else "image")


def test_an_impossible_split_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(rows())
    found = run(tmp_path, {**TABLE, "data": {**TABLE["data"], "split": {"test": 0.7, "validation": 0.4}}})
    assert found["exit_code"] == BAD
    explained(found, "split", "below 1")
    assert not (tmp_path / "home").exists()


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    found = run(tmp_path, {**TABLE, "task": "tabula"})
    assert found["exit_code"] == BAD
    explained(found, "tabular")


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [", "just words"], ids=["a list", "not YAML", "a text"])
def test_what_is_no_project_file_is_refused(tmp_path: Path, text: str) -> None:
    assert run(tmp_path, text)["exit_code"] == BAD


def test_a_home_without_write_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(rows())
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(TABLE))
    done = sluice("run", "sluice.yaml", "--home", "/proc/home", "--json", cwd=tmp_path)
    assert done.returncode == BAD
    assert "--home DIR" in orjson.loads(done.stdout)["fix"]


def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "rows.csv").write_text(rows(count=6000))
        (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(TABLE))
        done = sluice("run", "sluice.yaml", "--home", str(small / "home"), "--json", cwd=tmp_path)
        assert done.returncode == BAD, done.stdout + done.stderr
        assert "no space left" in (done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "package")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = sluice("serve", str(package), "--port", port, cwd=tmp_path)
    assert done.returncode == BAD
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def tiny_package(root: Path) -> Path:
    """A package whose graph turns two numbers into two probabilities."""
    from onnx import TensorProto, helper

    from sluice.core.datatypes import TensorSpec
    from sluice.package import package

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 2]) for n in ("x", "probabilities"))
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["probabilities"])], "g", [x], [y])
    root.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (root / "model.onnx").write_bytes(model.SerializeToString())
    package.write(
        root,
        name="tiny",
        task="tensor",
        objective="classification",
        inputs=[TensorSpec("x", "FP32", (-1, 2))],
        outputs=[TensorSpec("probabilities", "FP32", (-1, 2))],
        labels=["a", "b"],
        metrics={},
        provenance={},
        precision="fp32",
        preprocess={"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]},
    )
    return root
