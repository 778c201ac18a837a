"""`sluice init --data FILE` of tasks whose columns have parts to play: found by what they are called, or said with ``--set``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from sluice.cli import main
from tests.tools.interactions import write


def made(folder: Path, task: str, *more: str) -> tuple[int, Path]:
    written = folder / "mine" / "sluice.yaml"
    return main(["init", str(written.parent), "--data", str(folder / "rows.csv"), "--task", task, *more]), written


def logs(path: Path, header: str, rows: int = 240) -> None:
    draw = random.Random(3)
    lines = [f"{draw.gauss(0, 1):.3f},{i % 3},{draw.random() < 0.3:d},0.333" for i in range(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")


def pairs(path: Path, header: str, rows: int = 120) -> None:
    words = ["red", "house", "river", "stone", "bread", "music", "winter", "garden"]
    draw = random.Random(4)
    lines = []
    for i in range(rows):
        one = draw.sample(words, 3)
        two = one if i % 2 else draw.sample(words, 3)
        lines.append(f"{i},the {' '.join(one)} {i},a {' '.join(two)} {i},{i % 2}")
    path.write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize("header", ["mood,item_id,click,propensity_score", "mood,arm,revenue,pscore", "mood,Treatment,Converted,prob"])
def test_what_was_logged_is_found_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str) -> None:
    logs(tmp_path / "rows.csv", header)
    status, project = made(tmp_path, "bandit")
    said = capsys.readouterr()
    assert status == 0, said.err
    _, action, reward, propensity = header.split(",")
    assert yaml.safe_load(project.read_text())["model"] == {"action": action, "reward": reward, "propensity": propensity}
    assert f"action {action!r}, reward {reward!r}, propensity {propensity!r}; the context is mood" in said.out


def test_what_no_name_tells_is_said_with_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs(tmp_path / "rows.csv", "mood,button,click,chance")
    assert made(tmp_path, "bandit")[0] == 2
    assert "model.action" in (err := capsys.readouterr().err) and "--set model.action=COLUMN" in err
    status, project = made(tmp_path, "bandit", "--set", "model.action=button", "--set", "model.propensity=0.333")
    assert status == 0
    assert yaml.safe_load(project.read_text())["model"] == {"action": "button", "reward": "click", "propensity": 0.333}


@pytest.mark.parametrize("header", ["id,sentence1,sentence2,score", "id,question1,question2,is_duplicate", "id,text_a,text_b,label"])
def test_the_texts_of_pairs_and_their_score_are_found_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str) -> None:
    pairs(tmp_path / "rows.csv", header)
    status, project = made(tmp_path, "similarity")
    assert status == 0, capsys.readouterr().err
    _, first, second, score = header.split(",")
    raw = yaml.safe_load(project.read_text())
    assert raw["data"]["columns"] == {"text": first, "label": score}
    assert raw["model"] == {"other": second}
    assert f"pairs are read as {first!r} and {second!r}, their score as {score!r}" in capsys.readouterr().out


def test_pairs_nobody_can_tell_name_the_setting_that_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path / "rows.csv", "id,one,two,alike")
    assert made(tmp_path, "similarity")[0] == 2
    assert "data.columns.text:" in (err := capsys.readouterr().err) and "--set data.columns.text=COLUMN" in err
    more = ["data.columns.text=one", "model.other=two", "data.columns.label=alike"]
    assert made(tmp_path, "similarity", *(word for item in more for word in ("--set", item)))[0] == 0


def test_interactions_with_other_names_are_said_with_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "rows.csv", users=40, items=20)
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text().replace("user,item,time", "a,b,time"))
    assert made(tmp_path, "recommend")[0] == 2
    assert "--set model.user=COLUMN" in capsys.readouterr().err
    status, project = made(tmp_path, "recommend", "--set", "model.user=a", "--set", "model.item=b")
    assert status == 0
    assert yaml.safe_load(project.read_text())["model"] == {"user": "a", "item": "b"}


def test_settings_said_of_a_table_stand_in_its_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("x,z,label\n" + "".join(f"{i % 7},{i * i % 11},{'ab'[i % 3 > 0]}\n" for i in range(200)))
    more = ["train.seed=5", "evaluate.minimum=0.1", "data.columns.ignore=[z]"]
    status, project = made(tmp_path, "tabular", *(word for item in more for word in ("--set", item)))
    raw = yaml.safe_load(project.read_text())
    assert status == 0
    assert raw["train"] == {"seed": 5} and raw["evaluate"]["minimum"] == 0.1
    assert raw["data"]["columns"]["ignore"] == ["z"]


@pytest.mark.parametrize(
    ("item", "fix"), [("data.columns.label=x", "--label COL"), ("task=text", "--task TASK"), ("model", "key.path=value")]
)
def test_what_set_does_not_say_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], item: str, fix: str) -> None:
    (tmp_path / "rows.csv").write_text("x,label\n" + "".join(f"{i % 7},{'ab'[i % 2]}\n" for i in range(60)))
    assert made(tmp_path, "tabular", "--set", item)[0] == 2
    assert fix in capsys.readouterr().err
