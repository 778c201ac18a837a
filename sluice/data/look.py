"""A first look at a file nobody has described yet: what its columns hold, and which of them may be the label."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.core.errors import DataError, first_line
from sluice.core.numerals import MISSING_NUMBERS, Numerals
from sluice.data.columns import null_for_empty, numbers
from sluice.data.dialect import Dialect
from sluice.data.forms import WORKBOOKS, form_of_files, format_of
from sluice.data.labelnames import LABEL, OFTEN, SELDOM, names_each_row, numbers_rows, whole
from sluice.data.labelsets import separator
from sluice.data.numerals import Spelled, spelled_numbers
from sluice.data.opening import opened, text_of, without_mark
from sluice.data.otherforms import other_form
from sluice.data.packed import PACKED, inner_suffix
from sluice.data.scheme import Found
from sluice.data.separators import settle
from sluice.data.sources import read_tables
from sluice.data.timestamps import MOSTLY_TIMES, nearly
from sluice.fields.field import FIELDS
from sluice.fields.files import Files
from sluice.fields.text import Text

#: Bytes of a text file, and rows of a Parquet file, that are looked at; a larger one is looked at as far as that.
MOST_BYTES, MOST_ROWS = 32 << 20, 200_000
#: What a column that names rows is called.
KEY = "key"
#: Values of a column looked at to tell what it holds.
_SAMPLE = 2000
#: Files of a folder that are looked at.
_MOST_FILES = 10_000
#: From this share of different values on a column names rows; and from so many characters a value on it is a text.
_KEY, _TEXT_CHARACTERS = 0.95, 20
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
#: Different values of a column that is likely to be one of classes, at most.
_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class ColumnLook:
    """What a column seems to hold.

    Attributes:
        kind: ``empty``, ``constant``, ``number``, ``category``, ``text``, ``key`` (another value in nearly every row), ``date`` or ``image`` (a file's name).
        distinct: different values among those looked at.
        missing: share of the rows.
        example: a value.
        numerals: how its numbers are written, where they are texts such as ``$1,200``; null: plainly, or in a way that cannot be told.
        doubt: whether it cannot be told.
        counts: whether it holds whole numbers alone.
        between: what stands between its values where a cell may have several, such as ``|``; null: each has one.
    """

    name: str
    kind: str
    distinct: int
    missing: float
    example: str
    numerals: Numerals | None = None
    doubt: bool = False
    between: str | None = None
    counts: bool = False


@dataclasses.dataclass(frozen=True)
class Look:
    """A file looked at.

    Attributes:
        path: what was read: the file, or a part of it.
        rows: that were read.
        whole: whether that is the whole file.
        dialect: settings a CSV needs that are not as they are by default.
        columns: in the file's order.
        notes: what was found out while reading.
        format: what has to be declared of a file whose name does not tell it.
        quantity: whether the label has to be a quantity: then a column of few values is the less likely one.
    """

    path: Path
    rows: int
    whole: bool
    dialect: Dialect
    columns: tuple[ColumnLook, ...]
    notes: tuple[str, ...]
    format: str = "auto"
    quantity: bool = False

    def of(self, *kinds: str) -> list[str]:
        """Names of the columns that look like one of these kinds."""
        return [c.name for c in self.columns if c.kind in kinds]

    def with_label_in(self, *kinds: str) -> Look:
        """As if no column of another kind, nor one of years, could be the label. Raises `DataError`: then none could."""
        columns = tuple(c for c in self.columns if c.kind in kinds and not names_years(c.name))
        if not columns:
            raise DataError(
                "holds no column that can be learnt", field=str(self.path), fix=f"name a file with a column of kind {' or '.join(kinds)}"
            )
        return dataclasses.replace(self, columns=columns, quantity=True)

    def candidates(self) -> list[str]:
        """Columns that may be the label, the likeliest first."""
        fit = [c for c in self.columns if c.kind in ("number", "category") and c.missing < 0.5]
        first, last = self._ends()
        return [c.name for c in sorted(fit, key=lambda c: -_likely(c, last, first, self.quantity))]

    def _ends(self) -> tuple[str, str]:
        """The first and the last column beside those that name the row."""
        names = [c.name for c in self.columns if c.kind != KEY] or [c.name for c in self.columns]
        return names[0], names[-1]

    def label(self) -> str | None:
        """The label, if there is no doubt: by its name, or as the only column that can be one."""
        found = self.candidates()
        named = [n for n in found if _plain(n) in LABEL] or [n for n in found if _plain(n) in OFTEN]
        if len(named) == 1 and (_plain(named[0]) in LABEL or named[0] in self._ends()):
            return named[0]
        return found[0] if len(found) == 1 else None

    def label_of_classes(self) -> str | None:
        """As `label`, where it has few different values."""
        found = next((c for c in self.columns if c.name == self.label()), None)
        return found.name if found and (found.kind == "category" or found.distinct <= _CLASSES) else None

    def guess(self) -> str | None:
        """The last column, where it is one of a few classes and no other is called as labels are: not beyond doubt, so it is to be said."""
        last = {c.name: c for c in self.columns}[self._ends()[1]]
        called = [
            c for c in self.columns if c != last and _plain(c.name) in LABEL | OFTEN and (c.kind == "category" or c.distinct <= _CLASSES)
        ]
        few = last.kind == "category" and 2 <= last.distinct <= _CLASSES and last.missing == 0
        return last.name if few and not called and _plain(last.name) not in SELDOM else None


@contextlib.contextmanager
def looked_at(path: Path, where: str) -> Iterator[Look]:
    """Look at a file of rows; the part of a large one that is looked at is there until the block ends.

    Args:
        where: what to call the file in errors.

    Raises:
        DataError: it cannot be read.
    """
    file = Found(path, where)
    told = format_of(path)
    if told in (None, "csv") and (other := other_form(path, where)) is not None:
        raise other
    form = told or form_of_files([file], "auto" if path.suffix.lower() in WORKBOOKS else "csv")
    with tempfile.TemporaryDirectory(prefix="sluice-look-") as tmp:
        try:
            part = _part(file, form, Path(tmp))
            if form != "parquet":
                _is_text(part)
            dialect = _dialect(part) if form == "csv" else Dialect()
        except (OSError, pa.ArrowException) as e:
            raise DataError(f"cannot be read: {first_line(e)}", field=where, fix="check its permissions; write or compress it again") from e
        tables, _, notes = read_tables([part], form, dialect, (), ())
        table = tables[0]
        columns = tuple(_look(n, c, table.num_rows) for n, c in zip(table.schema.names, table.columns, strict=True))
        yield Look(part.path, table.num_rows, part is file, dialect, columns, tuple(notes), "auto" if told else form)


def _is_text(file: Found) -> None:
    with opened(file) as stream:
        head = stream.read(1 << 16)
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")) and without_mark(head) is None:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise DataError(
            "holds zero bytes: it is no text, or a part of it was never written",
            field=f"{file.where}:{line}",
            fix="name a CSV, JSON-lines or Parquet file, with the ending of its kind, or save it again without them",
        )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _likely(column: ColumnLook, last: str, first: str, quantity: bool) -> int:
    name = _plain(column.name)
    found = 100 if name in LABEL else 40 if name in OFTEN else 0
    found += -30 if name in SELDOM or numbers_rows(column.name) else 15 if column.name == last else 5 if column.name == first else 0
    return found + (10 if (2 <= column.distinct <= _CLASSES) != quantity else 0)


def _part(file: Found, form: str, tmp: Path) -> Found:
    """The file, or as much of its beginning as is looked at, in whole rows."""
    if form == "parquet":
        with pq.ParquetFile(file.path) as f:
            if f.metadata.num_rows <= MOST_ROWS:
                return file
            batches, rows = [], 0
            for batch in f.iter_batches(1 << 14):
                batches.append(batch)
                rows += batch.num_rows
                if rows >= MOST_ROWS:
                    break
            made = pa.Table.from_batches(batches)
        pq.write_table(made, tmp / "part.parquet")
        return Found(tmp / "part.parquet", file.where)
    if file.path.stat().st_size <= MOST_BYTES and file.path.suffix.lower() not in PACKED:
        return file
    with opened(file) as stream:
        head = stream.read(MOST_BYTES + 1)
    if len(head) <= MOST_BYTES:
        return file
    part = Found(tmp / f"part{inner_suffix(file.path) if format_of(file.path) else '.txt'}", file.where)
    part.path.write_bytes(b"".join(_lines(head)[:-1]))
    if form == "csv":
        _whole_rows(part)
    return part


def _whole_rows(part: Found) -> None:
    """Cut the last row off, which may go on behind the part's end."""
    dialect, _ = settle(part, _dialect(part))
    before = last = 0
    with text_of(part, dialect.encoding) as f, contextlib.suppress(csv.Error):
        reader = dialect.reader(f)
        for _ in reader:
            before, last = last, reader.line_num
    part.path.write_bytes(b"".join(_lines(part.path.read_bytes())[:before]))


def _lines(text: bytes) -> list[bytes]:
    """The lines of a text with their ends, the last one what is left behind them: of UTF-16 an end is two bytes, and only at an even place."""
    wide = "utf-16-le" if text.startswith(b"\xff\xfe") else "utf-16-be" if text.startswith(b"\xfe\xff") else without_mark(text[: 1 << 16])
    if wide is None:
        *whole, rest = text.split(b"\n")
        return [*(line + b"\n" for line in whole), rest]
    *rows, left = text[: len(text) // 2 * 2].decode(wide, "surrogatepass").split("\n")
    return [line.encode(wide, "surrogatepass") for line in (*(row + "\n" for row in rows), left)]


def _dialect(file: Found) -> Dialect:
    """What has to be declared of a CSV: its encoding, and that it has no header line."""
    dialect = Dialect(encoding=_encoding(file))
    settled, _ = settle(file, dialect)
    with text_of(file, dialect.encoding) as f:
        rows = list(itertools.islice((row for row in settled.reader(f) if row), _SAMPLE))
    return dataclasses.replace(dialect, header=False) if rows and _no_names(rows[0], rows[1:]) else dialect


def _no_names(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first line has values: nothing but numbers, one twice, or one that its column has again; a word above numbers is a name."""
    cells = [c.strip() for c in first]
    if len(cells) < 2 or (first in rest and not any(_NUMBER.fullmatch(c) for c in cells)):
        return False  # the names stand in the file again, where tables were put together
    numeric = [bool(_NUMBER.fullmatch(c)) for c in cells]
    if any(
        not n and c.lower() not in MISSING_NUMBERS and _numeric_below(rest, i) for i, (c, n) in enumerate(zip(cells, numeric, strict=True))
    ):
        return False
    again = any(
        c and not n and any(len(row) > i and row[i].strip() == c for row in rest)
        for i, (c, n) in enumerate(zip(cells, numeric, strict=True))
    )
    return all(numeric) or again or len({c for c in cells if c}) < len([c for c in cells if c])


def _numeric_below(rest: list[list[str]], column: int) -> bool:
    below = [c for row in rest if len(row) > column and (c := row[column].strip())]
    return bool(below) and all(map(_NUMBER.fullmatch, below))


def _encoding(file: Found) -> str:
    """UTF-8, or the encoding that the bytes of the beginning are most likely in."""
    with opened(file) as stream:
        head = stream.read(1 << 20)
    head = head[: head.rfind(b"\n") + 1] or head
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if (bare := without_mark(head[: 1 << 16])) is not None:
        return bare
    with contextlib.suppress(UnicodeDecodeError):
        head.decode("utf-8")
        return "utf-8"
    # Scripts of their own in two bytes a letter; what is left over is a Western letter here and there.
    scripts = (
        ("cp949", "[\uac00-\ud7a3]", 0.05),
        ("shift_jis", "[\u3040-\u30ff]", 0.05),
        ("euc_jp", "[\u3040-\u30ff]", 0.05),
        ("gb18030", "[\u4e00-\u9fa5]", 0.05),
        ("cp1251", "[\u0410-\u044f]", 0.2),
    )
    for name, letters, least in scripts:
        with contextlib.suppress(UnicodeDecodeError):
            text = head.decode(name)
            foreign = [c for c in text if ord(c) > 127]
            if sum(1 for c in foreign if re.match(letters, c)) > 0.6 * len(foreign) and len(foreign) > least * len(text):
                return name
    with contextlib.suppress(UnicodeDecodeError):
        head.decode("cp1252")
        return "cp1252"
    return "latin-1"


def _look(name: str, column: pa.ChunkedArray, rows: int) -> ColumnLook:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    present = (null_for_empty(pc.utf8_trim_whitespace(column)) if text else column).drop_null()
    missing = 1 - len(present) / max(rows, 1)
    if not len(present):
        return ColumnLook(name, "empty", 0, 1.0, "")
    step = max(1, len(present) // _SAMPLE)
    values: list[Any] = present.take(pa.array(np.arange(0, len(present), step))).to_pylist()
    distinct = len({repr(v) for v in values})
    example = str(values[0])[:60]
    spelled = spelled_numbers(present, name, None) if text and numbers(present)[0] is None else Spelled()
    if spelled != Spelled():
        return ColumnLook(name, "number", distinct, missing, example, spelled.numerals, spelled.numerals is None)
    kind = _kind(present, values, distinct, text)
    if kind in ("number", "category", Text.kind) and names_each_row(name, values, kind == "number"):
        kind = KEY
    between = separator(values) if text else None
    return ColumnLook(name, kind, distinct, missing, example, between=between, counts=kind == "number" and whole(values))


def _kind(present: pa.ChunkedArray, values: list[Any], distinct: int, text: bool) -> str:
    if distinct == 1 and len(values) > 1:
        return "constant"
    if pa.types.is_temporal(present.type):
        return "date"
    if not text:
        types = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
        if pa.types.is_integer(present.type) and counts_rows(np.asarray(present.combine_chunks(), dtype=np.float64)):
            return KEY
        return "number" if any(of(present.type) for of in types) else "category"
    plain, _ = numbers(present)
    if plain is not None:
        return KEY if counts_rows(np.asarray(plain.drop_null().combine_chunks(), dtype=np.float64)) else "number"
    times = nearly(pa.array(sorted(set(values))))
    if times is not None and times[1] >= MOSTLY_TIMES:
        return "date"
    for kind, files in listed_kinds().items():
        if sum(Path(v).suffix.lower() in files.read for v in values) >= 0.95 * len(values):
            return kind
    if like_texts(values, distinct):
        return Text.kind
    return KEY if distinct >= _KEY * len(values) and len(values) > 20 else "category"


def names_years(name: str) -> bool:
    """Whether a column of whole numbers is called as one of years."""
    return bool(re.fullmatch(r"(?i)year|yr", name.strip()))


def counts_rows(values: np.ndarray) -> bool:
    """Whole numbers from 0 or 1 on, one more in each row."""
    return bool(len(values) > 20 and values[0] in (0, 1) and (np.diff(values) == 1).all())


def like_texts(values: list[str], distinct: int) -> bool:
    """Whether a column holds free text: hardly the same twice, and several words, or the length of several in a script without spaces.

    Args:
        values: what is not missing.
        distinct: how many of them are different.
    """
    if not values or distinct < 0.5 * len(values):
        return False
    words = np.mean([len(v.split()) for v in values])
    foreign = np.mean([sum(c > "\u2e80" for c in v) / max(len(v), 1) for v in values])
    return bool(
        (words >= 3 and np.mean([len(v) for v in values]) >= _TEXT_CHARACTERS) or (foreign > 0.3 and np.mean([len(v) for v in values]) >= 8)
    )


def listed_kinds() -> dict[str, Files]:
    """The kinds of fields whose values files hold, and what these look like."""
    found = {kind: FIELDS.get(kind).files for kind in FIELDS.names()}
    return {kind: files for kind, files in found.items() if files is not None}


def kind_in(folder: Path) -> str | None:
    """The kind of field whose files a folder holds, in itself or below; None where it holds none."""
    kinds = listed_kinds()
    for path in itertools.islice(folder.rglob("*"), _MOST_FILES):
        for kind, files in kinds.items():
            if path.suffix.lower() in files.read:
                return kind
    return None
