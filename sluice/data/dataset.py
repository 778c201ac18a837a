"""A dataset: sharded Parquet with a manifest, whose digest is the version of the data.

On disk: ``manifest.json``, ``{train,validation,test}/part-00000.parquet`` ..., and ``profile.json``
where a reference profile was taken. The manifest lists every shard with its rows and the sha256
of its logical content (`sluice.data.digests`), so a rewritten Parquet file with the same rows is
the same data and one changed cell is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.registry import Registry
from sluice.data.columns import stored_beside
from sluice.data.digests import TableHasher
from sluice.data.manifest import COPY_AGAIN, FORMAT, MANIFEST, digest_of, read_manifest
from sluice.data.shards import Shards, write_shards
from sluice.data.timestamps import Times
from sluice.data.writable import SPLITS, check_names, checked
from sluice.fields import field_of
from sluice.problems.problem import Problem, problem
from sluice.problems.units import GROUP

PROFILE = "profile.json"
#: The tasks of other distributions.
_BROUGHT = Registry("task", {})


@dataclasses.dataclass(frozen=True)
class Shard:
    """A Parquet file of a split: `sha256` (hex) is over its logical content."""

    path: Path
    rows: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An opened dataset.

    Attributes:
        root: its directory.
        manifest: the whole of ``manifest.json``.
        digest: sha256 (hex) over the manifest but for where and when the data was read.
        task: the task's name.
        objective: the name of the problem.
        labels: sorted class names, or the names of an answer's parts; empty where an answer is one value.
        columns: feature name -> ``text``, ``image``, ``numeric``, ``categorical`` or ``timestamp``.
    """

    root: Path
    manifest: dict[str, Any]
    digest: str
    task: str
    objective: str
    labels: list[str]
    columns: dict[str, str]

    @classmethod
    def open(cls, root: Path, verify: bool = True) -> Dataset:
        """Open a dataset.

        Args:
            root: its directory.
            verify: read every shard and compare its rows and digest with the manifest's.

        Raises:
            DataError: not a dataset; a shard missing, truncated, tampered with or not listed (it is named).
        """
        root = Path(root)
        where = root / MANIFEST
        dataset = _from_manifest(root, read_manifest(where))
        for split in dataset.manifest["splits"]:
            for shard in dataset.shards(split):
                if not shard.path.is_file():
                    raise DataError("the manifest lists this shard, but it is not there", field=str(shard.path), fix=COPY_AGAIN)
                if verify:
                    _verify_shard(shard)
        if verify:
            _verify_rest(dataset)
        return dataset

    @property
    def problem(self) -> Problem:
        """What an answer is and how it is judged. Raises `ProjectError` where it is a class of the user's own that cannot be found."""
        return problem(self.objective, field="objective")

    @property
    def grouped_by(self) -> str | None:
        """The source's column whose groups lie whole on one side of the split, and stand in `GROUP`."""
        return self.manifest.get("grouped_by")

    @property
    def sensitive(self) -> frozenset[str]:
        """Features whose values stand in no report, log or profile."""
        return frozenset(self.manifest.get("sensitive", ()))

    @property
    def beside(self) -> dict[str, str]:
        """Columns of the source that are no features and that slices or groups go by: name -> kind; stored as `stored_beside`."""
        return {c["name"]: c["kind"] for c in self.manifest.get("beside", ())}

    @property
    def found(self) -> dict[str, Any]:
        """What its task found out of the source (`Task.found`)."""
        return dict(self.manifest["source"].get("found", {}))

    @property
    def times(self) -> dict[str, Times]:
        """How the source wrote the features that are times."""
        return {c["name"]: Times(c["form"], c["zone"], c["declared"]) for c in self.manifest["columns"] if "form" in c}

    def rows(self, split: str) -> int:
        """Rows of a split. Raises `DataError` for a split that is not there."""
        return sum(s["rows"] for s in self._entry(split)["shards"])

    def shards(self, split: str) -> list[Shard]:
        """The split's files in order. Raises `DataError` for a split that is not there."""
        return [Shard(self.root / s["path"], s["rows"], s["sha256"]) for s in self._entry(split)["shards"]]

    def read(self, split: str, columns: list[str] | None = None) -> pa.Table:
        """A whole split, in the order it was written. Raises `DataError`."""
        self._known(columns)
        tables = []
        for shard in self.shards(split):
            with _reading(shard.path), pq.ParquetFile(shard.path) as f:
                tables.append(_select(f.read(columns=columns), columns).replace_schema_metadata())
        return pa.concat_tables(tables)

    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """The rows of `read` in batches of at most `rows`, holding one row group in memory. Raises `DataError`."""
        self._known(columns)
        for shard in self.shards(split):
            with _reading(shard.path), pq.ParquetFile(shard.path, pre_buffer=False) as f:
                for batch in f.iter_batches(batch_size=rows, columns=columns):
                    yield _select(batch, columns).replace_schema_metadata()

    def profile(self) -> dict[str, Any] | None:
        """The reference profile for drift, if one was taken. Raises `DataError` when it is not the manifest's."""
        expected = self.manifest.get("profile")
        if expected is None:
            return None
        path = self.root / PROFILE
        with _reading(path):
            raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != expected["sha256"]:
            raise DataError("does not have the sha256 the manifest gives", field=str(path), fix=COPY_AGAIN)
        return dict(orjson.loads(raw))

    def _entry(self, split: str) -> dict[str, Any]:
        try:
            return dict(self.manifest["splits"][split])
        except KeyError:
            raise DataError(
                "is not a split of this dataset", field=str(self.root), value=split, fix=f"splits: {', '.join(self.manifest['splits'])}"
            ) from None

    def _known(self, columns: list[str] | None) -> None:
        names = ["row_id", *self.columns, "label", *([GROUP] if self.grouped_by else []), *map(stored_beside, self.beside)]
        for name in columns or ():
            if name not in names:
                raise DataError("is not a column of this dataset", field=str(self.root), value=name, fix=f"columns: {', '.join(names)}")


