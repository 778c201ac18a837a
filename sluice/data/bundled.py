"""The data sets that scikit-learn carries in its own wheel, as tables."""

from __future__ import annotations

import difflib
import gzip
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError, MissingExtra
from sluice.core.png import png
from sluice.data.config import Columns
from sluice.data.scheme import Asked
from sluice.fields import Field

#: name -> what it holds.
BUNDLED = {
    "digits": "1,797 handwritten digits, 8x8 pixels: task image, or 64 columns for task tabular",
    "iris": "150 flowers of three kinds, four measures",
    "wine": "178 wines of three growers, 13 measures",
    "breast_cancer": "569 tumours, malignant or benign, 30 measures",
    "diabetes": "442 patients, ten measures, progression after a year (regression)",
}


def table(asked: Asked) -> pa.Table:
    """The source ``sklearn://name``; see `load`."""
    return load(asked.rest.strip("/"), asked.value, asked.columns)


def load(name: str, value: Field | None, columns: Columns) -> pa.Table:
    """A bundled set under the project's column names.

    ``digits`` where a row is an image alone has PNG bytes, grey, 8x8 pixels (0..16 scaled to 0..255). The others,
    and ``digits`` as records, have one float64 column a measure. Labels are strings (the class's
    name where it has one), for ``diabetes`` float64.

    Args:
        value: the field that a row is alone; null: rows are records.

    Raises:
        DataError: an unknown name, or one without what the task reads.
        MissingExtra: scikit-learn is not installed.
    """
    if name not in BUNDLED:
        near = difflib.get_close_matches(name, BUNDLED, 1, 0.5)
        raise DataError(
            "scikit-learn bundles no such set",
            field="data.source",
            value=f"sklearn://{name}",
            fix=(f"did you mean {near[0]!r}? " if near else "") + f"there are {', '.join(BUNDLED)}",
        )
    if value is not None and not (value.listed and name == "digits"):
        raise DataError(
            f"holds no {value.kind}s",
            field="data.source",
            value=f"sklearn://{name}",
            fix=f"it is {BUNDLED[name]}; use task: tabular" if value.listed else f"name a file with a column of {value.kind}s",
        )
    found = _digits() if name == "digits" else None
    if found is None:
        try:
            from sklearn import datasets
        except ImportError as e:
            raise MissingExtra("reading sklearn:// needs scikit-learn", field="data.source", fix="pip install 'sluice-ml[train]'") from e
        found = getattr(datasets, f"load_{name}")()
    label = _label(found, name)
    if value is not None:
        pixels = np.rint(np.asarray(found.images) * 255 / 16).astype(np.uint8)
        return pa.table({columns.image: pa.array([png(p) for p in pixels], pa.binary()), columns.label: label})
    values = np.asarray(found.data, dtype=np.float64)
    names = [str(n).replace(" ", "_").replace("(", "").replace(")", "") for n in found.feature_names]
    return pa.table({**{n: values[:, i] for i, n in enumerate(names)}, columns.label: label})


def _digits() -> Any:
    """What ``load_digits`` gives, from its file and without a second of imports; None where the file is not where it was."""
    spec = importlib.util.find_spec("sklearn")
    path = Path(*(spec.submodule_search_locations or ())[:1], "datasets", "data", "digits.csv.gz") if spec else None
    if path is None or not path.is_file():
        return None
    with gzip.open(path, "rt") as f:
        table = np.loadtxt(f, delimiter=",")
    pixels = table[:, :-1]
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return SimpleNamespace(
        data=pixels, images=pixels.reshape(-1, 8, 8), target=table[:, -1].astype(np.int64), target_names=np.arange(10), feature_names=names
    )


def _label(found: Any, name: str) -> pa.Array:
    if name == "diabetes":
        return pa.array(np.asarray(found.target, dtype=np.float64))
    classes = [str(n) for n in found.target_names]
    return pa.array([classes[i] for i in found.target.tolist()], pa.string())
