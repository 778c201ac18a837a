"""From a source's Arrow columns to the dataset's: labels, texts, numbers. No torch."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.data import labelsets
from sluice.data.columns import MOSTLY_NUMBERS, looks_numeric, null_for_empty, null_for_nan, numbers
from sluice.data.spellings import texts_of
from sluice.problems.problem import DEFAULT, PROBLEMS, problem

if TYPE_CHECKING:
    from sluice.data.config import Columns

#: A numeric label with more distinct values than this is a quantity, not a class.
MOST_CLASSES = 20


def column(table: pa.Table, name: str, setting: str) -> pa.ChunkedArray:
    """A column by the name a setting gives, dictionaries decoded.

    Raises:
        DataError: it is not there; the nearest name is the fix.
    """
    if table.schema.get_field_index(name) < 0:  # no list of all names: that would be made for each of thousands of columns
        near = difflib.get_close_matches(name, table.column_names, 1, 0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError("no such column in the data", field=setting, value=name, fix=f"{hint}columns: {', '.join(table.column_names[:20])}")
    return decoded(table.column(name))


def decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without dictionary encoding and with plain strings."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or values.type == pa.string_view():
        values = values.cast(pa.string())
    return values


def is_number(kind: pa.DataType) -> bool:
    """Whether a column's type is of numbers or booleans."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))


def first(values: pa.ChunkedArray, mask: pa.ChunkedArray) -> tuple[int, Any]:
    """The first row where `mask` is true, and its value."""
    at = pc.index(pc.fill_null(mask, False), True).as_py()
    return at, values[at].as_py()


def numbers_in(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """For strings: true where one reads as a number; null where it is null or blank."""
    return looks_numeric(null_for_empty(pc.utf8_trim_whitespace(values)))


def mostly_numbers(values: pa.ChunkedArray) -> bool:
    """Whether nearly all of a column's strings are numbers; those that are not are then faults."""
    found, bad = numbers(values)
    return found.null_count < len(found) if found is not None else bad is not None and bad.share >= MOSTLY_NUMBERS


def to_float(values: pa.ChunkedArray, name: str, setting: str) -> pa.ChunkedArray:
    """float64; blank strings, what stands for a missing number (`MISSING_NUMBERS`) and NaN become null.

    Raises:
        DataError: text that is no number; the first row and its value are named.
    """
    if pa.types.is_string(values.type):
        found, bad = numbers(values)
        if found is None:
            assert bad is not None
            raise DataError(
                "is not a number",
                field=f"{setting} {name}, row {bad.row + 1}",
                value=bad.value,
                fix="mend the value, or name a column of numbers: data.columns.label"
                if setting == "label"
                else f"mend the value, or list {name} under data.columns.categorical or data.columns.ignore",
            )
        return found
    try:
        out = values.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise DataError(
            f"of type {values.type} cannot be read as numbers",
            field=f"{setting} {name}",
            fix=f"list {name} under data.columns.ignore, or store numbers",
        ) from e
    return null_for_nan(out)


def to_string(values: pa.ChunkedArray, name: str, setting: str) -> pa.ChunkedArray:
    """Strings: booleans and numbers in their one spelling (`sluice.core.spelling`), texts as they are; blank strings and NaN become null.

    Raises:
        DataError: an infinite number, or a type that has no text.
    """
    out = texts_of(values, f"{setting} {name}")
    blank = pc.equal(pc.utf8_trim_whitespace(out.unique()), "")  # of each different one
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(out), ""), None, out) if pc.any(blank).as_py() else out


def is_quantity(values: pa.ChunkedArray) -> bool:
    """Whether a label is a quantity: numbers that are not whole, or whole numbers with many values."""
    values = decoded(values)
    if pa.types.is_boolean(values.type):
        return False
    if pa.types.is_string(values.type):
        good = numbers_in(values)
        if good.null_count == len(good) or not pc.all(good).as_py():
            return False
    elif not is_number(values.type):
        return False
    number = to_float(values, "", "data.columns.label")
    if pc.any(pc.not_equal(number, pc.floor(number))).as_py():
        return True
    return bool(pc.count_distinct(number, mode="only_valid").as_py() > MOST_CLASSES)


def names(values: pa.ChunkedArray, name: str, separator: str | None) -> pa.ChunkedArray:
    """A column of lists of names, of such lists as texts, or of texts with a separator between them, as lists of strings: trimmed, each once, null where null.

    Raises:
        DataError: it is neither.
    """
    if pa.types.is_string(values.type) and separator is not None:
        lists = pc.split_pattern(values, separator)
    elif _lists_as_texts(values):
        lists = pa.chunked_array([pa.array([labelsets.listed(v) if v else None for v in values.to_pylist()], pa.list_(pa.string()))])
    elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        lists = values
    else:
        fix = "store lists of texts, or set data.columns.label_separator to what stands between them"
        raise DataError(f"of type {values.type} are no sets of labels", field=f"label {name}", fix=fix)
    found = [
        None if row is None else list(dict.fromkeys(v for v in (str(v).strip() for v in row if v is not None) if v))
        for row in lists.to_pylist()
    ]
    return pa.chunked_array([pa.array(found, pa.list_(pa.string()))])


def _lists_as_texts(values: pa.ChunkedArray) -> bool:
    """Whether a column's texts are lists, such as a CSV holds."""
    if not pa.types.is_string(values.type):
        return False
    first = next((v for v in values.to_pylist() if v), "")
    return labelsets.listed(first) is not None and labelsets.are_listed(values.unique().to_pylist())


def of_labels(table: pa.Table, columns: Columns) -> str:
    """The problem of a column of labels, by name: of sets of labels where it holds lists, also as texts, or a separator is set, else of one label a row."""
    values = column(table, columns.label, "data.columns.label")
    listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or _lists_as_texts(values)
    several = columns.label_separator is not None or listed
    return next(p for p in PROBLEMS.built_in if problem(p).independent) if several else DEFAULT


def label(table: pa.Table, name: str, objective: str, separator: str | None = None) -> pa.ChunkedArray:
    """The label column as the problem of that name has it: strings, float64 for a quantity, or lists of strings for a set.

    Raises:
        DataError: no such column, or values of another kind.
    """
    values = column(table, name, "data.columns.label")
    if problem(objective).independent:
        return names(values, name, separator)
    if not problem(objective).classes:
        return to_float(values, name, "label")
    texts = to_string(values, name, "label")
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        broken = pc.match_substring_regex(texts, r"[^0-9-]")
        if pc.any(broken).as_py():
            row, _ = first(texts, broken)
            raise DataError(
                "is not a category",
                field=f"label {name}, row {row + 1}",
                value=values[row].as_py(),
                fix="classes are texts or whole numbers; a quantity needs model.objective: regression",
            )
    return texts
