"""Batch prediction: order, equality with the Predictor, bad rows, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.batch_predict import part, parts
from components.batch_predict.logic import predict_files, run, sources
from components.batch_predict.part import Work
from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.gate import Gate
from sluice.engines.predictor import Predictor
from sluice.fields.text import LIMIT_CHARACTERS
from sluice.problems.decision import Rule
from tests.unit.serving import builders

WORDS = ["send", "money", "home", "what", "is", "my", "balance", "book", "a", "flight"]


def texts(count: int) -> list[str]:
    r = np.random.default_rng(4)
    return [" ".join(r.choice(WORDS, size=n)) for n in r.integers(1, 14, size=count)]


def test_a_packages_threshold_decides_what_is_predicted(tmp_path: Path) -> None:
    package = builders.tabular(tmp_path / "p", labels=["No", "Yes"], rule=Rule("Yes", 0.2, "f1"))
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"age": [0.0, 20.0, 40.0, 60.0], "job": ["cook", None, None, "nurse"]}), tmp_path / "in" / "part-0.parquet")
    done = predict_files(package, sources(str(tmp_path / "in")), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    yes = np.array(table.column("probabilities").to_pylist())[:, 1]
    expected = ["Yes" if p >= 0.2 else "No" for p in yes]
    assert table.column("prediction").to_pylist() == expected == ["Yes", "Yes", "No", "No"]
    assert table.column("probability").to_pylist() == pytest.approx([yes[0], yes[1], 1 - yes[2], 1 - yes[3]])
    assert yes[1] < 0.5 and done.labels == {"Yes": 2, "No": 2}


@pytest.mark.parametrize("workers", [1, 4])
def test_every_row_gets_the_predictors_answer_in_its_order(tmp_path: Path, workers: int) -> None:
    package = builders.text(tmp_path / "p")
    rows = texts(10_000)
    (tmp_path / "in").mkdir()
    for i in range(2):
        part = rows[i * 5000 : (i + 1) * 5000]
        pq.write_table(pa.table({"row_id": [f"{i}-{k}" for k in range(5000)], "text": part}), tmp_path / "in" / f"part-{i}.parquet")
    done = predict_files(package, sources(str(tmp_path / "in")), tmp_path / "out", keep=["row_id", "absent"], workers=workers)
    table = pa.concat_tables([pq.read_table(p) for p in sorted((tmp_path / "out").iterdir())])
    expected = Predictor(package).predict(rows)
    assert table.column("row_id").to_pylist() == [f"{i}-{k}" for i in range(2) for k in range(5000)]
    np.testing.assert_allclose(np.array(table.column("probabilities").to_pylist()), expected, rtol=1e-5)
    assert table.column("prediction").to_pylist() == [builders.LABELS[i] for i in expected.argmax(axis=1)]
    assert (done.rows, done.bad, sum(done.labels.values())) == (10_000, 0, 10_000)
    assert table.column("error").null_count == 10_000
    metadata = pq.read_schema(tmp_path / "out" / "part-00000.parquet").metadata
    assert metadata[b"digest"].decode() == package.digest and orjson.loads(metadata[b"labels"]) == builders.LABELS


def test_a_regression_has_values(tmp_path: Path) -> None:
    package = builders.echo(tmp_path / "p")
    pq.write_table(pa.table({"x": [1.5, 2.5]}), tmp_path / "in.parquet")
    predict_files(package, [tmp_path / "in.parquet"], tmp_path / "out")
    assert pq.read_table(tmp_path / "out").column("value").to_pylist() == [1.5, 2.5]


def test_a_bad_row_ends_the_run_with_its_place_and_leaves_nothing(tmp_path: Path) -> None:
    package = builders.text(tmp_path / "p")
    rows: list[str | None] = [*texts(5000)]
    rows[4400], rows[4500] = None, "x" * (LIMIT_CHARACTERS + 1)
    pq.write_table(pa.table({"text": rows}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"rows counted from 4096.*rows\[404\]"):
        predict_files(package, [tmp_path / "in.parquet"], tmp_path / "out", workers=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.parquet", "p"]


def test_rows_without_a_text_are_left_out_and_counted_unless_a_limit_is_declared(tmp_path: Path) -> None:
    package = builders.text(tmp_path / "p")
    rows: list[str | None] = [*texts(200)]
    rows[3], rows[50] = None, " \t"
    pq.write_table(pa.table({"text": rows}), tmp_path / "in.parquet")
    gate = run(str(package.root), str(tmp_path / "in.parquet"), str(tmp_path / "out"), gate_path=str(tmp_path / "a" / "b" / "gate"))
    assert (gate.decision, gate.reasons) == ("pass", ("2 rows of 200 without a text or image were left out",))
    assert (gate.evidence["rows"], gate.evidence["bad"], gate.evidence["empty"], sum(gate.evidence["labels"].values())) == (200, 0, 2, 198)
    table = pq.read_table(tmp_path / "out" / "part-00000.parquet")
    assert [i for i, e in enumerate(table.column("error").to_pylist()) if e] == [3, 50] and table.column("prediction")[3].as_py() is None
    assert (
        table.column("prediction").to_pylist()[4] == Predictor(package).package.labels[int(Predictor(package).predict([rows[4]]).argmax())]
    )
    limited = run(
        str(package.root), str(tmp_path / "in.parquet"), str(tmp_path / "o2"), max_bad=0.001, gate_path=str(tmp_path / "a" / "b" / "gate")
    )
    assert limited.decision == "refuse" and limited.evidence["bad"] == 2


def test_bad_rows_that_are_tolerated_are_marked_and_the_others_predicted(tmp_path: Path) -> None:
    package = builders.text(tmp_path / "p")
    rows: list[str | None] = [*texts(100)]
    rows[3], rows[50] = None, "   "
    pq.write_table(pa.table({"text": rows}), tmp_path / "in.parquet")
    done = predict_files(package, [tmp_path / "in.parquet"], tmp_path / "out", tolerate=True)
    table = pq.read_table(tmp_path / "out")
    assert done.bad == 2 and done.first_bad is not None and "row 3" in done.first_bad
    assert [i for i, e in enumerate(table.column("error").to_pylist()) if e] == [3, 50]
    assert [i for i, p in enumerate(table.column("prediction").to_pylist()) if p is None] == [3, 50]
    good = [r for r in rows if r and r.strip()]
    expected = Predictor(package).predict(good)
    assert [p for p in table.column("prediction").to_pylist() if p] == [builders.LABELS[i] for i in expected.argmax(axis=1)]


@pytest.mark.parametrize(("max_bad", "decision"), [(0.05, "pass"), (0.005, "refuse")])
def test_the_step_refuses_when_more_rows_are_bad_than_may_be(tmp_path: Path, max_bad: float, decision: str) -> None:
    package = builders.text(tmp_path / "p")
    rows: list[str | None] = [*texts(99), None]
    pq.write_table(pa.table({"text": rows}), tmp_path / "in.parquet")
    gate = run(
        str(package.root),
        str(tmp_path / "*.parquet"),
        str(tmp_path / "out"),
        digest=package.digest,
        max_bad=max_bad,
        gate_path=str(tmp_path / "gate.json"),
    )
    assert gate.decision == decision and Gate.read(tmp_path / "gate.json").evidence["rows"] == 100


@pytest.mark.parametrize("content", [b"", b"PAR1 not really"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"in\.parquet: cannot be read"):
        predict_files(builders.text(tmp_path / "p"), [tmp_path / "in.parquet"], tmp_path / "out")


def test_an_empty_file_gives_an_empty_part(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "in.parquet")
    done = predict_files(builders.text(tmp_path / "p"), [tmp_path / "in.parquet"], tmp_path / "out")
    assert done.rows == 0 and pq.read_table(tmp_path / "out").num_rows == 0


def test_a_missing_feature_and_no_files_are_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"other": ["x"]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="text"):
        predict_files(builders.text(tmp_path / "p"), [tmp_path / "in.parquet"], tmp_path / "out")
    with pytest.raises(DataError, match="no Parquet file"):
        sources(str(tmp_path / "none"))


def three(folder: Path, rows: int = 60) -> list[Path]:
    folder.mkdir()
    for i in range(3):
        pq.write_table(pa.table({"row_id": [f"{i}-{k}" for k in range(rows)], "text": texts(rows)}), folder / f"{i}.parquet")
    return sources(str(folder))


def test_a_rerun_does_what_is_missing_or_was_changed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, inputs = builders.text(tmp_path / "p"), three(tmp_path / "in")
    did: list[str] = []
    whole = part.predict_part

    def seen(predictor: Predictor, path: Path, *more: Any) -> Any:
        did.append(path.name)
        if path.name == "1.parquet" and len(did) == 2:
            raise KeyboardInterrupt  # the run is ended in the middle
        return whole(predictor, path, *more)

    monkeypatch.setattr(part, "predict_part", seen)
    with pytest.raises(KeyboardInterrupt):
        predict_files(package, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    again = predict_files(package, inputs, tmp_path / "out")
    assert did == ["0.parquet", "1.parquet", "1.parquet", "2.parquet"] and (again.parts, again.reused, again.rows) == (3, 1, 180)
    before = [(tmp_path / "out" / f"part-{i:05d}.parquet").read_bytes() for i in range(3)]
    pq.write_table(pa.table({"row_id": ["new"], "text": ["send money"]}), inputs[2])  # one changes,
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"PAR1")  # and one result was spoilt
    last = predict_files(package, inputs, tmp_path / "out")
    assert did[4:] == ["0.parquet", "2.parquet"] and (last.parts, last.reused, last.rows) == (3, 1, 121)
    after = [(tmp_path / "out" / f"part-{i:05d}.parquet").read_bytes() for i in range(3)]
    assert after[:2] == before[:2] and pq.read_table(tmp_path / "out").num_rows == 121
    predict_files(package, inputs[1:], tmp_path / "out")  # a file that is gone, and one that has another place
    assert len(did) == 6 and sorted(p.name for p in (tmp_path / "out").iterdir()) == ["part-00000.parquet", "part-00001.parquet"]


def test_parts_in_processes_of_their_own_are_the_same_and_their_faults_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, inputs = builders.text(tmp_path / "p"), three(tmp_path / "in")
    predict_files(package, inputs, tmp_path / "here")
    monkeypatch.setattr(parts, "_WORTH", 60)
    predict_files(package, inputs, tmp_path / "there", workers=2)
    for name in ("part-00000.parquet", "part-00002.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    pq.write_table(pa.table({"text": ["x" * (LIMIT_CHARACTERS + 1)] * 60}), inputs[1])
    with pytest.raises(DataError, match=r"1\.parquet.*cannot be predicted"):
        predict_files(package, inputs, tmp_path / "there", workers=2)
    assert pq.read_table(tmp_path / "there").num_rows == 180  # as it was


def test_a_part_whose_process_ends_is_tried_alone_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(tmp_path, "d", tmp_path, (), False, 1, 1)
    started: list[list[str]] = []

    class Process:
        """Of a hand of parts: does those before ``bad``, then is killed."""

        def __init__(self, command: list[str], **_: Any):
            keys = [k for k, _ in files.read_json(Path(command[-1]))["parts"]]
            started.append(keys)
            self.killed = "bad" in keys
            for key in keys[: keys.index("bad") if self.killed else None]:
                files.write_json(tmp_path / f"{key}.json", {})

        def wait(self) -> int:
            return -9 if self.killed else 0

        def kill(self) -> None: ...

    monkeypatch.setattr(parts, "_WORTH", 0 + 1)
    monkeypatch.setattr(parts, "_rows", lambda path: 5)
    monkeypatch.setattr(parts, "spawn", Process)
    with pytest.raises(parts.PartLost, match="by signal 9, 3 times"):
        parts.by_processes(work, [(k, tmp_path / k) for k in ("a", "bad", "c", "e")], 2)
    assert all((tmp_path / f"{k}.json").exists() for k in "ac") and [k for k in started if "bad" in k][1:] and len(started) <= 6