def write_dataset(
    root: Path,
    splits: Mapping[str, pa.Table | Iterable[pa.Table]],
    *,
    task: str,
    objective: str,
    labels: list[str],
    columns: Mapping[str, str],
    source: Mapping[str, Any],
    shard_rows: int,
    times: Mapping[str, Times] | None = None,
    grouped_by: str | None = None,
    beside: Mapping[str, str] | None = None,
    sensitive: Iterable[str] = (),
    profile: Callable[[Dataset], dict[str, Any]] | None = None,
    pieces: tuple[Sequence[str], Iterable[Mapping[str, pa.Table]]] = ((), ()),
) -> Dataset:
    """Write a dataset; it appears at `root` whole, in place of one that was there.

    Args:
        root: the directory to make.
        splits: ``train``, ``validation``, ``test`` -> rows with columns ``row_id``, the features and ``label``; tables are streamed.
        task, objective: names of the task and of the problem, whose field says what labels are.
        labels: class names, and every label in the rows is one of them; or the names of an answer's parts. Empty for regression.
        columns: feature -> kind, in the order the dataset keeps.
        source: what the rows came from, JSON-able. All but `manifest.NOT_CONTENT` counts in the digest.
        shard_rows: rows of a shard. times: how each feature of kind ``timestamp`` was written.
        grouped_by: the column whose groups the rows have in `GROUP`; null: none.
        beside: columns of the rows that are no features, by the name they have in the source, which are stored as `stored_beside`; with their kind.
        sensitive: features whose values are shown nowhere.
        profile: takes the reference profile of the written rows; it becomes ``profile.json``.
        pieces: splits that are not in `splits`, and rows of each of them a piece at a time, gone through once.

    Raises:
        DataError: a column is missing, of the wrong type or not named in `columns`; a label is not in `labels` or null; no training rows.
    """
    check_names([*pieces[0], *splits], objective, labels, columns)
    more = [*([GROUP] if grouped_by else []), *map(stored_beside, beside or ())]
    # The columns of a task of somebody's own are its own affair. Asked once: it looks through all that is installed.
    ours = ":" not in task and task not in _BROUGHT
    sound = functools.partial(checked, ours=ours, objective=objective, labels=labels, columns=columns, more=more)
    with files.new_dir(Path(root)) as tmp:
        entries, schema = _written(tmp, splits, pieces, sound, shard_rows)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "task": task,
            "objective": objective,
            "labels": sorted(labels) if problem(objective).classes else list(labels),
            "columns": _listed(columns, times or {}),
            "schema": [{"name": f.name, "type": str(f.type)} for f in schema],
            "shard_rows": shard_rows,
            "splits": entries,
            "source": dict(source),
            **_more(columns, grouped_by, beside, sensitive),
        }
        manifest["digest"] = digest_of(manifest)
        if profile is not None:
            manifest["profile"] = _profiled(tmp, manifest, profile)
        files.write_json(tmp / MANIFEST, manifest)
    return Dataset.open(Path(root), verify=False)


def _more(columns: Mapping[str, str], grouped_by: str | None, beside: Mapping[str, str] | None, sensitive: Iterable[str]) -> dict[str, Any]:
    """What stands in the manifest of some datasets alone."""
    hidden = sorted(set(sensitive) & set(columns))
    return {
        **({"grouped_by": grouped_by} if grouped_by else {}),
        **({"sensitive": hidden} if hidden else {}),
        **({"beside": [{"name": n, "kind": k} for n, k in beside.items()]} if beside else {}),
    }


