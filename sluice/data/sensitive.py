"""Columns whose values are shown nowhere: what reading them may say, and what stands for them where rows are told apart by them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator

import pyarrow as pa

from sluice.core.errors import SluiceError, first_line
from sluice.data.spellings import each_value


@contextlib.contextmanager
def without_values(sensitive: Collection[str]) -> Iterator[None]:
    """Errors of reading, without the values in them: a cell, or a whole row of a file that cannot be divided into cells.

    Field, row and what to do stay. The error it comes from is let go, for a traceback would tell its words.
    """
    try:
        yield
    except SluiceError as e:
        if not sensitive:
            raise
        if isinstance(e.value, str) and e.value in sensitive:  # a column's name, not a cell
            field = "data.sensitive" if e.field == "data.columns.ignore" else e.field
            raise type(e)(e.message, field=field, value=e.value, fix=e.fix) from None
        raise type(e)(_words(e), field=e.field, fix=_fix(e, sensitive)) from None


def _fix(e: SluiceError, sensitive: Collection[str]) -> str | None:
    """What to do, unless it may quote a cell."""
    told = e.fix or ""
    if any(name in (e.field or "") or repr(name) in told for name in sensitive) or (e.has_value and e.value and str(e.value) in told):
        return "look at the source there, and correct the cell or the column's settings"
    return e.fix


def _words(e: SluiceError) -> str:
    """What it says, without what another library said of the bytes."""
    said = first_line(e.__cause__) if e.__cause__ is not None else ""
    return e.message.replace(said, "(not shown: the source has sensitive columns)") if said else e.message


def hidden_keys(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Groups by another name each: 16 hex digits of its sha256. Whoever has a list of names can still find them out."""
    return each_value(keys, lambda v: None if v is None else hashlib.sha256(v.encode()).hexdigest()[:16])
