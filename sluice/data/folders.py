"""Files of a source whose bytes are the values (images, recordings): a folder a label, names that say it, or a list of files with labels."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.config import Columns
from sluice.data.csvfile import read_csv
from sluice.data.filenames import NamePattern
from sluice.data.scheme import Found
from sluice.data.webdataset import list_samples, samples_in, together
from sluice.fields.field import Field
from sluice.fields.files import Files

#: A table of files and labels may lie in a folder of files under this name.
LABELS_FILE = "labels.csv"
#: What the column of file names may be called there, beside the one that ``data.columns`` names for the field.
FILE_COLUMNS = ("file", "filename", "file_name", "path")

#: Folders that are no label's: what macOS puts into archives, and the long recordings that Speech Commands brings to mix in.
_NO_LABELS = ("__MACOSX", "_background_noise_")

_CHUNK_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class Listing:
    """Files of a source, and what is said of each before one is read.

    Attributes:
        paths: of the files, a row each. names: what each is called in messages.
        columns: of the table, in their order; None is where the files' bytes belong.
        kind: what the files look like.
    """

    paths: Sequence[Path]
    names: Sequence[str]
    columns: Mapping[str, pa.Array | pa.ChunkedArray | None]
    kind: Files

    def table(self, first: int = 0, rows: int | None = None) -> pa.Table:
        """The table, with the files' bytes; or some rows of it. Raises `DataError` as `read_files`."""
        here = slice(first, None if rows is None else first + rows)
        made = {
            name: read_files(self.paths[here], self.names[here], self.kind) if column is None else column[here]
            for name, column in self.columns.items()
        }
        return pa.table(made)

    def rows_of(self, folders: Sequence[Found]) -> list[tuple[str, int]]:
        """What each folder is called, and how many of the files lie in it."""
        roots = {f.path for f in folders}
        counted = Counter(next(root for root in path.parents if root in roots) for path in self.paths)
        return [(f.where, counted[f.path]) for f in folders]

    def without_bytes(self) -> pa.Table:
        """The table, null where the files' bytes belong."""
        return pa.table({n: pa.nulls(len(self.paths), pa.binary()) if c is None else c for n, c in self.columns.items()})


def kind_of(value: Field) -> Files:
    """What files of a field look like. Raises `DataError` where no source lists any."""
    if value.files is None:
        raise DataError("is no kind of value that files hold", field="task", value=value.kind, fix="name a file with a column of them")
    return value.files


def list_folder(folder: Found, columns: Columns, value: Field) -> Listing:
    """A folder whose sub-folders are the labels, whose files' names say them (``columns.file_name``), that holds ``labels.csv`` (file, label), or
    files with their labels beside them (`sluice.data.webdataset`).

    Returns:
        The field's column (the files' bytes), the label's and what else the files' names say, sorted by
        label and file name or in the order of ``labels.csv``.

    Raises:
        DataError: no such files, files outside the labels' folders or deeper than they, a file
            in ``labels.csv`` that is not there, a name that does not fit, a format that is not read.
    """
    kind = kind_of(value)
    listing = Found(folder.path / LABELS_FILE, f"{folder.where.rstrip('/')}/{LABELS_FILE}")
    if listing.path.is_file():
        return _listed(read_csv(listing).table, listing, columns, value)
    if columns.file_name is not None:
        paths = files_below(folder, kind)
        if not paths:
            raise DataError(f"holds no {kind.word}s", field=folder.where, fix=f"{kind.either} files, in it or in its sub-folders")
        inside = [p.relative_to(folder.path) for p in paths]
        return _with_names(paths, inside, [_shown(folder, p) for p in paths], columns, value)
    groups = [p for p in sorted(folder.path.iterdir()) if p.is_dir() and not p.name.startswith(".") and p.name not in _NO_LABELS]
    loose = [p for p in sorted(folder.path.iterdir()) if p.suffix.lower() in kind.read]
    if loose and value.loose and not any(p.suffix.lower() in kind.read for group in groups for p in group.iterdir()):
        names = [_shown(folder, p) for p in loose]
        return Listing(loose, names, {columns.of(value): None}, kind)
    if loose and samples_in(folder, kind):
        paths, said = list_samples(folder, columns.label, kind)
        return Listing(paths, [_shown(folder, p) for p in paths], {columns.of(value): None, **said}, kind)
    if loose:
        raise DataError(
            f"lies in no label's folder{_and_others(loose)}",
            field=_shown(folder, loose[0]),
            fix=f"put it into a sub-folder named after its label, or list files and labels in {LABELS_FILE}, or put a file with its label beside it "
            "(0001.cls beside 0001.jpg), or say with "
            'data.columns.file_name what names say: "{label}_{number}"',
        )
    labels: list[str] = []
    found: list[Path] = []
    for group in groups:
        inner = _files_in(folder, group, kind)
        labels += [group.name] * len(inner)
        found += inner
    if not found:
        packed = next((p.name for p in sorted(folder.path.iterdir()) if p.suffix.lower() == ".tar"), None)
        fix = f"one sub-folder a label with {kind.either} files in it, or a {LABELS_FILE}"
        raise DataError(
            f"holds no {kind.word}s in sub-folders",
            field=folder.where,
            value=[p.name for p in groups][:10] or [packed],
            fix=fix if packed is None else f"name the archives: {folder.where.rstrip('/')}/*.tar; or {fix}",
        )
    names = [_shown(folder, p) for p in found]
    return Listing(found, names, {columns.of(value): None, columns.label: pa.array(labels, pa.string())}, kind)


