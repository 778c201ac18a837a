"""What may be written as a dataset: names, and tables with the columns that it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import pyarrow as pa

from sluice.core.errors import DataError, ProjectError
from sluice.fields import FIELDS, Field, field_of
from sluice.problems.problem import problem
from sluice.problems.units import GROUP

SPLITS = ("train", "validation", "test")
#: What no feature can be called.
RESERVED = ("row_id", "label", GROUP)


def check_names(splits: Collection[str], objective: str, labels: list[str], columns: Mapping[str, str]) -> None:
    """Raises `DataError` for splits, an objective, labels or features that no dataset can have."""
    for split in splits:
        if split not in SPLITS:
            raise DataError("is not the name of a split", field="splits", value=split, fix=f"use {', '.join(SPLITS)}")
    if "train" not in splits:
        raise DataError("has no training rows", field="splits", value=list(splits))
    try:
        problem(objective, field="objective").check_labels(labels)
    except ProjectError as e:
        raise DataError("is not an objective", field="objective", value=objective, fix=e.fix) from e
    except ValueError as e:
        raise DataError(str(e), field="labels", value=labels) from e
    if not columns:
        raise DataError("names no feature", field="columns", value=dict(columns))
    for name in RESERVED:
        if name in columns:
            raise DataError("is a name the dataset uses itself", field="columns", value=name, fix="rename the feature")


def checked(
    table: pa.Table, split: str, ours: bool, objective: str, labels: list[str], columns: Mapping[str, str], more: list[str]
) -> pa.Table:
    """The table with its columns in the dataset's order, or the `DataError` that names what is wrong with it. `ours`: whether the kinds of features are."""
    names = ["row_id", *columns, "label", *more]
    there = Counter(table.schema.names)
    for name in names:
        if there[name] != 1:
            raise DataError(f"column stands {there[name]} times", field=f"{split}.{name}", value=table.schema.names)
    known = set(names)
    extra = [n for n in there if n not in known]
    if extra:
        raise DataError(
            "is not one of the dataset's columns", field=f"{split}.{extra[0]}", value=names, fix="drop it, or name it a feature"
        )
    types = {"row_id": pa.string(), "label": field_of(problem(objective).label, "label").arrow or table.schema.field("label").type}
    if ours:
        for name, kind in columns.items():
            field = field_of(kind, name)
            if type(field) is Field:
                raise DataError("is not a kind of feature", field=f"columns.{name}", value=kind, fix=f"use {', '.join(FIELDS.names())}")
            types[name] = field.arrow or table.schema.field(name).type
    for name, expected in types.items():
        found = table.schema.field(name).type
        stored = found.value_type if pa.types.is_dictionary(found) else found
        if not _same(stored, expected):
            raise DataError(
                f"is {found}, must be {expected}", field=f"{split}.{name}", value=str(found), fix="the task's canonical() casts it"
            )
    for name in ("row_id", "label"):
        if table.column(name).null_count:
            raise DataError("holds nulls", field=f"{split}.{name}", value=table.column(name).null_count, fix="drop those rows first")
    unknown = problem(objective).unknown(table.column("label"), labels)
    if unknown is not None:
        raise DataError("is not one of the dataset's labels", field=f"{split}.label", value=unknown)
    return table.select(names)


def _same(found: pa.DataType, expected: pa.DataType) -> bool:
    variants = {pa.string(): (pa.large_string(), pa.string_view()), pa.binary(): (pa.large_binary(), pa.binary_view())}
    return bool(found == expected or found in variants.get(expected, ()))
