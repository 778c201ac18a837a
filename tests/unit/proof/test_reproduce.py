"""`sluice reproduce`: what differs is named; the training itself is in `make bench-reproduce`."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sluice import cli
from sluice.commands import reproduce
from sluice.core.errors import PackageError, ProjectError
from sluice.proof import environment, statement
from sluice.proof.difference import causes, differences
from tests.unit.packaging.conftest import seal
from tests.unit.proof.conftest import MADE

PROJECT = '{"name":"demo","task":"text","data":{"source":"rows.csv"},"tracking":{"uri":"http://shared:5000"}}'
PROVENANCE = {"seed": 17, "data": "d" * 64, "code": "e" * 64, "config": "c" * 64}


def nudged(package, root):
    """The same package with one number of its graph moved by 0.25."""
    made = seal(root, "text", provenance=PROVENANCE)
    model = onnx.load(str(made.model))
    tensor = next(t for t in model.graph.initializer if t.name == "table")
    table = numpy_helper.to_array(tensor).copy()
    table[2, 0] += 0.25
    tensor.CopyFrom(numpy_helper.from_array(table, "table"))
    made.model.write_bytes(model.SerializeToString())
    return reseal(made)


def reseal(made):
    from sluice.package import package as packages

    m = made.manifest
    return packages.write(
        made.root,
        name=m["name"],
        task=m["task"],
        objective=m["objective"],
        inputs=list(made.inputs),
        outputs=list(made.outputs),
        labels=m["labels"],
        preprocess=m["preprocess"],
        precision=m["precision"],
        metrics=m["metrics"],
        provenance=m["provenance"],
    )


def test_a_moved_weight_is_named_with_how_far(kept, tmp_path):
    k = kept()
    (tmp_path / "made" / "model.json").unlink(missing_ok=True)
    found = differences(k.package, nudged(k.package, tmp_path / "again"))
    (graph,) = found["files"]
    assert graph["name"] == "model.onnx" and graph["changed_tensors"] == 1 and graph["others"] == []
    assert graph["tensors"] == [{"name": "table", "numbers": 10, "changed": 1, "max_abs": 0.25, "max_rel": pytest.approx(0.2)}]
    assert found["manifest"] == {} and found["metrics"] == {}


def test_the_same_model_by_other_code_differs_in_the_manifest_alone(kept, tmp_path):
    k = kept()
    found = differences(k.package, seal(tmp_path / "again", "text", provenance=PROVENANCE | {"code": "f" * 64}, metrics={"value": 0.8}))
    assert found == {"manifest": {"provenance.code": ["e" * 64, "f" * 64]}, "metrics": {"value": [0.9, 0.8]}, "files": []}


def test_a_changed_side_file_is_told_key_by_key(kept, tmp_path):
    k = kept()
    made = seal(tmp_path / "again", "text", provenance=PROVENANCE)
    tokens = json.loads((made.root / "tokenizer.json").read_text())
    tokens["model"]["vocab"]["good"] = 7
    (made.root / "tokenizer.json").write_text(json.dumps(tokens))
    (found,) = differences(k.package, reseal(made))["files"]
    assert found["keys"] == {"model.vocab.good": [2, 7]}


def test_causes_are_code_settings_data_and_environment_as_far_as_they_differ():
    told = {
        "commit": "a",
        "clean": True,
        "sluice": "s",
        "config": "c",
        "data": "d",
        "python": "3.11",
        "packages": {"numpy": "2.4", "onnx": "1"},
        "machine": {"cpu": "x"},
    }
    assert causes(told, told) == {}
    now = told | {"clean": False, "data": "e", "packages": {"numpy": "2.5", "torch": "2"}, "machine": {"cpu": "y"}}
    assert causes(told, now) == {
        "code": {"clean": [True, False]},
        "data": {"data": ["d", "e"]},
        "environment": {"numpy": ["2.4", "2.5"], "onnx": ["1", None], "torch": [None, "2"], "cpu": ["x", "y"]},
    }


@pytest.fixture
def again(kept, tmp_path, monkeypatch):
    """`again(make)` reproduces a package where training is `make(root)`, which seals what it makes; what the run was given is kept."""
    given = {}

    def run(make, *options, outcome=None, **made):
        k = kept(made=dataclasses.replace(MADE, project=PROJECT, base_dir=str(tmp_path), **made))

        def execute(project, *, text, base_dir, home, command, quiet, until):
            given.update(project=project, text=text, base_dir=base_dir, home=home.root, until=until, env=dict(os.environ))
            if outcome:
                return outcome
            return {"outcome": "made", "package": str(make(home.root / "package").root), "seconds": 1.0, "exit_code": 0}

        monkeypatch.setattr(reproduce, "checkout_command", lambda _: execute)
        return k, cli.main(["reproduce", k.digest, "--home", str(k.home), "--json", *options]), given

    return run


def same(root):
    return seal(root, "text", provenance=PROVENANCE)


def test_the_same_package_ends_with_0_and_nothing_is_left_behind(again, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://shared:5000")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    k, status, given = again(same)
    found = json.loads(capsys.readouterr().out)
    assert status == 0 and found["same"] and found["made"] == k.digest == found["digest"]
    assert given["until"] == "export_onnx" and "tracking" not in json.loads(given["text"]) and given["project"].tracking.uri is None
    assert "MLFLOW_TRACKING_URI" not in given["env"] and os.environ["MLFLOW_TRACKING_URI"] == "http://shared:5000"
    assert os.environ["OMP_NUM_THREADS"] == "7" and not given["home"].exists()


def test_another_package_ends_with_3_and_says_what_differs(again, capsys, tmp_path):
    locked = environment.lock()
    k, status, _ = again(lambda root: nudged(None, root), lock=locked, code=environment.code(tmp_path))
    found = json.loads(capsys.readouterr().out)
    assert (
        status == 3 and not found["same"] and found["differs"] == {} and found["differences"]["files"][0]["tensors"][0]["name"] == "table"
    )
    cli.main(["reproduce", k.digest, "--home", str(k.home)])
    told = capsys.readouterr().out
    assert "NOT REPRODUCED" in told and "table: 1 of 10 numbers, by 0.25 at the most" in told and "depends on something else" in told


def test_other_versions_are_named(again, capsys):
    _, status, _ = again(same)
    found = json.loads(capsys.readouterr().out)
    assert status == 0 and found["differs"]["environment"]["torch"][0] is None and found["differs"]["code"]["commit"][0] == "a" * 40


def test_what_could_not_be_made_again_ends_as_its_run_did(again, capsys):
    failed = {"outcome": "failed", "exit_code": 2, "reasons": ["data.source: no such file"], "error": {"fix": "put it back"}}
    _, status, given = again(same, outcome=failed)
    assert status == 2 and json.loads(capsys.readouterr().out)["reasons"] == ["data.source: no such file"] and not given["home"].exists()


def test_a_folder_that_is_gone_and_a_record_that_is_none_are_told(kept, tmp_path):
    k = kept(made=dataclasses.replace(MADE, base_dir="/nowhere/to/be/found"))
    with pytest.raises(ProjectError, match="the project's folder is not here"):
        reproduce.folder_of(statement.read(k.store.proof(k.digest)["provenance.json"]), None)
    with pytest.raises(PackageError, match="has no record of how it was made"):
        reproduce.record_of(k.store, "0" * 64)
    np.testing.assert_equal(reproduce._word("a" * 64), "a" * 12)