def list_folders(folders: Sequence[Found], columns: Columns, value: Field) -> Listing:
    """Several folders of one layout, one behind the other. Raises `DataError` as `list_folder`."""
    found = [list_folder(folder, columns, value) for folder in folders]
    if len(found) == 1:
        return found[0]
    own = columns.of(value)
    said = together([{n: c for n, c in listing.columns.items() if c is not None} for listing in found])
    paths = [path for listing in found for path in listing.paths]
    return Listing(paths, [name for listing in found for name in listing.names], {own: None, **said}, found[0].kind)


def list_named(found: Sequence[Found], columns: Columns, value: Field) -> Listing:
    """Files whose names say their labels, as `list_folder` gives them. Raises `DataError`."""
    return _with_names([f.path for f in found], [Path(f.where) for f in found], [f.where for f in found], columns, value)


def files_below(folder: Found, kind: Files) -> list[Path]:
    """Every file of a kind in a folder and below, sorted. Raises `DataError` for one of a format that is not read."""
    out = []
    for path in sorted(folder.path.rglob("*")):
        if any(part.startswith(".") or part in _NO_LABELS for part in path.relative_to(folder.path).parts):
            continue
        _refuse_other(folder, path, kind)
        if path.suffix.lower() in kind.read:
            out.append(path)
    return out


def _with_names(paths: Sequence[Path], inside: Sequence[Path], names: Sequence[str], columns: Columns, value: Field) -> Listing:
    if columns.file_name is None:
        raise DataError(
            "are files without labels",
            field="data.source",
            value=names[0],
            fix='say with data.columns.file_name what their names say: "{label}_{number}", or name a folder with a sub-folder a label',
        )
    said = NamePattern(columns.file_name).columns(inside, names, columns.label)
    return Listing(paths, list(names), {columns.of(value): None, **said}, kind_of(value))


def read_listed(table: pa.Table, file: Found, columns: Columns, value: Field) -> tuple[pa.Table, list[str]]:
    """A table of file names and labels, with the names replaced by the files' bytes; they start in the table's folder.

    Raises:
        DataError: as `list_folder` and `read_files`; or a file lies outside the table's folder: a list from elsewhere must not bring this machine's files into a dataset.
    """
    found = _listed(table, file, columns, value)
    return found.table(), list(found.names)


