"""`sluice init --task forecast`: rows after the last label tell which columns are known ahead; the label is found by what measures are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluice.cli import main
from sluice.project import load

DAYS, STORES = 120, ("north", "south")


def write(path: Path, ahead: int, filled: bool = True) -> None:
    rng = np.random.default_rng(5)
    lines = ["store,day,promo,heat,sales"]
    for store in STORES:
        for d, day in enumerate(np.arange("2024-01-01", np.datetime64("2024-01-01") + DAYS, dtype="datetime64[D]")):
            past = d < DAYS - ahead
            sales = f"{50 + 10 * (d % 7 > 4) + rng.normal():.2f}" if past else ""
            heat = f"{rng.normal(10, 3):.1f}" if past else ""
            lines.append(f"{store},{day},{int(rng.random() < 0.2) if past or filled else ''},{heat},{sales}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("ahead", "filled", "known"), [(14, True, ["promo"]), (14, False, []), (0, True, [])])
def test_what_stands_after_the_last_label_is_known_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ahead: int, filled: bool, known: list[str]
) -> None:
    write(tmp_path / "d.csv", ahead, filled)
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv"), "--task", "forecast"]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    project = load(tmp_path / "p" / "sluice.yaml")
    assert project.model.known == known and project.data.columns.label == "sales"
    assert ("promo has values in rows after the last label" in out) == bool(known)
    assert "of 'heat' the past alone" in out if known else "of 'promo', 'heat' the past alone" in out


def test_a_column_of_two_values_is_no_likely_quantity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "d.csv", 0)
    (tmp_path / "d.csv").write_text((tmp_path / "d.csv").read_text().replace("sales", "klm", 1))
    assert main(["init", str(tmp_path / "p"), "--data", str(tmp_path / "d.csv"), "--task", "forecast"]) == 2
    assert "--label klm; candidates, the likeliest first: klm, heat, promo" in capsys.readouterr().err
