"""What a person's words for data mean: a project, a dataset's folder or digest, a model's training data, or any source."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.core import files
from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.dataset import Dataset
from sluice.data.manifest import FORMAT, MANIFEST
from sluice.data.sources import read_source

#: Manifests of a home that are looked at.
_MOST = 10_000


@dataclasses.dataclass(frozen=True)
class Version:
    """Some data: its rows, what to call it, its digest, and the columns whose values are not shown.

    `label`: what the column to learn is called; `apart`: columns that are no features; `made`: columns that a dataset has of its own.
    """

    where: str
    table: pa.Table
    digest: str
    sensitive: tuple[str, ...] = ()
    label: str = ""
    apart: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the rows."""
        return {"where": self.where, "digest": self.digest, "rows": self.table.num_rows}


def dataset_version(root: Path, verify: bool = True) -> Version:
    """A dataset's rows, split after split, with the split in a column. Raises `DataError`."""
    dataset = Dataset.open(root, verify=verify)
    tables = []
    for split in dataset.manifest["splits"]:
        table = dataset.read(split)
        tables.append(table.append_column("split", pa.array([split] * table.num_rows, pa.string())))
    made = tuple(n for n in tables[0].schema.names if n not in dataset.columns and n != "label")
    return Version(str(root), pa.concat_tables(tables), dataset.digest, tuple(dataset.sensitive), "label", made=made)


def comparable(a: Version, b: Version) -> tuple[pa.Table, pa.Table]:
    """The rows of both. Of a dataset beside a source: without what only datasets have, without what is no feature, and the label by the source's name."""
    if bool(a.made) == bool(b.made):
        return a.table, b.table
    other = b if a.made else a
    out = []
    for version in (a, b):
        table = version.table.drop_columns([n for n in (*version.made, *other.apart) if n in version.table.schema.names])
        if version.made and other.label in other.table.schema.names and other.label not in table.schema.names:
            table = table.rename_columns([other.label if n == "label" else n for n in table.schema.names])
        out.append(table)
    return out[0], out[1]


def source_version(uri: str, base_dir: Path) -> Version:
    """The rows of a source that no project declares, numbers read. Raises `DataError`, `MissingExtra`."""
    source = read_source(uri, "auto", base_dir, None, Columns(), labelled=False)
    return Version(uri, source.table, source.digest)


def find_dataset(digest: str, artifacts: Path) -> Path:
    """The dataset of a home that has this digest, or one that begins so.

    Raises:
        DataError: none has, or several have.
    """
    found: dict[str, Path] = {}
    for path in itertools.islice(artifacts.rglob(MANIFEST), _MOST):
        try:
            raw = files.read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(raw, dict) and raw.get("format") == FORMAT and str(raw.get("digest", "")).startswith(digest):
            found[raw["digest"]] = path.parent
    if len(found) != 1:
        what = f"{len(found)} datasets of this home begin so" if found else "no dataset of this home has this digest"
        raise DataError(
            what, field="digest", value=digest, fix=f"it was looked for below {artifacts}; a home keeps the datasets of its last three runs"
        )
    return next(iter(found.values()))


def is_digest(text: str) -> bool:
    """Whether a reference may be a digest's first digits."""
    return re.fullmatch(r"(sha256:)?[0-9a-f]{8,64}", text) is not None