def _written(
    root: Path,
    splits: Mapping[str, pa.Table | Iterable[pa.Table]],
    pieces: tuple[Sequence[str], Iterable[Mapping[str, pa.Table]]],
    sound: Callable[[pa.Table, str], pa.Table],
    shard_rows: int,
) -> tuple[dict[str, dict[str, Any]], pa.Schema]:
    """Write every split: its entry in the manifest, and the schema they share. Raises `DataError` where there are no training rows."""
    written, schema = _together(root, pieces, sound, shard_rows)
    for split in sorted(splits, key=SPLITS.index):
        tables = splits[split]
        stream = [tables] if isinstance(tables, pa.Table) else tables
        written[split], schema = write_shards(root, split, (sound(t, split) for t in stream), shard_rows, schema)
    entries = {s: {"rows": sum(e["rows"] for e in written[s]), "shards": written[s]} for s in sorted(written, key=SPLITS.index)}
    if schema is None or not entries["train"]["rows"]:
        raise DataError("has no rows", field="train", fix="give more data, or smaller test and validation fractions")
    return entries, schema


def _together(
    root: Path,
    pieces: tuple[Sequence[str], Iterable[Mapping[str, pa.Table]]],
    sound: Callable[[pa.Table, str], pa.Table],
    shard_rows: int,
) -> tuple[dict[str, list[dict[str, Any]]], pa.Schema | None]:
    """Write several splits in one go: the shards of each, and the schema they share."""
    with ThreadPoolExecutor(2, thread_name_prefix="shards") as pool:
        made = {split: Shards(root, split, shard_rows, pool=pool) for split in pieces[0]}
        schema: pa.Schema | None = None
        for piece in pieces[1]:
            for split, table in piece.items():
                made[split].schema = schema
                made[split].add(sound(table, split))
                schema = made[split].schema
        for shards in made.values():
            shards.schema = schema
        return {split: shards.close() for split, shards in made.items()}, schema


def _listed(columns: Mapping[str, str], times: Mapping[str, Times]) -> list[dict[str, Any]]:
    """Each column's name and kind, and of times how they were written."""
    return [
        {"name": n, "kind": k, **(dataclasses.asdict(times.get(n, Times("iso"))) if field_of(k, n).timed else {})}
        for n, k in columns.items()
    ]


def _profiled(root: Path, manifest: dict[str, Any], profile: Callable[[Dataset], dict[str, Any]]) -> dict[str, str]:
    """Take the profile and write it; its entry in the manifest."""
    taken = files.pretty_json(profile(_from_manifest(root, manifest)))
    files.write_bytes(root / PROFILE, taken)
    return {"sha256": hashlib.sha256(taken).hexdigest()}


def _from_manifest(root: Path, manifest: dict[str, Any]) -> Dataset:
    where = root / MANIFEST
    try:
        digest = digest_of(manifest)
        if digest != manifest["digest"]:
            raise DataError(
                "was changed after it was written: its digest is another", field=str(where), value=manifest["digest"], fix=COPY_AGAIN
            )
        base = root.resolve()
        for entry in manifest["splits"].values():
            for shard in entry["shards"]:
                if not (root / shard["path"]).resolve().is_relative_to(base):
                    raise DataError("names a shard outside the dataset", field=str(where), value=shard["path"])
        return Dataset(
            root=root,
            manifest=manifest,
            digest=digest,
            task=manifest["task"],
            objective=manifest["objective"],
            labels=list(manifest["labels"]),
            columns={c["name"]: c["kind"] for c in manifest["columns"]},
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise DataError(f"is missing or misshapes {e}", field=str(where), fix=COPY_AGAIN) from e


def _verify_shard(shard: Shard) -> None:
    with _reading(shard.path), pq.ParquetFile(shard.path, pre_buffer=False) as f:
        hasher = TableHasher(f.schema_arrow)
        for batch in f.iter_batches(batch_size=1 << 16):
            hasher.update(batch)
    if hasher.rows != shard.rows:
        raise DataError(f"has {hasher.rows} rows, the manifest says {shard.rows}", field=str(shard.path), fix=COPY_AGAIN)
    if hasher.hexdigest() != shard.sha256:
        raise DataError("does not hold the rows the manifest gives a digest of", field=str(shard.path), fix=COPY_AGAIN)


def _verify_rest(dataset: Dataset) -> None:
    dataset.profile()
    listed = {s["path"] for e in dataset.manifest["splits"].values() for s in e["shards"]}
    for split in SPLITS:
        for path in sorted((dataset.root / split).rglob("*.parquet")):
            if path.relative_to(dataset.root).as_posix() not in listed:
                raise DataError("lies in the dataset, but the manifest does not list it", field=str(path), fix=COPY_AGAIN)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as e:
        raise DataError("is not there, though the manifest lists it", field=str(path), fix=COPY_AGAIN) from e
    except (OSError, pa.ArrowException, ValueError, KeyError, OverflowError, MemoryError) as e:  # what damaged Parquet metadata leads to
        raise DataError(f"cannot be read: {e}", field=str(path), fix=COPY_AGAIN) from e


def _select(table: Any, columns: list[str] | None) -> Any:
    # Parquet readers take a name for the prefix of a nested path too: "a" may bring "a.b" along.
    return table if columns is None else table.select(columns)
