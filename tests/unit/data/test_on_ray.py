"""A real Ray of two workers: the same answers as here; a worker that is killed is made up for, or named."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice import project as projects
from sluice.core import onray
from sluice.core.errors import DataError
from sluice.data import prepare
from sluice.tasks import load_task
from tests.tools.long import long

pytestmark = long  # Ray's own processes want 15 s to start


@pytest.fixture(scope="module")
def two() -> Iterator[onray.RayWorkers]:
    with pytest.MonkeyPatch.context() as m:
        m.setenv(onray.RETRIES_ENV, "1")
        m.delenv(onray.ADDRESS_ENV, raising=False)
        with onray.on_ray(cores=2) as found:
            yield found


def outcome(folder: Path, engine: str) -> Any:
    project = projects.parse({"name": "trial", "task": "tabular", "data": {"source": "rows*.parquet", "engine": engine}}, base_dir=folder)
    report = prepare.validate_project_data(project, folder, load_task(project, folder)).to_dict()
    made = prepare.prepare(project, folder, load_task(project, folder), folder / engine)
    return report, made.manifest, made.profile(), [p.read_bytes() for p in sorted(made.root.rglob("*.parquet"))]


def test_two_workers_find_what_one_process_finds(tmp_path: Path, two: onray.RayWorkers) -> None:
    r = np.random.default_rng(1)
    made = {"size": r.normal(size=300).round(1), "town": r.choice(["Rome", "Oslo"], 300), "label": r.choice(["yes", "no"], 300)}
    for i in range(2):
        pq.write_table(pa.table(made).slice(150 * i, 150), tmp_path / f"rows{i}.parquet", row_group_size=60)
    assert outcome(tmp_path, "ray") == outcome(tmp_path, "local")


def dies(marks: str, item: int, times: int) -> int:
    """Ends its worker as the kernel's memory killer does, the first `times` times."""
    path = Path(marks) / str(item)
    before = int(path.read_text()) if path.exists() else 0
    if item == 2 and before < times:
        path.write_text(str(before + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 9:
        raise DataError("is no row", field="a.csv", value=item)
    return item * item


def test_a_killed_worker_is_made_up_for_or_named(tmp_path: Path, two: onray.RayWorkers) -> None:
    assert list(two.mapped(dies, ((str(tmp_path), i, 1) for i in range(5)))) == [0, 1, 4, 9, 16]
    (tmp_path / "2").unlink()
    with pytest.raises(onray.WorkersLost, match="lost with its worker 2 times"):
        list(two.mapped(dies, ((str(tmp_path), i, 9) for i in range(5))))
    with pytest.raises(DataError, match="is no row"):
        list(two.mapped(dies, [(str(tmp_path), 9, 0)]))
