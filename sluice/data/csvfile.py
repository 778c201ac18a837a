"""Files of separated cells to Arrow tables, every fault with the line where it lies."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sluice.core.errors import DataError, first_line
from sluice.core.numerals import MISSING_NUMBERS
from sluice.data.dialect import Dialect
from sluice.data.opening import UNPACK_AGAIN, not_empty, not_encoded, opened, text_of
from sluice.data.quoting import plain_quote, swallowing
from sluice.data.report import counted
from sluice.data.scheme import Found
from sluice.data.separators import begins, settle, without

#: Bytes parsed at once; no row may be larger.
BLOCK = 32 << 20

# The csv module only finds the line of a fault here; pyarrow, which reads the data, has no limit on a cell either.
csv.field_size_limit(1 << 30)

ENCODING = "data.encoding"
#: Cells that are none in a column that pyarrow reads as numbers: those of `MISSING_NUMBERS` as people write them.
NO_NUMBER = sorted({spelled for word in MISSING_NUMBERS for spelled in (word, word.upper(), word.capitalize(), word.title())} | {"", "NaN"})
#: Lines of a file that may stand before the names.
_EARLY = 20
_CLOSE = 'close it (a quote inside a quoted cell is written ""), or set data.quote: none if quotes are plain text'


@dataclasses.dataclass(frozen=True)
class CsvTable:
    """What was read: `notes` are sentences about what was found out, not declared."""

    table: pa.Table
    dialect: Dialect
    notes: tuple[str, ...] = ()


def read_csv(file: Found, dialect: Dialect | None = None, wanted: Sequence[str] = ()) -> CsvTable:
    """A file of separated cells, every column as strings (an empty cell is ""). ``.gz`` and the like are unpacked.

    Quoted cells may hold line breaks; ``""`` in them is a quote. Where quotes are not declared, those of
    a tab-separated file are plain text if one is opened and not closed and every line has the header's
    cells without them; otherwise a cell that holds whole rows is an error, for its quote is lost.
    The first column may be without a name (its name is ""): a table saved with its index.

    Args:
        dialect: what is declared of the file; the rest is found out.
        wanted: columns the project names, a help in finding the separator.

    Raises:
        DataError: empty, no rows, not of its encoding, a row of another length than the header, a quote
            never closed or closed rows later, a column name that is empty or stands twice.
    """
    declared = dialect or Dialect()
    not_empty(file, declared.encoding, ENCODING)
    dialect, note = settle(file, declared, wanted)
    notes = [note] if note else []
    names = names_of(file, dialect)
    if dialect.header is True:
        names, dialect = with_row_names(file, dialect, names)
    table = None
    if dialect.quote == "auto" and dialect.delimiter == "\t":
        table, line = _without_quotes(file, dialect, names)
        if line is not None:
            dialect = dataclasses.replace(dialect, quote="none")
            notes.append(
                f"{file.where}: quotes are read as plain text, since line {line} has one that is not closed and every line without "
                "them has the cells it should; data.quote sets it"
            )
    if table is None:
        table = _read(file, dialect, names)
        if dialect.quoted:
            _no_lost_quote(file, dialect, table)
    if not table.num_rows:
        raise DataError("has a header line, but no rows", field=file.where, value=names, fix="add rows, or name another file")
    if any(padding(file, dialect)):
        table = _without_padding(file, table, notes)
    return CsvTable(_named(file, table, names, notes), dialect, tuple(notes))


def line_of_row(file: Found, row: int, dialect: Dialect) -> int | None:
    """The line on which a row (from 0, after the header) begins."""
    skip = 1 if dialect.header is True or dialect.skip else 0
    for i, (line, _) in enumerate(rows_of(file, dialect)):
        if i == row + skip:
            return line
    return None


def _read(file: Found, dialect: Dialect, names: list[str]) -> pa.Table:
    """The rows, columns called by their number."""
    read, parse, convert = options_of(file, dialect, len(names), BLOCK)
    try:
        with opened(file) as stream:
            table = pyarrow.csv.read_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
        return table.rename_columns([str(i) for i in range(len(names))])
    except (pa.ArrowException, OSError, UnicodeError) as e:
        raise explain_csv(file, dialect, len(names), e) from e


def options_of(
    file: Found, dialect: Dialect, width: int, block: int, numeric: Collection[int] = ()
) -> tuple[pyarrow.csv.ReadOptions, pyarrow.csv.ParseOptions, pyarrow.csv.ConvertOptions]:
    """What pyarrow is told of a file of `width` cells a row, of which it parses `block` bytes at once: every cell is a string, but for columns of numbers."""
    places = [str(i) for i in range(width)]
    read = pyarrow.csv.ReadOptions(block_size=block, encoding="utf8" if dialect.encoding == "utf-8" else dialect.encoding)
    if dialect.header is not True:
        read.column_names = places
        read.skip_rows = dialect.skip
    parse = pyarrow.csv.ParseOptions(
        delimiter=dialect.delimiter, quote_char='"' if dialect.quoted else False, newlines_in_values=dialect.quoted
    )
    named = _raw(file, dialect) if dialect.header is True else places
    types = {name: pa.float64() if i in numeric else pa.string() for i, name in enumerate(named)}
    return read, parse, pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=NO_NUMBER)


def with_row_names(file: Found, dialect: Dialect, names: list[str]) -> tuple[list[str], Dialect]:
    """The names with one that is missing: rows have a cell more than the header line, R's row names first or nothing last."""
    try:
        rows = [row for _, row in itertools.islice(rows_of(file, dialect), 1, 50)]
    except (DataError, OSError):
        return names, dialect  # said where the rows are read
    if not rows or any(len(row) != len(names) + 1 for row in rows) or len(names) < 2:
        return names, dialect
    full = [*names, ""] if not any(row[-1].strip() for row in rows) else ["", *names]
    with text_of(file, dialect.encoding) as f:
        reader = dialect.reader(f)
        next(row for row in reader if row)
        return full, dataclasses.replace(dialect, header=tuple(full), skip=reader.line_num)


