"""The reference profile of the training rows, and new rows counted into its bins.

Drift is a distance between two counts over the same bins, and the bins are the reference's: here
they are taken once, so that a monitor only counts. Bins and counts have the layout of
`sluice.stats.drift`: intervals or values first, then what the reference did not know (categories
only), then what is missing.

``profile.json``::

    {"format", "rows", "objective", "label": PART,
     "features": {name: {"kind", "rows", "nulls", ... , "parts": {part: PART}}}}
    PART = {"edges": [...]} | {"values": [...]} | {"buckets": 256}  with  "counts", "fractions"

Parts: timestamp ``month``, ``weekday``, ``hour`` where they vary (years and ages always move: they are no drift); numeric and categorical ``value``; text ``characters``, ``words``, ``tokens`` (hashed words);
image ``brightness``, ``contrast``, ``pixels``, ``channel_0`` ... Of texts, images and recordings ``vectors`` beside the parts: what whole rows are like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.dataset import Dataset
from sluice.data.together import Together
from sluice.fields import Field, field_of, fields_of
from sluice.fields.parts import Rows, moments, numbers, numeric_part, part, tally, value_counts
from sluice.stats.drift import category_counts, numeric_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluice.problems.problem import Problem

FORMAT = "sluice.profile/v1"
#: The kind of a feature of which a profile says nothing.
HIDDEN = "sensitive"
#: Rows whose vectors are kept, evenly spaced; rows that are read at a time for that.
_VECTORS, _BATCH = 2000, 512


def profile_dataset(dataset: Dataset, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The profile of a dataset's training rows; equal rows give an equal profile.

    Args:
        dataset: the dataset.
        kinds: feature -> kind; null: the dataset's own.
    """
    fields = fields_of(dataset.columns if kinds is None else kinds)
    hidden = {name: {"kind": HIDDEN, "parts": {}} for name in dataset.sensitive}  # a field of no known kind: neither counted nor drawn
    rows = Together(dataset, (name for name in fields if name not in hidden))
    features = {name: hidden[name] if name in hidden else field.reference(rows) for name, field in fields.items()}
    for name, field in fields.items():
        if name not in hidden:
            features[name] |= whole_rows(field, dataset)
    label_field = field_of(dataset.problem.label, "label")
    stream = (b.column(0) for b in dataset.batches("train", ["label"], 1 << 16))
    if label_field.category:
        label = part({"values": dataset.labels}, category_counts(value_counts(stream), dataset.labels))
    elif label_field.quantity:
        found = tally(stream)
        label = {**moments(found), **numeric_part(found)}
    else:
        labels = dataset.read("train", ["label"]).column("label")
        values = label_values(dataset.problem, labels)
        if isinstance(values, np.ndarray):
            label = {**moments(values), **numeric_part(values)}
        else:
            label = part({"values": dataset.labels}, category_counts(value_counts([labels]), dataset.labels))
    return {"format": FORMAT, "rows": dataset.rows("train"), "objective": dataset.objective, "label": label, "features": features}


def whole_rows(field: Field, rows: Rows) -> dict[str, Any]:
    """``vectors``: what `Field.vectors` says of a sample of the training rows, as `sluice.stats.mmd` keeps it; nothing of a field that says nothing."""
    from sluice.stats import mmd

    if field.vectors([]) is None:
        return {}
    each, at, taken = max(1, -(-rows.rows("train") // _VECTORS)), 0, []
    for batch in rows.batches("train", [field.name], _BATCH):
        some = list(range(-at % each, batch.num_rows, each))
        at += batch.num_rows
        if some:
            found = field.vectors(batch.column(0).take(pa.array(some)).to_pylist())
            taken.append(np.asarray(found))
    kept = mmd.reference(np.concatenate(taken)) if taken else None
    return {} if kept is None else {"vectors": kept}


def label_values(asked: Problem, column: pa.ChunkedArray) -> NDArray[np.float64] | list[Any] | None:
    """What a profile counts of true answers: names, or one number a row; None of a column that does not hold such answers.

    Args:
        asked: the problem. column: its true answers.
    """
    field = field_of(asked.label, "label")
    if field.category or field.quantity:
        return column.to_pylist() if field.category else numbers(column.to_pylist())
    return field.watched(column) if field.arrow is None or column.type == field.arrow else None


def profile_counts(
    profile: Mapping[str, Any], rows: pa.Table | pa.RecordBatch | Sequence[Any], labels: Sequence[Any] | NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Count new rows into a profile's bins.

    Args:
        profile: from `profile_dataset`.
        rows: a table with the features' columns, or raw rows as a model server takes them (texts,
            encoded images, or dicts from column to value). What is absent, or cannot be read, is missing.
        labels: true or predicted labels (class names, or numbers for regression), if known.

    Returns:
        ``{"rows": n, "features": {name: {part: counts}}, "label": counts or null}``, each list of counts as
        long as the reference's.

    Raises:
        DataError: not a profile of this version.
    """
    if profile.get("format") != FORMAT:
        raise DataError(f"format is not {FORMAT}", field="profile", value=profile.get("format"), fix="train again with this version")
    features: dict[str, Any] = {}
    for name, reference in profile["features"].items():
        field = field_of(reference["kind"], name)
        values = _column(rows, field, only=len(profile["features"]) == 1)
        features[name] = {k: c.tolist() for k, c in field.counts(reference, values).items()}
    label = None
    if labels is not None:
        spec, told = profile["label"], labels.tolist() if isinstance(labels, np.ndarray) else labels
        label = (numeric_counts(numbers(told), spec["edges"]) if "edges" in spec else category_counts(told, spec["values"])).tolist()
    return {"rows": rows.num_rows if isinstance(rows, pa.Table | pa.RecordBatch) else len(rows), "features": features, "label": label}


def _column(rows: Any, field: Field, only: bool) -> list[Any]:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.column(field.name).to_pylist() if field.name in rows.schema.names else [None] * rows.num_rows
    plain = only and field.processor() is not None
    return [r.get(field.name) if isinstance(r, Mapping) else r if plain else None for r in rows]
