"""The first step makes one project of a filled-in form, or says what is wrong with it before a row is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.validate_data.logic import Checked, run
from sluice import project
from sluice.core import events
from sluice.core.gate import Gate
from sluice.kfp import form
from sluice.steps.outcome import cautions

RAW: dict[str, Any] = {
    "name": "mine",
    "task": "tabular",
    "data": {"source": "rows.csv", "columns": {"label": "y"}},
    "train": {"epochs": 20},
}


def step(folder: Path, **changes: Any) -> Checked:
    (folder / "rows.csv").write_text("x,y\n" + "".join(f"{i % 7},{'a' if i % 2 else 'b'}\n" for i in range(60)))
    compiled = form.defaults(RAW)
    values = {**compiled, **changes}
    return run(
        values["project"],
        values["set"],
        form.typed(values),
        form.typed(compiled),
        str(folder),
        gate_path=str(folder / "gate"),
        report_path=str(folder / "report.html"),
    )


def test_it_hands_on_the_one_project_on_one_line(tmp_path: Path) -> None:
    found = step(tmp_path, train_epochs=5, set="train.seed=3", project={**RAW, "evaluate": {"minimum": 0.5}})
    assert found.Output == Gate.read(tmp_path / "gate").decision == "pass" and "\n" not in found.project
    settled = project.parse(project.read_text(found.project, "handed on"), base_dir=tmp_path)
    assert (settled.train.epochs, settled.train.seed, settled.evaluate.minimum) == (5, 3, 0.5)


def test_a_column_that_gives_the_label_away_is_a_caution_of_the_run_and_another_warning_is_none(tmp_path: Path) -> None:
    rows = [(i * 37 % 211, i % 2, "" if i % 3 else 1, "ba"[i % 2]) for i in range(200)]
    for left, heard in (((0, 1, 2, 3), 1), ((0, 2, 3), 0)):
        (tmp_path / "given.csv").write_text("".join(",".join(str(r[i]) for i in left) + "\n" for r in [("x", "leak", "gaps", "y"), *rows]))
        step(tmp_path, data_source="given.csv")
        gate = Gate.read(tmp_path / "gate")
        said = cautions([gate])
        assert len(said) == heard and len(gate.evidence["warnings"]) > heard
        assert all("leak (100 %); will it be known when the model is asked?" in s for s in said)


def test_a_wrong_field_ends_it_with_field_value_and_fix_before_a_row_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.NONCE_ENV, "n")
    with pytest.raises(SystemExit):
        step(tmp_path, train_epochs=-3, data_source="nowhere.csv")
    said = next(e for line in capsys.readouterr().out.split("\n") if (e := events.parse(line, "n")) is not None and e["kind"] == "error")
    assert (said["field"], said["value"], said["exit_code"]) == ("train_epochs: train.epochs", "-3", 2) and said["fix"]
    assert not (tmp_path / "gate").exists()
