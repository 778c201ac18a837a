"""Prediction logs as model servers write them, made of arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

VERSION = "a" * 12
_TIME = pa.timestamp("us", tz="UTC")


def predictions(
    root: Path,
    times: Sequence[int] | np.ndarray,
    *,
    ids: Sequence[str] | None = None,
    rows: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    probabilities: np.ndarray | None = None,
    values: np.ndarray | None = None,
    features: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    model: str = "m",
    version: str = VERSION,
    name: str = "",
) -> None:
    """A part. `times`: microseconds since 1970, a row each. Of classes `probabilities` [rows, labels], else `values` [rows]."""
    n = len(times)
    best = None if probabilities is None else probabilities.argmax(axis=1)
    table = {
        "time": pa.array(np.asarray(times, dtype=np.int64), pa.int64()).cast(_TIME),
        "request_id": pa.array(list(ids) if ids is not None else [f"r{t}-{i}" for i, t in enumerate(times)]),
        "row": pa.array(list(rows) if rows is not None else [0] * n, pa.int32()),
        "model": pa.array([model] * n),
        "version": pa.array([version] * n),
        "prediction": pa.array([None] * n if best is None else [labels[i] for i in best], pa.string()),
        "probability": pa.array([None] * n if best is None else probabilities[np.arange(n), best], pa.float64()),
        "probabilities": pa.array([None] * n if best is None else list(probabilities.astype(np.float32)), pa.list_(pa.float32())),
        "value": pa.array([None] * n if values is None else np.asarray(values, dtype=np.float64), pa.float64()),
        "features": pa.StructArray.from_arrays(
            [pa.array(v) for v in (features or {"tensors": [""] * n}).values()], list(features or {"tensors": 0})
        ),
    }
    _write(
        root / f"predictions/model={model}/version={version}",
        pa.table(table).replace_schema_metadata({"labels": json.dumps(list(labels))}),
        name,
    )


def feedback(
    root: Path,
    times: Sequence[int] | np.ndarray,
    ids: Sequence[str],
    labels: Sequence[str | None] | None = None,
    *,
    rows: Sequence[int] | None = None,
    outcomes: Sequence[float | None] | None = None,
    model: str = "m",
    name: str = "",
) -> None:
    """A part of feedback."""
    n = len(ids)
    table = {
        "time": pa.array(np.asarray(times, dtype=np.int64), pa.int64()).cast(_TIME),
        "request_id": pa.array(list(ids)),
        "row": pa.array(list(rows) if rows is not None else [0] * n, pa.int32()),
        "model": pa.array([model] * n),
        "label": pa.array(list(labels) if labels is not None else [None] * n, pa.string()),
        "outcome": pa.array(list(outcomes) if outcomes is not None else [None] * n, pa.float64()),
    }
    _write(root / f"feedback/model={model}", pa.table(table), name)


def _write(folder: Path, table: pa.Table, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    pq.write_table(
        table, folder / f"{name or f'20261101T{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}'}-h-{number:06d}.parquet"
    )
