"""A table with texts, dates, gaps and many shops, learnt with nothing said of the model, split by group and by time: what is served raw is what was judged."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import answers
from sluice.formats.export import export_package
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.project import parse
from sluice.tasks import load_task

GOOD, BAD = ["arrived early", "works well", "lovely colour"], ["arrived broken", "does not work", "never came"]


def written(path: Path, value: bool, rows: int = 360) -> list[dict[str, str]]:
    """The cells of each row, as a client has them."""
    rng, found = random.Random(3), []
    careless = {f"S{i:03d}": rng.gauss(0, 1.5) for i in range(90)}
    for i in range(rows):
        upset, shop, amount = rng.random() < 0.45, rng.choice(list(careless)), round(rng.lognormvariate(3, 1), 2)
        score = 3 * (upset - 0.5) + 0.5 * careless[shop] + rng.gauss(0, 0.6)
        row = {"customer": f"c{i % 60}", "amount": "" if rng.random() < 0.1 else str(amount), "shop": "" if rng.random() < 0.05 else shop}
        row |= {"ordered": f"2024-{1 + i * 11 // rows:02d}-{rng.randint(1, 28):02d} 0{rng.randint(0, 9)}:30"}
        row |= {"said": "" if rng.random() < 0.05 else f"The parcel {rng.choice(BAD if upset else GOOD)} on day {rng.randint(1, 40)}"}
        found.append({**row, "back": f"{score:.3f}" if value else "yes" if score > 0 else "no"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return found


def raw(cells: dict[str, str]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {k: None if v == "" else float(v) if k == "amount" else v for k, v in cells.items() if k not in ("back", "customer")}


@pytest.mark.parametrize("value", [False, True], ids=["classes", "a quantity"])
@pytest.mark.parametrize("by", [{"by": "group", "column": "customer"}, {"by": "time", "column": "ordered"}], ids=["group", "time"])
def test_what_is_served_raw_is_what_was_judged(by: dict[str, str], value: bool, tmp_path: Path) -> None:
    cells = written(tmp_path / "orders.csv", value)
    data = {"source": "orders.csv", "columns": {"label": "back", "ignore": ["customer"]}, "split": by}
    project = parse({"name": "p", "task": "tabular", "data": data}, base_dir=tmp_path)
    task = load_task(project, tmp_path)
    assert validate_project_data(project, tmp_path, task).decision == "pass"
    dataset = prepare(project, tmp_path, task, tmp_path / "dataset")
    trained = task.learner().fit(Job(dataset, tmp_path / "model"))
    exported = export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path)
    assert exported.decision == "pass", exported.reasons
    package = packages.read(tmp_path / "package")
    predictor = Predictor(package)

    judged = answers(predictor.predict, package.preprocess, dataset, "test")
    asked = _held_out(cells, dataset)
    served = predictor.predict([raw(c) for c in asked])
    np.testing.assert_allclose(np.sort(served, axis=0), np.sort(judged, axis=0), atol=1e-5)
    if by["by"] == "time":
        newest = sorted(c["ordered"] for c in cells)
        assert min(c["ordered"] for c in asked) >= newest[int(0.7 * len(cells))]
        assert trained.record["choice"]["judged_on"] == "of validation"
    else:
        rest = {c["customer"] for c in cells} - {c["customer"] for c in asked}
        assert len({c["customer"] for c in asked}) + len(rest) == 60
        assert trained.record["choice"]["judged_on"] == "left out of 5 folds"
    truth = np.array([float(c["back"]) if value else c["back"] == dataset.labels[1] for c in asked])
    told = served if value else served[:, 1]
    assert np.corrcoef(told, truth)[0, 1] > 0.7


def _held_out(cells: list[dict[str, str]], dataset: Dataset) -> list[dict[str, str]]:
    """The rows that the split held out: those whose texts, times and amounts are in its test part."""
    test = dataset.read("test")
    keys = {
        (said or "", at.strftime("%Y-%m-%d %H:%M"))
        for said, at in zip(test.column("said").to_pylist(), test.column("ordered").to_pylist(), strict=True)
    }
    found = [c for c in cells if (" ".join(c["said"].split()), c["ordered"]) in keys or (c["said"], c["ordered"]) in keys]
    assert len(found) == test.num_rows
    return found