def _listed(table: pa.Table, file: Found, columns: Columns, value: Field) -> Listing:
    kind, own = kind_of(value), columns.of(value)
    name = next((n for n in (own, *FILE_COLUMNS) if n in table.schema.names), None)
    if name is None or not pa.types.is_string(table.schema.field(name).type):
        raise DataError(
            "has no column of file names",
            field=file.where,
            value=table.schema.names,
            fix=f"name it {own}, {' or '.join(FILE_COLUMNS)}, or set data.columns.{value.kind}",
        )
    written = table.column(name).to_pylist()
    blank = next((i for i, w in enumerate(written) if not w), None)
    if blank is not None:
        raise DataError(
            f"row {blank + 1} names no {kind.word}", field=file.where, value=written[blank], fix="name its file, or remove the row"
        )
    base = file.path.parent
    root = file.where.rpartition("/")[0]
    paths = [Path(os.path.normpath(base / w)) for w in written]
    outside = [w for w, p in zip(written, paths, strict=True) if not p.is_relative_to(os.path.normpath(base))]
    if outside:
        raise DataError(
            f"names a file outside the folder of the table{_and_others(outside)}",
            field=file.where,
            value=outside[0],
            fix=f"put the {kind.word}s below that folder, and name them from there",
        )
    missing = [w for w, p in zip(written, paths, strict=True) if not p.is_file()]
    if missing:
        raise DataError(
            f"names a file that is not there{_and_others(missing)}",
            field=file.where,
            value=missing[0],
            fix=_elsewhere(base, missing[0]),
        )
    names = [f"{root}/{w}" if root else w for w in written]
    rest = {n: c for n, c in zip(table.schema.names, table.columns, strict=True) if n not in (name, own)}
    return Listing(paths, names, {**rest, own: None}, kind)


def _elsewhere(base: Path, name: str) -> str:
    """What to write where a file that a table names lies in another folder."""
    there = "file names start in the folder of the table"
    inside = next((p for p in sorted(base.glob(f"*/{glob.escape(name)}")) if p.is_file()), None)
    if inside is not None:
        return f"{there}, and this one lies in a sub-folder: write {inside.relative_to(base).as_posix()}"
    beside = next((p for p in sorted(base.parent.glob(f"*/{glob.escape(name)}")) if p.is_file()), None)
    if beside is not None:
        return f"{there}, and this one lies beside it: put the table into {base.parent.name}, and write {beside.relative_to(base.parent).as_posix()}"
    return there


def read_files(paths: Sequence[Path], names: Sequence[str], kind: Files) -> pa.ChunkedArray:
    """The bytes of files, in chunks that 32-bit offsets can address.

    Raises:
        DataError: one cannot be read, is empty, too large, or of a format that is not read.
    """
    chunks: list[pa.Array] = []
    held: list[bytes] = []
    size = 0
    for path, name in zip(paths, names, strict=True):
        try:
            data = path.read_bytes()
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror}", field=name, fix="check the file and its permissions, or remove it") from e
        if not data:
            raise DataError("is empty", field=name, fix=f"put the {kind.word} back, or remove the file")
        if len(data) > kind.limit:
            raise DataError(
                f"is larger than {kind.limit} bytes", field=name, value=len(data), fix="store it smaller; no server takes it either"
            )
        if not data.startswith(kind.starts):
            raise DataError(
                f"is {kind.neither}, whatever its name says",
                field=name,
                value=data[:8],
                fix=f"convert it to {kind.forms[0]}, or remove it",
            )
        held.append(data)
        size += len(data)
        if size >= _CHUNK_BYTES:
            chunks.append(pa.array(held, pa.binary()))
            held, size = [], 0
    return pa.chunked_array([*chunks, pa.array(held, pa.binary())], pa.binary())


def _refuse_other(folder: Found, path: Path, kind: Files) -> None:
    suffix = path.suffix.lower()
    if suffix in kind.other:
        raise DataError(f"is of a format that is not read ({suffix})", field=_shown(folder, path), fix=f"convert it to {kind.either}")


def _files_in(folder: Found, group: Path, kind: Files) -> list[Path]:
    found = files_below(Found(group, _shown(folder, group)), kind)
    deep = [p for p in found if p.parent != group]
    if deep:
        raise DataError(
            f"lies deeper than its label's folder {group.name}{_and_others(deep)}",
            field=_shown(folder, deep[0]),
            fix="name the folder whose sub-folders are the labels (for example .../train), or move the files up",
        )
    if not found:
        raise DataError(
            f"is a label's folder without {kind.word}s",
            field=_shown(folder, group),
            fix=f"put {kind.either} files in, or remove it",
        )
    return found


def _shown(folder: Found, path: Path) -> str:
    return f"{folder.where.rstrip('/')}/{path.relative_to(folder.path).as_posix()}"


def _and_others(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
