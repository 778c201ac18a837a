"""A file of separated cells, a block at a time: every column as strings, an empty cell null."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sluice.data.columns import null_for_empty
from sluice.data.csvfile import ENCODING, explain_csv, names_of, options_of, padding, read_csv, with_row_names
from sluice.data.dialect import Dialect
from sluice.data.opening import not_empty, opened
from sluice.data.scheme import Found
from sluice.data.separators import settle

_NOT_A_NUMBER = re.compile(r"column #(\d+):(?: Row #\d+:)? CSV conversion error to double")


class NotNumbers(Exception):
    """A column that was to be read as numbers has a cell that pyarrow takes for none."""

    def __init__(self, name: str):
        self.name = name


def stream_csv(file: Found, declared: Dialect, wanted: Sequence[str], block: int, numeric: Collection[str] = ()) -> Iterator[pa.Table]:
    """The rows of `sluice.data.csvfile.read_csv`, those of `block` bytes at a time.

    A tab-separated file whose quotes are not declared is read whole, for only all of it tells whether they are plain text.

    Args:
        numeric: columns that are float64, null where a cell is empty or one of `NO_NUMBER`.

    Raises:
        DataError: as `read_csv`.
        NotNumbers: one of `numeric` has another cell.
    """
    not_empty(file, declared.encoding, ENCODING)
    dialect, _ = settle(file, declared, wanted)
    if dialect.quote == "auto" and dialect.delimiter == "\t":
        whole = read_csv(file, declared, wanted).table
        yield _nulled(whole)
        return
    names = names_of(file, dialect)
    if dialect.header is True:
        names, dialect = with_row_names(file, dialect, names)
    after, before = padding(file, dialect)
    read, parse, convert = options_of(file, dialect, len(names), block, [i for i, name in enumerate(names) if name in numeric])
    keep = [i for i, name in enumerate(names) if name or (i == 0 and len(names) > 1)]
    try:
        with (
            opened(file) as stream,
            pyarrow.csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert) as reader,
        ):
            for batch in reader:
                table = pa.Table.from_batches([batch])
                if after:
                    table = _trimmed(table, pc.utf8_ltrim)
                if before:
                    table = _trimmed(table, pc.utf8_rtrim)
                yield _nulled(table.select(keep).rename_columns([names[i] for i in keep]))
    except (pa.ArrowException, OSError, UnicodeError) as e:
        other = _NOT_A_NUMBER.search(str(e))
        if numeric and other is not None:
            raise NotNumbers(names[int(other[1])]) from None
        raise explain_csv(file, dialect, len(names), e) from e


def _trimmed(table: pa.Table, trim: object) -> pa.Table:
    return pa.Table.from_arrays(
        [trim(c, characters=" ") if pa.types.is_string(c.type) else c for c in table.columns],  # type: ignore[operator]
        names=table.schema.names,
    )


def _nulled(table: pa.Table) -> pa.Table:
    return pa.Table.from_arrays([null_for_empty(c) if pa.types.is_string(c.type) else c for c in table.columns], names=table.schema.names)
