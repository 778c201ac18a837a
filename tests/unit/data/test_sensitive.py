"""Values of sensitive columns stand in no report, dataset, profile, error or log; a column that is named as a feature is learnt from all the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from serving.runtime.logs.predictions import _without
from sluice import project as projects
from sluice.cli import main
from sluice.core.errors import DataError, ProjectError
from sluice.data.config import DataConfig
from sluice.data.drifted import distances
from sluice.data.prepare import prepare, validate_project_data
from sluice.fields.processors import load_processor
from sluice.tasks import load_task
from tests.tools.written import holding

PLANTED = "zanzibar"


def project(folder, lines=(), **data):
    rng = np.random.default_rng(0)
    rows = [f"{i},{rng.normal():.3f},{PLANTED}{i % 7},2026-01-{1 + i % 28:02d},{'yes' if i % 3 else 'no'}" for i in range(120)]
    (folder / "rows.csv").write_text("\n".join(["id,x,who,born,label", *rows, *lines]) + "\n")
    raw = {"name": "rows", "task": "tabular", "data": {"source": "rows.csv", "sensitive": ["who"], **data}}
    (folder / "sluice.yaml").write_text(yaml.safe_dump(raw))
    return folder / "sluice.yaml"


def opened(path):
    found = projects.load(path)
    return found, path.parent, load_task(found, path.parent)


def test_a_sensitive_column_is_no_feature_and_in_nothing_that_is_written(tmp_path):
    path = project(tmp_path)
    made = prepare(*opened(path), tmp_path / "out" / "dataset")
    assert set(made.columns) == {"id", "x", "born"} and made.sensitive == frozenset()
    assert holding(tmp_path / "out", PLANTED) == []
    assert PLANTED not in json.dumps(validate_project_data(*opened(path)).to_dict())


def test_one_that_is_named_is_learnt_from_and_shown_nowhere(tmp_path):
    path = project(
        tmp_path,
        columns={"features": ["x", "who", "born"]},
        sensitive=["who", "x", "born"],
        checks={"ranges": {"x": {"min": 0}}},
    )
    told = json.dumps(report := validate_project_data(*opened(path)).to_dict())
    assert report["decision"] == "refuse" and PLANTED not in told and "2026-01" not in told
    assert [c["examples"][0] for c in report["checks"] if c["name"] == "ranges"] == ["rows.csv row 2"]
    assert {c["name"]: sorted(c) for c in report["columns"]}["who"] == ["distinct", "name", "nulls", "rows", "type"]
    made = prepare(*opened(path), tmp_path / "out")
    assert all("part-" in name for name in holding(tmp_path / "out", PLANTED)), "its shards alone hold it"
    assert holding(tmp_path / "out", PLANTED) and "who" in made.columns and made.sensitive == {"who", "x", "born"}
    profile = made.profile()
    assert PLANTED not in json.dumps(profile) and profile["features"]["x"] == {"kind": "sensitive", "parts": {}}
    rows = made.read("train")
    assert [d.feature for d in distances(profile, rows, rows.column("label").to_pylist())] == ["label"]


def test_a_group_to_split_by_has_another_name_in_the_dataset(tmp_path):
    made = prepare(*opened(project(tmp_path, split={"by": "group", "column": "who", "test": 0.3, "validation": 0.2})), tmp_path / "out")
    assert made.grouped_by == "who" and holding(tmp_path / "out", PLANTED) == []
    assert len(set(made.read("train", ["__group"]).column(0).to_pylist())) >= 2


@pytest.mark.parametrize("line", [f"1,2,{PLANTED}", f"1,2,{PLANTED},2026-01-01,no,more", f"1,{PLANTED},a,2026-01-01,no"])
def test_an_error_of_reading_names_the_line_and_not_what_stands_there(tmp_path, capsys, line):
    path = project(tmp_path, [line], columns={"features": ["x", "who"]}, sensitive=["who", "x"])
    with pytest.raises(DataError, match=r"rows\.csv:122") as e:
        validate_project_data(*opened(path))
    assert PLANTED not in str(e.value) and e.value.__cause__ is None
    assert main(["data", "check", str(path)]) == 2
    assert PLANTED not in "".join(capsys.readouterr())


def test_the_rules_of_a_schema_and_a_difference_show_none_of_its_values(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("columns: {who: {type: text, values: [a]}, x: {type: number}}")
    path = project(tmp_path, schema_file="s.yaml")
    assert main(["data", "check", str(path), "--json"]) == 3
    assert main(["data", "infer", str(path), "-o", str(tmp_path / "n.yaml"), "--set", "data.schema_file=null"]) == 0
    (tmp_path / "other.csv").write_text((tmp_path / "rows.csv").read_text().replace(f"{PLANTED}3", f"{PLANTED}9"))
    assert main(["data", "diff", str(path), str(tmp_path / "other.csv")]) == 3
    assert PLANTED not in "".join(capsys.readouterr()) + (tmp_path / "n.yaml").read_text()


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="names the label 'label'"):
        DataConfig(source="x", sensitive=["label"])
    assert DataConfig(source="x", sensitive=["a"], columns={"ignore": ["b"]}).columns.ignore == ["b", "a"]
    again = DataConfig(source="x", sensitive=["a"]).model_dump(mode="json")
    assert DataConfig.model_validate(again).columns.ignore == ["a"], "what was read is read again the same"
    assert DataConfig(source="x", sensitive=["a"]).reading()["sensitive"] == ["a"]


def test_slices_by_a_sensitive_column_and_unknown_ones_are_refused_before_training(tmp_path):
    path = project(tmp_path)
    raw = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**raw, "evaluate": {"slices": ["who"]}}))
    with pytest.raises(ProjectError, match="is a sensitive column"):
        validate_project_data(*opened(path))
    with pytest.raises((ProjectError, DataError), match="whom"):
        validate_project_data(*opened(project(tmp_path, sensitive=["whom"])))


def test_the_log_of_predictions_has_rows_without_it():
    columns = [{"name": n, "type": "categorical"} for n in ("who", "x")]
    records = load_processor({"kind": "tabular", "columns": columns}, {})
    assert _without(records, frozenset({"who"}), [{"who": PLANTED, "x": "a"}]) == [{"x": "a"}]
    assert _without(None, frozenset({"text"}), [PLANTED, PLANTED]) == [None, None]
    assert _without(None, frozenset({"text"}), {"t": np.zeros((3, 2))}) == [{}, {}, {}]
