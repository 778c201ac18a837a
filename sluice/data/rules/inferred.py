"""A file of rules read off a source, for people to review: what was seen stands beside each column as a comment."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core import yamlfile
from sluice.core.numerals import Numerals
from sluice.data.columns import null_for_empty, null_for_nan, numbers
from sluice.data.infer import above, widened
from sluice.data.report import counted, percent
from sluice.data.rules.hashing import Seen
from sluice.data.timestamps import TIME, Times, read

#: So many different texts at most, each in ten rows on average, are the only ones allowed; more are no list that anyone reads.
_VALUES, _ROWS_A_VALUE = 50, 10
#: Rows below which that all differ, or that there are only two, says little.
_FEW = 50
_COMMENT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


@dataclasses.dataclass(frozen=True)
class Proposed:
    """A column's rules, plain values, and what was seen of it."""

    rules: dict[str, Any]
    seen: str


def infer_schema(
    table: pa.Table,
    source: str,
    *,
    label: str,
    ignore: Collection[str] = (),
    secret: Collection[str] = (),
    times: Mapping[str, Times] | None = None,
    numerals: Mapping[str, Numerals] | None = None,
) -> str:
    """A file of rules (`sluice.data.rules.schema.SchemaFile`) that the rows pass, as YAML with comments.

    Half the rows; of numbers their range widened by a tenth; of texts with few values these; half as many missing again.

    Args:
        table: the source's rows, numbers read. source: what to call it.
        label: the column to learn.
        ignore: columns that are left out of it but for their type.
        secret: columns of which nothing but type and what is missing is written.
        times: the columns that are times and how they are written.
        numerals: how numbers are written, of columns that are not written plainly.
    """
    head = [
        f"# What {_plain(source)} has to be, read off its {counted(table.num_rows, 'row')} by `sluice data infer`.",
        "# Review it, keep it under version control, and name it in the project: data: {schema_file: ...}",
        "# docs/data.md lists every key; behind a # stands what was seen.",
        "version: 1",
        f"rows_min: {max(1, table.num_rows // 2)}",
        "columns:",
    ]
    lines = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        found = _column(column, name, (times or {}).get(name), (numerals or {}).get(name), listed=name == label)
        rules, seen = found.rules, found.seen
        if name in secret:
            rules = {k: v for k, v in rules.items() if k in ("type", "form", "zone", "nulls_max")}
            seen = "sensitive: nothing more is written of it"
        elif name in ignore:
            rules = {k: v for k, v in rules.items() if k in ("type", "form", "zone", "nulls_max", "unique", "numbers")}
        first, _, rest = yamlfile.dump({name: rules}).rstrip("\n").partition("\n")
        lines += [f"  {first}  # {_plain(seen)}", *(f"  {line}" for line in rest.split("\n"))]
    return "\n".join([*head, *lines]) + "\n"


def _column(column: pa.ChunkedArray, name: str, times: Times | None, numerals: Numerals | None, listed: bool) -> Proposed:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = null_for_nan(column)
    rows = len(column)
    if times is not None:
        return _times(read(column, name, times), times, rows)
    if pa.types.is_temporal(column.type):
        return _times(column.cast(TIME, safe=False) if not pa.types.is_time(column.type) else column, None, rows)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = null_for_empty(column.cast(pa.string()))
        as_numbers = numbers(column)[0] if not listed else None
        if as_numbers is None or pc.any(pc.match_substring_regex(column, r"^\s*[+-]?0\d")).as_py():
            return _texts(column, rows, listed)
        column = as_numbers
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(column, numerals, rows)
    word = "boolean" if pa.types.is_boolean(kind) else "bytes" if pa.types.is_binary(kind) else "list" if pa.types.is_nested(kind) else None
    return Proposed({**({"type": word} if word else {}), **_nulls(column, rows)}, _missing(column, rows))


def _numbers(column: pa.ChunkedArray, numerals: Numerals | None, rows: int) -> Proposed:
    x = np.asarray(column.drop_null().cast(pa.float64()))
    x = x[np.isfinite(x)]
    whole = bool(len(x)) and bool((np.floor(x) == x).all())
    rules: dict[str, Any] = {"type": "integer" if whole else "number"}
    if numerals is not None:
        rules["numbers"] = {"decimal": numerals.decimal, "thousands": numerals.thousands}
    distinct = len(np.unique(x))
    if not len(x):
        return Proposed({**rules, **_nulls(column, rows)}, _missing(column, rows))
    unique = whole and distinct == len(x) and rows >= _FEW
    if whole and distinct <= 2 and rows >= _FEW and set(x.tolist()) <= {0.0, 1.0}:
        rules["values"] = sorted(int(v) for v in set(x.tolist()))
    elif not unique:
        bounds = widened(float(x.min()), float(x.max()))
        rules |= {k: int(v) if whole and float(v).is_integer() else v for k, v in bounds.items()}
    if unique:
        rules["unique"] = True
    seen = f"{float(x.min()):.10g} to {float(x.max()):.10g}; {distinct:,} different; {_missing(column, rows)}"
    return Proposed({**rules, **_nulls(column, rows)}, seen)


def _texts(column: pa.ChunkedArray, rows: int, listed: bool) -> Proposed:
    counts = column.drop_null().value_counts()
    values = counts.field("values").to_pylist()
    rules: dict[str, Any] = {"type": "text"}
    lengths = pc.utf8_length(column)
    longest = pc.max(lengths).as_py() or 0
    few = len(values) <= _VALUES and (listed or len(values) * _ROWS_A_VALUE <= rows)
    if few and values:
        rules["values"] = sorted(values)
    elif values:
        rules["length_max"] = 10 ** len(str(longest)) if longest * 2 > 10 ** len(str(longest)) else longest * 2
    if len(values) == rows - column.null_count and rows >= _FEW and not few and _unique(column):
        rules["unique"] = True
    common = max(counts.to_pylist(), key=lambda c: c["counts"]) if few and values else None
    seen = f"{counted(len(values), 'value')}, at most {counted(longest, 'character')}; {_missing(column, rows)}"
    if common:
        least = min(counts.to_pylist(), key=lambda c: c["counts"])
        seen += f"; most often {common['values'][:40]!r} ({percent(common['counts'] / rows)}), rarest {least['values'][:40]!r} ({counted(least['counts'], 'row')})"
    return Proposed({**rules, **_nulls(column, rows)}, seen)


def _unique(column: pa.ChunkedArray) -> bool:
    """Short texts that never repeat name their row; long ones are only long."""
    seen = Seen()
    seen.add([column], 0, np.asarray(pc.is_valid(column)))
    return not seen.repeats(0)[0] and (pc.mean(pc.utf8_length(column)).as_py() or 0) <= 40


def _times(column: pa.ChunkedArray, times: Times | None, rows: int) -> Proposed:
    rules: dict[str, Any] = {"type": "time"}
    if times is not None and times.form != "iso":
        rules["form"] = times.form
    if times is not None and times.zone != "UTC":
        rules["zone"] = times.zone
    least, most = pc.min(column).as_py(), pc.max(column).as_py()
    return Proposed({**rules, **_nulls(column, rows)}, f"{least} to {most}; {_missing(column, rows)}")


def _nulls(column: pa.ChunkedArray, rows: int) -> dict[str, Any]:
    share = column.null_count / max(rows, 1)
    return {"nulls_max": above(share) if share and math.isfinite(share) else 0}


def _missing(column: pa.ChunkedArray, rows: int) -> str:
    return f"{percent(column.null_count / max(rows, 1))} missing" if column.null_count else "none missing"


def _plain(text: str) -> str:
    return _COMMENT.sub(" ", text)
