"""`sluice init --data FILE --task recommend`: a project of a person's own interactions, or what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.cli import main
from sluice.project import load
from tests.tools.interactions import write


def test_a_file_of_interactions_becomes_a_project_that_says_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "log.csv", users=40, items=20)
    (tmp_path / "log.csv").write_text((tmp_path / "log.csv").read_text().replace("user,item,time", "customer_id;sku;ts").replace(",", ";"))
    assert main(["init", str(tmp_path / "shop"), "--data", str(tmp_path / "log.csv"), "--task", "recommend"]) == 0
    assert "user 'customer_id', item 'sku', time 'ts'" in capsys.readouterr().out
    project = load(tmp_path / "shop" / "sluice.yaml")
    assert (project.task, project.data.source) == ("recommend", "../log.csv")


@pytest.mark.parametrize("header", ["user,song,ts_ms", "reviewerID,asin,unixReviewTime", "Kunde,Artikelnummer,Datum"])
def test_columns_are_found_as_known_exports_call_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str) -> None:
    write(tmp_path / "log.csv", users=40, items=20)
    (tmp_path / "log.csv").write_text((tmp_path / "log.csv").read_text().replace("user,item,time", header))
    assert main(["init", str(tmp_path / "shop"), "--data", str(tmp_path / "log.csv"), "--task", "recommend"]) == 0
    user, item, time = header.split(",")
    assert f"user {user!r}, item {item!r}, time {time!r}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("user,item\na,x\nb,y\n", ["--label", "item"], "makes its labels itself"),
        ("who,item\na,x\nb,y\n", [], "which column is the user"),
        ("user,item\na,x\nb,y\n", [], "at least 20 are needed"),
    ],
)
def test_what_cannot_be_a_project_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, more: list[str], said: str
) -> None:
    (tmp_path / "log.csv").write_text(text)
    assert main(["init", str(tmp_path / "shop"), "--data", str(tmp_path / "log.csv"), "--task", "recommend", *more]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "shop" / "sluice.yaml").exists()
