"""`sluice init --task anomaly --data FILE`: with labels in words of the file's own, and with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from sluice.commands.draft import Draft
from sluice.commands.starter import draft
from sluice.project import load


def write(path: Path, labelled: bool, rows: int = 240) -> None:
    rng = np.random.default_rng(2)
    lines = ["id,site,heat,flow" + (",state" if labelled else "")]
    for i in range(rows):
        odd = labelled and i % 12 == 0
        told = f",{'leak' if odd else 'fine'}" if labelled else ""
        lines.append(f"{i + 1},{'ab'[i % 2]},{rng.normal():.4f},{rng.normal() + 50 * odd:.4f}{told}")
    path.write_text("\n".join(lines) + "\n")


def drafted(folder: Path, label: str | None = None) -> Draft:
    made = draft(folder / "rows.csv", folder, name="t", task="anomaly", label=label, ask=None)
    (folder / "sluice.yaml").write_text(made.text("sluice init"))
    return made


def test_a_file_without_labels_needs_none(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", labelled=False)
    made = drafted(tmp_path)
    assert made.to_dict()["label"] is None
    assert made.left_out == {"id": "names the row: another value in each"}
    raw = yaml.safe_load((tmp_path / "sluice.yaml").read_text())
    assert raw["data"]["columns"] == {"ignore": ["id"]}
    assert "model" not in raw  # an autoencoder: a forest tells little where no label says what to look for
    assert "evaluate" not in raw
    assert load(tmp_path / "sluice.yaml").task == "anomaly"


@pytest.mark.parametrize("label", ["state", None])
def test_labels_in_words_of_their_own_are_guessed_and_said(tmp_path: Path, label: str | None) -> None:
    write(tmp_path / "rows.csv", labelled=True)
    if label is None:
        (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text().replace("state", "class", 1))
    made = drafted(tmp_path, label)
    assert made.raw["model"]["normal"] == ["fine"]
    assert any("'fine' is taken for normal" in note for note in made.notes)
    assert "flow" not in made.left_out and any("flow" in note for note in made.notes)
    assert "evaluate" not in made.raw


@pytest.mark.parametrize(
    ("name", "usual", "odd"),
    [("is_anomaly", "0", "1"), ("outlier_label", "1", "-1"), ("Normal/Attack", "Normal", "Attack"), ("verdict", "normal.", "smurf.")],
)
def test_labels_are_known_by_their_name_or_by_what_they_say(tmp_path: Path, name: str, usual: str, odd: str) -> None:
    write(tmp_path / "rows.csv", labelled=True)
    text = (tmp_path / "rows.csv").read_text().replace("fine", usual).replace("leak", odd).replace("state", name, 1)
    head, first, *rest = text.splitlines()  # a usual row first
    (tmp_path / "rows.csv").write_text("\n".join([head, *rest, first]) + "\n")
    made = drafted(tmp_path)
    assert made.to_dict()["label"] == name
    assert made.report is not None and made.report.labels == {"normal": 220, "anomaly": 20}


def test_two_columns_that_judge_rows_are_told_by_nobody(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", labelled=True)
    rows = (tmp_path / "rows.csv").read_text().replace("fine", "0").replace("leak", "1").splitlines()
    (tmp_path / "rows.csv").write_text(
        "\n".join([f"{r},{'is_attack' if i == 0 else i % 2}" for i, r in enumerate(rows)]).replace("state", "is_fraud")
    )
    assert drafted(tmp_path).to_dict()["label"] is None


@pytest.mark.parametrize(("rows", "odd"), [(2400, 12), (2400, 300)], ids=["many anomalies", "few"])
def test_labels_say_where_the_threshold_lies(tmp_path: Path, rows: int, odd: int) -> None:
    """Chosen on the validation labels; where these will be too few, as many rows pass it as there are anomalies."""
    rng = np.random.default_rng(3)
    lines = [
        "heat,flow,is_anomaly",
        *(f"{rng.normal():.4f},{rng.normal() + 9 * (i % odd == 0):.4f},{int(i % odd == 0)}" for i in range(rows)),
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    made = drafted(tmp_path)
    if odd == 12:
        assert made.raw["evaluate"] == {"decision": {"aim": "f1"}} and "contamination" not in made.raw["model"]
        assert "chosen on the validation labels" in (tmp_path / "sluice.yaml").read_text()
    else:
        assert made.raw["model"]["contamination"] == 0.0033 and "evaluate" not in made.raw
    assert load(tmp_path / "sluice.yaml").task == "anomaly"
