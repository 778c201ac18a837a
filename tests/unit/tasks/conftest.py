"""Small datasets of each task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sluice.data.dataset import Dataset, write_dataset
from sluice.learners.torch.network import Network, network_of
from sluice.project import parse
from sluice.tasks import Task, load_task


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[Task, Dataset]]:
    """A project's task and a dataset of some source rows, all of them in each split."""

    def build(task: str, table: pa.Table, model: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> tuple[Task, Dataset]:
        project = parse({"name": "t", "task": task, "data": {"source": "x", **(data or {})}, "model": model or {}})
        made = load_task(project)
        kinds, objective, rows = made.kinds(table), made.objective(table), made.canonical(table)
        ids = [hashlib.sha256(repr(r).encode()).hexdigest()[:16] for r in rows.drop(["label"]).to_pylist()]
        rows = rows.append_column("row_id", pa.array(ids))
        labels = sorted(set(rows.column("label").to_pylist())) if objective == "classification" else []
        return made, write_dataset(
            tmp_path / "dataset",
            {"train": rows, "validation": rows},
            task=task,
            objective=objective,
            labels=labels,
            columns=kinds,
            source={},
            shard_rows=1000,
        )

    return build


@pytest.fixture
def make_network(make: Callable[..., tuple[Task, Dataset]]) -> Callable[..., tuple[Network, Dataset]]:
    """As `make`, with the network the torch learner learns the task with; of a table, which others learn where nothing asks for one, by its default sizes."""

    def build(task: str, table: pa.Table, model: dict[str, Any] | None = None, **kwargs: Any) -> tuple[Network, Dataset]:
        made, dataset = make(task, table, model={"hidden": [64, 64], **(model or {})} if task == "tabular" else model, **kwargs)
        return network_of(made), dataset

    return build