def padding(file: Found, dialect: Dialect) -> tuple[bool, bool]:
    """Whether the first row has a space after, and before, each of its separators, outside of any quotes."""
    with text_of(file, dialect.encoding) as f:
        lines = [line for line in itertools.islice(f, 20) if line.strip()]
    cells = lines[min(int(dialect.header is True), len(lines) - 1)].split(dialect.delimiter)
    if dialect.delimiter == " " or len(cells) < 2:
        return False, False
    return all(c.startswith(" ") for c in cells[1:]), all(c.endswith(" ") for c in cells[:-1])


def _without_padding(file: Found, table: pa.Table, notes: list[str]) -> pa.Table:
    """Cells without the space that follows, or goes before, every separator of the file."""
    for trim, beside, columns in (
        (pc.utf8_ltrim, pc.starts_with, range(1, table.num_columns)),
        (pc.utf8_rtrim, pc.ends_with, range(table.num_columns - 1)),
    ):
        padded = [pc.or_(beside(table.column(i), " "), pc.equal(table.column(i), pa.scalar(""))) for i in columns]
        if (
            not padded
            or not all(pc.all(p).as_py() for p in padded)
            or not any(pc.any(beside(table.column(i), " ")).as_py() for i in columns)
        ):
            continue
        where = "after" if columns.start else "before"
        notes.append(f"{file.where}: the space {where} each separator is no part of the cells")
        for i in columns:
            table = table.set_column(i, table.schema.names[i], trim(table.column(i), characters=" "))
    return table


