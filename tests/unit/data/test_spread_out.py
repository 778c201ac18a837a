"""Pieces that lie on workers are what pieces here are: the same report, dataset, files and profile, whatever the files, row groups and workers."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core import onray, spread
from sluice.core.errors import DataError, MissingExtra, SluiceError
from sluice.data import pieces, prepare, spreadout
from sluice.data.config import DataConfig
from sluice.data.evidence import Evidence
from sluice.tasks import load_task

N = 400


class Elsewhere:
    """Workers that are this process; what goes to them and comes back is pickled, as it is on the way to another."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def mapped(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        there = cloudpickle.dumps(function)
        for args in items:
            args = pickle.loads(cloudpickle.dumps(args))
            yield pickle.loads(pickle.dumps(pickle.loads(there)(*[self.brought(a) if isinstance(a, Handle) else a for a in args])))

    def made(self, function: Callable[..., tuple[Any, ...]], items: Iterable[tuple[Any, ...]], kept: int) -> Iterator[tuple[Any, ...]]:
        for found in self.mapped(function, items):
            self.held += [pickle.dumps(v) for v in found[:kept]]
            yield (*(Handle(len(self.held) - kept + i) for i in range(kept)), *found[kept:])

    def brought(self, handle: Any) -> Any:
        return pickle.loads(self.held[handle.at])


class Handle:
    def __init__(self, at: int):
        self.at = at


def rows(seed: int) -> pa.Table:
    r = np.random.default_rng(seed)
    made: dict[str, list[Any]] = {
        "size": np.round(r.normal(size=N), 2).tolist(),
        "gap": [None if x < 0.1 else float(y) for x, y in zip(r.random(N), r.normal(size=N), strict=True)],
        "town": r.choice(["Rome", "Oslo", "Bonn"], N).tolist(),
        "late": ["1.5"] * (N - 3) + ["n/a", "NA", "2"],
        "day": [f"2025-{m:02d}-{d:02d}" for m, d in zip(r.integers(1, 13, N), r.integers(1, 29, N), strict=True)],
        "label": r.choice(["yes", "no", ""], N, p=[0.6, 0.38, 0.02]).tolist(),
    }
    for name, values in made.items():
        values[-40:] = values[:40] if name != "label" else values[:40][::-1]
    return pa.table(made)


def outcome(folder: Path, engine: str, **data: Any) -> Any:
    project = projects.parse({"name": "trial", "task": "tabular", "data": {**data, "engine": engine}}, base_dir=folder)
    report = prepare.validate_project_data(project, folder, load_task(project, folder)).to_dict()
    made = prepare.prepare(project, folder, load_task(project, folder), folder / engine)
    return report, made.manifest, made.profile(), [p.read_bytes() for p in sorted(made.root.rglob("*.parquet"))]


def write(folder: Path, table: pa.Table, form: str, parts: int, group: int) -> None:
    cuts = np.linspace(0, N, parts + 1).astype(int)
    for i, (a, b) in enumerate(zip(cuts, cuts[1:], strict=False)):
        if form == "csv":
            pa.csv.write_csv(table.slice(a, b - a), folder / f"rows{i}.csv")
        else:
            pq.write_table(table.slice(a, b - a), folder / f"rows{i}.parquet", row_group_size=group)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    found = Elsewhere()
    monkeypatch.setattr(spread, "_WORKERS", spread.contextvars.ContextVar("x", default=None))
    monkeypatch.setattr(onray, "on_ray", lambda *_: _given(found))
    return found


class _given:
    def __init__(self, found: Any):
        self.found = found

    def __enter__(self) -> Any:
        return self.found

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    "form, parts, group, settings",
    [
        ("parquet", 3, 37, {}),
        ("csv", 2, 0, {"split": {"by": "group", "column": "town"}, "shard_rows": 90}),
        ("parquet", 1, 1000, {"split": {"by": "time", "column": "day"}, "columns": {"ignore": ["day", "label"], "label": "town"}}),
    ],
)
def test_answers_do_not_depend_on_who_worked(
    tmp_path: Path, form: str, parts: int, group: int, settings: dict[str, Any], elsewhere: Elsewhere
) -> None:
    write(tmp_path, rows(parts), form, parts, group)
    settings = {"source": f"rows*.{form}", **settings}
    assert outcome(tmp_path, "ray", **settings) == outcome(tmp_path, "local", **settings)
    assert elsewhere.held  # pieces did lie there


def test_rows_are_taken_across_pieces(elsewhere: Elsewhere) -> None:
    table = pa.table({"x": list(range(10)), "y": list("abcdefghij")})
    handles = [h for h, _ in elsewhere.made(lambda a, n: (table.slice(a, n), n), [(0, 4), (4, 0), (4, 5), (9, 1)], 1)]
    held = spreadout.Spread(elsewhere, table.schema, list(zip(handles, (4, 0, 5, 1), strict=True)))
    assert held.rows == 10 and held.take(["y"], np.array([1, 3, 4, 9])).column(0).to_pylist() == ["b", "d", "e", "j"]
    assert [(a, t.column(0).to_pylist()) for a, t in held.blocks(["x"])] == [(0, [0, 1, 2, 3]), (4, [4, 5, 6, 7, 8]), (9, [9])]


@pytest.mark.parametrize("seed", range(5))
def test_what_stands_for_a_column_is_found_apart(seed: int) -> None:
    r = np.random.default_rng(seed)
    texts = pa.chunked_array([pa.array(r.choice(["1", "x", "2.5", None, "y"], 200).tolist(), pa.string())])
    numbers = pa.chunked_array([pa.array(r.integers(0, 50, 200).astype(float))])
    for column in (texts, numbers):
        whole, together = Evidence(column.type, True), Evidence(column.type, True)
        whole.add(column)
        for at in range(0, 200, 70):
            part = Evidence(column.type, True)
            part.add(column.slice(at, 70))
            together.take(part)
        assert set(together.values().to_pylist()) == set(whole.values().to_pylist())
        assert column.type != pa.string() or together.values().to_pylist() == whole.values().to_pylist()


def test_what_a_worker_cannot_read_is_named(tmp_path: Path) -> None:
    gone = spreadout.RowGroup(tmp_path / "rows.parquet", "rows.parquet", 0)
    with pytest.raises(DataError, match="not there for a worker"):
        gone.read(["a"])


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onray.importlib.util, "find_spec", lambda name: None if name == "ray" else sys.modules.get(name))
    with pytest.raises(MissingExtra, match=r"sluice-ml\[ray\]"), pieces.bounded(DataConfig(source="a.csv", engine="ray")):
        pass


def test_what_a_task_raises_comes_back_as_itself() -> None:
    told = onray._one(3, lambda: (_ for _ in ()).throw(DataError("is wrong", field="a.csv")))
    assert told[:2] == (None, None) and isinstance(told[2], onray.Told) and str(told[2].error) == "a.csv: is wrong"

    class Odd(Exception):  # of a kind that cannot be pickled
        ...

    assert isinstance(onray._one(1, lambda: (_ for _ in ()).throw(Odd("why"))).error, SluiceError)
