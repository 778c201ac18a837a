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


def test_an_invoice_with_returns_and_codes_of_digits_and_letters_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns that nothing is read from may hold what they like; what was given back is no sign of interest."""
    write(tmp_path / "log.csv", users=40, items=20)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    text = ["InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
    for i, (user, item, time, *_) in enumerate(rows):
        number = int("".join(c for c in item if c.isdigit()) or "0")
        code = f"{22000 + number}{'A' if number == 3 else ''}"
        text.append(f"{'C' if i % 40 == 9 else ''}{536365 + i},{code},{-1 if i % 40 == 9 else 2},{time},1.5,{user},UK")
    (tmp_path / "log.csv").write_text("\n".join(text) + "\n")
    assert main(["init", str(tmp_path / "shop"), "--data", str(tmp_path / "log.csv"), "--task", "recommend"]) == 0
    out = capsys.readouterr().out
    assert "user 'CustomerID', item 'StockCode', time 'InvoiceDate', weight 'Quantity'" in out
    assert "'InvoiceNo' is read as texts" in out and "weights below 0" in out
    project = load(tmp_path / "shop" / "sluice.yaml")
    assert project.model.least_weight == 0 and "InvoiceNo" in project.data.columns.categorical


def test_a_table_of_users_by_items_is_told_how_to_be_melted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = ",".join(["userId", *(f"m{i}" for i in range(30))])
    rows = [",".join([str(u), *("" if (u + i) % 3 else str(1 + (u * i) % 5) for i in range(30))]) for u in range(40)]
    (tmp_path / "wide.csv").write_text("\n".join([header, *rows]) + "\n")
    assert main(["init", str(tmp_path / "shop"), "--data", str(tmp_path / "wide.csv"), "--task", "recommend"]) == 2
    err = capsys.readouterr().err
    assert "a row a user and a column an item (30 columns of numbers)" in err and "melt('userId'" in err and "--set model.item" not in err
