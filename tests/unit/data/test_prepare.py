"""A project's source becomes a report and a dataset; bad data is told apart from data that must not be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core.errors import DataError
from sluice.core.png import png
from sluice.data.dataset import Dataset
from sluice.data.prepare import load_canonical, prepare, validate_project_data
from sluice.data.profile import profile_counts
from sluice.data.report import Report
from sluice.tasks import load_task

REAL = Path(os.environ.get("SLUICE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
RNG = np.random.default_rng(11)
N = 300


def project(folder: Path, task: str = "tabular", **data: Any) -> tuple[projects.Project, Path, Any]:
    made = projects.parse({"name": "trial", "task": task, "data": {"source": "rows.csv", **data}}, base_dir=folder)
    return made, folder, load_task(made, folder)


def make(folder: Path, task: str = "tabular", out: str = "d", **data: Any) -> Dataset:
    return prepare(*project(folder, task, **data), folder / out)


def check(folder: Path, task: str = "tabular", **data: Any) -> Report:
    return validate_project_data(*project(folder, task, **data))


def lines(n: int = N, start: int = 0) -> list[str]:
    return [f"{i * 0.37:.2f},{'ROB'[i % 3]},{'yes' if i % 7 < 3 else 'no'}" for i in range(start, start + n)]


def csv(folder: Path, rows: list[str] | None = None, name: str = "rows.csv", header: str = "age,town,label") -> None:
    (folder / name).write_text("\n".join([header, *(lines() if rows is None else rows)]) + "\n")


def test_a_csv_becomes_a_verified_dataset_with_its_profile(tmp_path: Path) -> None:
    csv(tmp_path)
    made = make(tmp_path)
    again = Dataset.open(made.root)
    assert again.digest == made.digest and again.labels == ["no", "yes"] and again.columns == {"age": "numeric", "town": "categorical"}
    assert sum(made.rows(s) for s in ("train", "validation", "test")) == N
    assert (again.task, again.objective) == ("tabular", "classification")
    table = made.read("train")
    assert [str(t) for t in table.schema.types] == ["string", "double", "string", "string"]
    profile = made.profile()
    assert profile is not None and profile["rows"] == made.rows("train")
    assert profile_counts(profile, table)["features"]["age"]["value"] == profile["features"]["age"]["parts"]["value"]["counts"]
    assert made.manifest["source"]["uri"] == "rows.csv" and made.manifest["source"]["left_out"] == 0


def test_the_same_data_elsewhere_or_in_another_form_is_the_same_version(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    csv(tmp_path / "a")
    csv(tmp_path / "b", name="other.csv")
    table, _, _ = load_canonical(*project(tmp_path / "a"))
    pq.write_table(table, tmp_path / "b" / "rows.parquet", row_group_size=7)
    a, b, c = make(tmp_path / "a"), make(tmp_path / "b", source="other.csv"), make(tmp_path / "b", source="rows.parquet")
    assert a.digest == b.digest == c.digest


@pytest.mark.parametrize("row", [0, 150, N - 1])
@pytest.mark.parametrize("cell", [0, 1, 2, 3])
def test_one_changed_cell_anywhere_is_another_version(tmp_path: Path, row: int, cell: int) -> None:
    rows = [f"{line},note" for line in lines()]
    header, ignored = "age,town,label,remark", {"columns": {"ignore": ["remark"]}}
    csv(tmp_path, rows, header=header)
    before = make(tmp_path, **ignored).digest
    cells = rows[row].split(",")
    cells[cell] = {0: "77.7", 1: "X", 2: "no" if cells[2] == "yes" else "yes", 3: "other"}[cell]
    rows[row] = ",".join(cells)
    csv(tmp_path, rows, header=header)
    assert make(tmp_path, out="e", **ignored).digest != before


def test_the_seed_of_the_split_is_part_of_the_version(tmp_path: Path) -> None:
    csv(tmp_path)
    assert make(tmp_path).digest != make(tmp_path, out="e", split={"seed": 18}).digest


def test_few_rows_change_sides_when_the_source_grows(tmp_path: Path) -> None:
    csv(tmp_path)
    before = make(tmp_path)
    csv(tmp_path, lines(80, 5000) + lines() + lines(80, 9000))
    after = make(tmp_path, out="e")
    moved = 0
    for split in ("train", "validation", "test"):
        ids = [set(d.read(split, ["row_id"]).column(0).to_pylist()) for d in (before, after)]
        moved += len(ids[0] - ids[1])
    assert moved <= 0.05 * N


def test_held_out_rows_of_their_own_are_the_test_split(tmp_path: Path) -> None:
    csv(tmp_path)
    csv(tmp_path, [",R,yes", "1.5,7,no"], "test.csv", "age,town,label")
    made = make(tmp_path, test="test.csv")
    assert made.read("test", ["age", "town", "label"]).to_pylist() == [
        {"age": None, "town": "R", "label": "yes"},
        {"age": 1.5, "town": "7", "label": "no"},
    ]
    assert made.rows("train") + made.rows("validation") == N
    assert make(tmp_path, out="e", test="test.csv").digest == made.digest != make(tmp_path, out="f").digest


def test_held_out_rows_with_other_columns_are_refused(tmp_path: Path) -> None:
    csv(tmp_path)
    csv(tmp_path, [f"{i},yes" for i in range(60)], "test.csv", "age,label")
    assert "held-out rows: column 'town' is missing" in check(tmp_path, test="test.csv").reasons[0]
    with pytest.raises(DataError, match=r"data.test: has no such column, though the training rows do \(got 'town'\)"):
        make(tmp_path, test="test.csv")


def test_held_out_rows_with_whole_numbers_for_quantities_keep_the_objective(tmp_path: Path) -> None:
    csv(tmp_path, [f"{i * 0.37:.2f},{'ROB'[i % 3]},{i * 1.5}" for i in range(N)])
    csv(tmp_path, [f"{i * 1.7 + 0.005:.3f},{'ROB'[i % 3]},{i % 5}" for i in range(60)], "test.csv")
    made = make(tmp_path, test="test.csv")
    assert made.objective == "regression" and made.read("test").schema.field("label").type == pa.float64()
    assert check(tmp_path, test="test.csv").decision == "pass"


@pytest.mark.parametrize(
    "name, write, message",
    [
        ("missing", lambda d: None, r"data.test: no such file"),
        ("empty", lambda d: (d / "test.csv").write_text(""), r"test.csv: is empty"),
        ("no label", lambda d: csv(d, ["1,R"], "test.csv", "age,town"), r"test.csv has no such column .got 'label'"),
        ("text", lambda d: csv(d, ["old,R,yes"], "test.csv"), r"test.csv:2: age, row 1: is text in a column of numbers"),
    ],
)
def test_bad_held_out_rows_are_told_apart_from_the_source(tmp_path: Path, name: str, write: Any, message: str) -> None:
    csv(tmp_path)
    write(tmp_path)
    for act in (make, check):
        with pytest.raises(DataError, match=message):
            act(tmp_path, test="test.csv")


def test_rows_without_label_or_text_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [f"number {i},{'ab'[i % 2]}" for i in range(100)] + [",a", "  ,b", "has no label,", "nor this,nan"]
    csv(tmp_path, rows, header="text,label")
    made = make(tmp_path, "text")
    assert sum(made.rows(s) for s in ("train", "validation", "test")) == 100
    assert made.manifest["source"]["left_out"] == 4 and made.labels == ["a", "b"]
    report = check(tmp_path, "text", checks={"nulls_max": 0.05})
    assert report.decision == "pass" and len([c for c in report.checks if c.name == "nulls" and c.status == "warn"]) == 2


def test_a_source_with_nothing_to_learn_from_is_bad_data(tmp_path: Path) -> None:
    csv(tmp_path, ["some text,", "more text,"], header="text,label")
    with pytest.raises(DataError, match="has no row with both features and a label"):
        make(tmp_path, "text")


@pytest.mark.parametrize(
    "rows, name",
    [
        (lines()[:9], "rows"),
        ([*lines(), "9999,R,once"], "label_rows"),
        ([r.rsplit(",", 1)[0] + "," for r in lines()[:50]] + lines(), "nulls"),
        ([r.rsplit(",", 1)[0] + ",yes" for r in lines()], "one_class"),
        (lines(40) * 5, "duplicates"),
        (lines() + [r.rsplit(",", 1)[0] + ",maybe" for r in lines()[:50]], "conflicts"),
    ],
)
def test_data_that_must_not_be_used_is_a_refusal_not_an_error(tmp_path: Path, rows: list[str], name: str) -> None:
    csv(tmp_path, rows)
    report = check(tmp_path, checks={"nulls_max": 0.0, "duplicates_max": 0.5, "conflicts_max": 0.05})
    assert report.decision == "refuse" and name in [c.name for c in report.checks if c.status == "refuse"], report.reasons


def test_an_impossible_split_is_refused_and_cannot_be_prepared(tmp_path: Path) -> None:
    csv(
        tmp_path,
        [*(f"{line.rsplit(',', 1)[0]},no,{i % 30}" for i, line in enumerate(lines())), *(f"{i},R,rare,99" for i in range(9001, 9003))],
        header="age,town,label,batch",
    )
    split = {"by": "time", "column": "batch"}
    assert any("the split cannot be made: 1 label would have no training row: 'rare'" in r for r in check(tmp_path, split=split).reasons)
    with pytest.raises(DataError, match=r"data.split: 1 label would have no training row: 'rare'"):
        make(tmp_path, split=split)
    assert not (tmp_path / "d").exists()


def test_examples_name_the_file_and_row(tmp_path: Path) -> None:
    csv(tmp_path, lines(150), "rows1.csv")
    csv(tmp_path, [*lines(150, 150), "1e6,R,once"], "rows2.csv")
    report = check(tmp_path, source="rows?.csv")
    assert next(c for c in report.checks if c.name == "label_rows").examples == ("rows2.csv row 151: 'once'",)


def images(folder: Path, n: int = 60) -> Path:
    for i in range(n):
        path = folder / "pets" / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(RNG.integers(0, 256, (8, 8)).tolist()))
    return folder / "pets"


def test_an_image_folder_becomes_a_dataset(tmp_path: Path) -> None:
    images(tmp_path)
    made = make(tmp_path, "image", source="pets")
    assert made.labels == ["cat", "dog"] and made.columns == {"image": "image"}
    assert check(tmp_path, "image", source="pets").decision == "pass"
    profile = made.profile()
    assert profile is not None and profile["features"]["image"]["channels"] == 1


def test_a_corrupt_image_is_a_refusal_that_names_the_file(tmp_path: Path) -> None:
    bad = images(tmp_path) / "dog" / "4.png"
    bad.write_bytes(bad.read_bytes()[:60])
    report = check(tmp_path, "image", source="pets")
    assert report.decision == "refuse" and "1 image cannot be read: pets/dog/4.png" in report.reasons[0]


def test_a_users_own_task_brings_its_own_columns(tmp_path: Path) -> None:
    class Waves:
        def kinds(self, table: pa.Table) -> dict[str, str]:
            return {"wave": "audio"}

        def objective(self, table: pa.Table) -> str:
            return "classification"

        def canonical(self, table: pa.Table) -> pa.Table:
            waves = pa.array([[float(ord(c)) for c in v] for v in table.column("word").to_pylist()], pa.list_(pa.float32()))
            return pa.table({"wave": waves, "label": table.column("label"), "left over": table.column("word")})

    csv(tmp_path, [f"w{i},{'ab'[i % 2]}" for i in range(200)], header="word,label")
    made, folder, _ = project(tmp_path)
    made = made.model_copy(update={"task": "my_module:Waves"})
    dataset = prepare(made, folder, Waves(), tmp_path / "d")
    assert dataset.columns == {"wave": "audio"} and dataset.read("train").schema.field("wave").type == pa.list_(pa.float32())
    assert validate_project_data(made, folder, Waves()).decision == "pass"

    class Forgetful(Waves):
        def canonical(self, table: pa.Table) -> pa.Table:
            return super().canonical(table).drop_columns(["label"])

    with pytest.raises(DataError, match=r"label: Forgetful.canonical\(\) returns no such column"):
        prepare(made, folder, Forgetful(), tmp_path / "e")


@pytest.mark.parametrize(
    "name, task",
    [
        ("digits", "image"),
        ("digits", "tabular"),
        ("iris", "tabular"),
        ("wine", "tabular"),
        ("breast_cancer", "tabular"),
        ("diabetes", "tabular"),
    ],
)
def test_scikit_learns_sets_pass_and_are_prepared_the_same_twice(tmp_path: Path, name: str, task: str) -> None:
    source = f"sklearn://{name}"
    assert check(tmp_path, task, source=source).decision == "pass"
    assert make(tmp_path, task, source=source).digest == make(tmp_path, task, "e", source=source).digest


@pytest.mark.skipif(not (REAL / "clinc150" / "train.csv").is_file(), reason=f"clinc150 is not in {REAL} (set SLUICE_TEST_DATA)")
def test_clinc150_passes_with_its_own_held_out_rows(tmp_path: Path) -> None:
    data = {"source": str(REAL / "clinc150" / "train.csv"), "test": str(REAL / "clinc150" / "test.csv")}
    report = check(tmp_path, "text", **data)
    assert report.decision == "pass" and len(report.labels) == 150 and report.rows == {"train": 15000, "test": 4500}
    made = make(tmp_path, "text", **data)
    assert (made.rows("train") + made.rows("validation"), made.rows("test")) == (15000, 4500)