def _named(file: Found, table: pa.Table, names: list[str], notes: list[str]) -> pa.Table:
    """The columns under their names; one without a name is the first, or holds nothing and is left out."""
    keep = []
    for i, name in enumerate(names):
        if name or (i == 0 and len(names) > 1):
            keep.append(i)
        elif pc.all(pc.equal(pc.utf8_trim_whitespace(table.column(i)), pa.scalar(""))).as_py():
            notes.append(f"{file.where}: column {i + 1} has no name and no cell; it is left out")
        else:
            raise DataError(f"column {i + 1} has no name", field=f"{file.where}:1", value=names, fix="name it in the header line")
    return table.select(keep).rename_columns([names[i] for i in keep])


def rows_of(file: Found, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Rows as the csv module reads them, each with the line it begins on; blank lines are left out. Slow: for messages only."""
    with text_of(file, dialect.encoding) as f:
        reader = dialect.reader(f)
        before = 0
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                raise DataError(
                    f"cannot be read as CSV: {e}", field=f"{file.where}:{before + 1}", fix="look for a quote that is not closed"
                ) from e
            if row:
                yield before + 1, row
            before = reader.line_num


def _raw(file: Found, dialect: Dialect) -> list[str]:
    """The cells of the first line."""
    try:
        _, raw = next(rows_of(file, dialect))
    except StopIteration:
        raise DataError("is empty", field=file.where, fix="name a file with rows in it") from None
    except OSError as e:
        raise DataError(f"cannot be unpacked: {e}", field=file.where, fix=UNPACK_AGAIN) from e
    return raw


def names_of(file: Found, dialect: Dialect) -> list[str]:
    """The columns' names, without the spaces around them: of the header line, as declared, or ``column_1`` and so on."""
    raw = _raw(file, dialect)
    if dialect.header is False:
        return [f"column_{i + 1}" for i in range(len(raw))]
    if dialect.header is not True:
        names = list(dialect.header)
        if len(names) != len(raw):
            raise DataError(
                f"lists {len(names)} names, the first line of {file.where} has {len(raw)} cells",
                field="data.header",
                value=names,
                fix="name every column, in the file's order",
            )
        if names == [c.strip() for c in raw]:
            raise DataError("is the first line: there is a header line", field="data.header", value=names, fix="remove data.header")
        return names
    names = [n.strip() for n in raw]
    if names[0].lower() in ("sep=", f"sep={dialect.delimiter}"):
        raise DataError(
            "begins with the line that tells Excel the separator",
            field=f"{file.where}:1",
            value=(dialect.delimiter or "").join(raw),
            fix="remove that line",
        )
    for i, name in enumerate(names):
        if any("\udc80" <= c <= "\udcff" for c in name):
            raise not_encoded(file, dialect.encoding, ENCODING)
        if name and name in names[:i]:
            raise DataError(
                "names a column twice (is there a header line?)",
                field=f"{file.where}:1",
                value=name,
                fix="rename one of them; without a header line set data.header to false or to the names",
            )
    return names


def explain_csv(file: Found, dialect: Dialect, width: int, error: Exception) -> DataError:
    """The error of a file that Arrow's reader could not read, by reading it again line by line: which line, what is wrong there, what helps."""
    if "UTF8" in str(error) or isinstance(error, UnicodeError):
        return not_encoded(file, dialect.encoding, ENCODING)
    head = "the header has" if dialect.header is True else "the first line has"
    longest = (0, 0)
    try:
        for line, row in rows_of(file, dialect):
            longest = max(longest, (sum(map(len, row)), line))
            if len(row) != width:
                if dialect.header is True and line <= _EARLY and (names := begins(file, dataclasses.replace(dialect, delimiter=None))):
                    said = f"has {counted(names - 1, 'line')} before its columns' names, which are no rows"
                    return DataError(
                        said, field=f"{file.where}:{names}", value=(dialect.delimiter or "").join(row)[:80], fix=without(file, names)
                    )
                if sum(map(len, row)) > 0 and any("\n" in c for c in row):
                    return DataError(
                        f"has {len(row)} cells and {sum(c.count(chr(10)) for c in row)} line breaks in them, {head} {width} cells",
                        field=f"{file.where}:{line}",
                        value=(dialect.delimiter or "").join(row)[:80],
                        fix="look for a quote that is not closed; data.quote: none reads quotes as plain text",
                    )
                return DataError(
                    f"has {len(row)} cells, {head} {width}",
                    field=f"{file.where}:{line}",
                    value=(dialect.delimiter or "").join(row)[:500],
                    fix=_remedy(dialect, line, row, width),
                )
    except DataError as e:
        return e
    except OSError as e:
        return DataError(f"cannot be unpacked: {e}", field=file.where, fix=UNPACK_AGAIN)
    if "straddl" in str(error):  # Arrow's word for a row that no block holds
        fix = "shorten its cells, or look for line ends that are missing"
        return DataError(
            f"has a row of {longest[0]:,} characters, which is too long to be read", field=f"{file.where}:{longest[1]}", fix=fix
        )
    return DataError(f"cannot be read as CSV: {first_line(error)}", field=file.where, fix="check quotes and separators")


def _remedy(dialect: Dialect, line: int, row: list[str], width: int) -> str:
    if any('\\"' in c or c.endswith("\\") or ("\\" in c[:-1] and '"' in c) for c in row):
        return 'write a quote inside a quoted cell as "", not as \\"'
    if len(row) > width and line < 20 and dialect.header is True:
        return f"quote cells that hold {dialect.separator}; if the columns' names stand further down, remove the lines before them"
    return f"quote cells that hold {dialect.separator}, add what is missing, or remove the line if it is no row"


def _without_quotes(file: Found, dialect: Dialect, names: list[str]) -> tuple[pa.Table | None, int | None]:
    """The table, if no cell begins with a quote or quotes must be plain text; and the line that shows the latter."""
    if any('"' in n for n in _raw(file, dataclasses.replace(dialect, quote="none"))):
        return None, None  # the names are quoted: so are cells
    plain = dataclasses.replace(dialect, quote="none")
    try:
        table = _read(file, plain, names)
    except DataError:
        return None, None
    if not any(pc.any(pc.starts_with(column, '"')).as_py() for column in table.columns):
        return table, None
    row = plain_quote(table)
    return (None, None) if row is None else (table, line_of_row(file, row, plain))


def _no_lost_quote(file: Found, dialect: Dialect, table: pa.Table) -> None:
    """Raise if the file ends within a quoted cell, or a cell holds what look like rows."""
    if not table.num_rows:
        return
    closed_at_the_end(file, dialect, table.column(table.num_columns - 1)[-1].as_py())
    if dialect.quote == "auto":
        found = swallowing(table, dialect.delimiter or ",")
        if found is not None:
            row, cell = found
            raise swallowed(f"{file.where}:{line_of_row(file, row, dialect)}", cell)


def closed_at_the_end(file: Found, dialect: Dialect, last: str) -> None:
    """Raise `DataError` if the file ends within a quoted cell; `last` is its last cell."""
    if "\n" not in last:
        return
    with text_of(file, dialect.encoding) as f:
        try:
            for _ in dialect.reader(f, strict=True):
                pass
        except csv.Error as e:
            if "unexpected end of data" in str(e):
                line = max(line for line, _ in rows_of(file, dialect))
                raise DataError(
                    "a quote is opened in the row that begins here and never closed", field=f"{file.where}:{line}", fix=_CLOSE
                ) from None


def swallowed(at: str, cell: str) -> DataError:
    """The error for a cell that holds whole rows; `at` is where its row begins."""
    return DataError(
        f"a quote is opened in the row that begins here and closed {cell.count(chr(10))} line(s) further on; what lies between looks "
        "like rows of their own",
        field=at,
        value=cell[:200],
        fix=f"{_CLOSE}; data.quote: '\"' says that the cell is meant so",
    )
