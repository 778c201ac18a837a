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
image ``brightness``, ``contrast``, ``pixels``, ``channel_0`` ...
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from sluice.core.errors import DataError
from sluice.core.spelling import Spelling
from sluice.data import timestamps
from sluice.data.columns import is_blank
from sluice.data.dataset import Dataset
from sluice.data.images import thumbnails
from sluice.fields import timeparts
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import MISSING, Zone
from sluice.stats.drift import category_counts, numeric_counts, quantile_edges

FORMAT = "sluice.profile/v1"
BINS = 10
#: Values of a categorical column that have a bin of their own.
TOP = 50
#: Bins that words are hashed into (crc32): enough to see a vocabulary move, whatever its size.
BUCKETS = 256
#: Images looked at: those with the smallest row ids, a uniform sample that is always the same.
SAMPLE = 10_000

_PIXEL_EDGES = [float(e) for e in range(16, 256, 16)]
_WORD_BREAK = r"[^\p{L}\p{N}]+"
_BATCH = 1 << 14
_BATCH_IMAGES = 512


def profile_dataset(dataset: Dataset, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The profile of a dataset's training rows; equal rows give an equal profile.

    Args:
        dataset: the dataset.
        kinds: feature -> kind; null: the dataset's own. Features of other kinds than ``numeric``,
            ``categorical``, ``timestamp``, ``text`` and ``image`` have no parts.
    """
    kinds = dict(dataset.columns if kinds is None else kinds)
    features = {
        name: _REFERENCE[kind](dataset, name) if kind in _REFERENCE else {"kind": kind, "parts": {}} for name, kind in kinds.items()
    }
    labels = dataset.read("train", ["label"]).column("label")
    if dataset.objective == "regression":
        values = labels.to_numpy()
        label = {**_moments(values), **_numeric_part(values)}
    else:
        counts = category_counts(_value_counts([labels]), dataset.labels)
        label = _part({"values": dataset.labels}, counts)
    return {"format": FORMAT, "rows": len(labels), "objective": dataset.objective, "label": label, "features": features}


def profile_counts(
    profile: Mapping[str, Any], rows: pa.Table | pa.RecordBatch | Sequence[Any], labels: Sequence[Any] | None = None
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
        values = _column(rows, name, reference["kind"], only=len(profile["features"]) == 1)
        features[name] = {k: c.tolist() for k, c in _counts(reference, values).items()}
    label = None
    if labels is not None:
        spec = profile["label"]
        label = (numeric_counts(_numbers(labels), spec["edges"]) if "edges" in spec else category_counts(labels, spec["values"])).tolist()
    return {"rows": rows.num_rows if isinstance(rows, pa.Table | pa.RecordBatch) else len(rows), "features": features, "label": label}


def _numeric(dataset: Dataset, name: str) -> dict[str, Any]:
    column = dataset.read("train", [name]).column(name)
    values = column.cast(pa.float64()).to_numpy()
    return {
        "kind": "numeric",
        "rows": len(values),
        "nulls": int(np.isnan(values).sum()),
        **_moments(values),
        "parts": {"value": _numeric_part(values)},
    }


def _categorical(dataset: Dataset, name: str) -> dict[str, Any]:
    seen = _value_counts(b.column(0) for b in dataset.batches("train", [name], 1 << 16))
    known = {v: n for v, n in seen.items() if v not in (None, "")}
    top = sorted(known, key=lambda v: (-known[v], v))[:TOP]
    rows = sum(seen.values())
    return {
        "kind": "categorical",
        "rows": rows,
        "nulls": rows - sum(known.values()),
        "distinct": len(known),
        "parts": {"value": _part({"values": top}, category_counts(seen, top))},
    }


def _text(dataset: Dataset, name: str) -> dict[str, Any]:
    lengths: dict[str, list[NDArray[np.float64]]] = {"characters": [], "words": []}
    tokens = np.zeros(BUCKETS, np.int64)
    for batch in dataset.batches("train", [name], _BATCH):
        for part, found in _text_lengths(batch.column(0)).items():
            lengths[part].append(found)
        tokens += _token_counts(batch.column(0))
    parts = {part: _numeric_part(np.concatenate(found)) for part, found in lengths.items()}
    rows, nulls = dataset.rows("train"), parts["characters"]["counts"][-1]
    return {"kind": "text", "rows": rows, "nulls": nulls, "parts": {**parts, "tokens": _part({"buckets": BUCKETS}, tokens)}}


def _image(dataset: Dataset, name: str) -> dict[str, Any]:
    found = [_image_values(images, None) for images in _sampled(dataset, name)]
    grey = all(f["grey"].all() for f in found)
    channels = 1 if grey else 3
    values = {k: np.concatenate([f[k] for f in found]) for k in ("brightness", "contrast", "pixels")}
    parts = {k: _numeric_part(v) for k, v in values.items()}
    for c in range(channels):
        parts[f"channel_{c}"] = _part(
            {"edges": _PIXEL_EDGES}, sum((f["histograms"][c] for f in found), np.zeros(len(_PIXEL_EDGES) + 2, np.int64))
        )
    rows = len(values["brightness"])
    return {
        "kind": "image",
        "rows": rows,
        "nulls": parts["brightness"]["counts"][-1],
        "channels": channels,
        "mean": _round(np.nanmean(values["brightness"])) if rows else None,
        "std": _round(np.nanmean(values["contrast"])) if rows else None,
        "parts": parts,
    }


def _timestamp(dataset: Dataset, name: str) -> dict[str, Any]:
    wall = timestamps.wall_clock(dataset.read("train", [name]).column(name))
    times, known = dataset.times[name], wall[wall != MISSING]
    cycles = [p for p in timeparts.parts_of(known, times.reader.dated) if p in timeparts.CYCLES]
    parts = {
        p: _part(
            {"values": (found := sorted({str(v) for v in timeparts.whole(known, p).tolist()}, key=int))}, _cycle_counts(wall, p, found)
        )
        for p in cycles
    }
    ends = {"min": timestamps.iso(int(known.min())), "max": timestamps.iso(int(known.max()))} if len(known) else {"min": None, "max": None}
    return {
        "kind": "timestamp",
        "rows": len(wall),
        "nulls": int((wall == MISSING).sum()),
        "form": times.form,
        "zone": times.reader.zone.spec(),
        **ends,
        "parts": parts,
    }


def _cycle_counts(wall: NDArray[np.int64], part: str, values: Sequence[str]) -> NDArray[np.int64]:
    """Rows of each value of a part, then those of others, then those without a time."""
    known = wall[wall != MISSING]
    seen = Counter(map(str, timeparts.whole(known, part).tolist()))
    return category_counts({**seen, "": len(wall) - len(known)}, list(values))


_REFERENCE = {"numeric": _numeric, "timestamp": _timestamp, "categorical": _categorical, "text": _text, "image": _image}


def _counts(reference: Mapping[str, Any], values: list[Any]) -> dict[str, NDArray[np.int64]]:
    parts, kind = reference["parts"], reference["kind"]
    if kind == "numeric":
        return {"value": numeric_counts(_numbers(values), parts["value"]["edges"])}
    if kind == "categorical":
        spelling = Spelling.kept(parts["value"]["values"])
        return {"value": category_counts([v if isinstance(v, str) else _category(v, spelling) for v in values], parts["value"]["values"])}
    if kind == "timestamp":
        reader = TimeForm(reference["form"], Zone.load(reference["zone"], "profile"))
        wall = reader.read(values, len(values), "", strict=False)
        return {p: _cycle_counts(wall, p, part["values"]) for p, part in parts.items()}
    if kind == "text":
        texts = pa.array([v if isinstance(v, str) else None for v in values], pa.string())
        lengths = _text_lengths(texts)
        return {**{k: numeric_counts(v, parts[k]["edges"]) for k, v in lengths.items()}, "tokens": _token_counts(texts)}
    if kind == "image":
        found = [_image_values(values[i : i + _BATCH_IMAGES], reference["channels"]) for i in range(0, len(values), _BATCH_IMAGES)]
        out = {
            k: numeric_counts(np.concatenate([np.empty(0), *(f[k] for f in found)]), parts[k]["edges"])
            for k in ("brightness", "contrast", "pixels")
        }
        for c in range(reference["channels"]):
            out[f"channel_{c}"] = sum((f["histograms"][c] for f in found), np.zeros(len(_PIXEL_EDGES) + 2, np.int64))
        return out
    return {}


def _category(value: Any, spelling: Spelling) -> str:
    """A typed value as the reference spells it."""
    try:
        return spelling.text(value)
    except ValueError:
        return str(value)


def _column(rows: Any, name: str, kind: str, only: bool) -> list[Any]:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.column(name).to_pylist() if name in rows.schema.names else [None] * rows.num_rows
    if only and kind in ("text", "image"):
        return [r.get(name) if isinstance(r, Mapping) else r for r in rows]
    return [r.get(name) if isinstance(r, Mapping) else None for r in rows]


def _text_lengths(texts: pa.Array) -> dict[str, NDArray[np.float64]]:
    """Characters and words of each text, NaN where it is null."""
    words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts)))
    words = pc.if_else(is_blank(texts), pa.scalar(0, words.type), words)
    return {"characters": _floats(pc.utf8_length(texts)), "words": _floats(words)}


def _token_counts(texts: pa.Array) -> NDArray[np.int64]:
    """How many words fall into each bucket, shape [BUCKETS]."""
    out = np.zeros(BUCKETS, np.int64)
    words = pc.split_pattern_regex(pc.utf8_lower(texts.drop_null()), _WORD_BREAK).flatten().value_counts()
    for word, n in zip(words.field("values").to_pylist(), words.field("counts").to_pylist(), strict=True):
        if word:
            out[zlib.crc32(word.encode()) % BUCKETS] += n
    return out


def _image_values(images: list[Any], channels: int | None) -> dict[str, Any]:
    """Per image brightness, contrast (mean and standard deviation of its thumbnail, 0..255) and pixels; NaN where it cannot be read."""
    found = thumbnails(images, channels)
    brightness, contrast, pixels = (np.full(len(images), np.nan) for _ in range(3))
    grey = np.ones(len(images), bool)
    histograms = np.zeros((3, len(_PIXEL_EDGES) + 2), np.int64)
    for i, thumb in enumerate(found):
        if thumb is None:
            histograms[:, -1] += 1
            continue
        x = thumb.values
        brightness[i], contrast[i] = round(float(x.mean()), 6), round(float(x.std()), 6)
        pixels[i], grey[i] = thumb.pixels, thumb.grey
        for c in range(len(x)):
            histograms[c, :-1] += np.bincount(x[c].ravel() >> 4, minlength=len(_PIXEL_EDGES) + 1)
    return {"brightness": brightness, "contrast": contrast, "pixels": pixels, "grey": grey, "histograms": histograms}


def _sampled(dataset: Dataset, name: str) -> Iterator[list[Any]]:
    ids = np.sort(np.asarray(dataset.read("train", ["row_id"]).column("row_id").to_numpy(), dtype="S16"))
    last = ids[min(SAMPLE, len(ids)) - 1].decode()
    left = SAMPLE
    for batch in dataset.batches("train", ["row_id", name], _BATCH_IMAGES):
        images = batch.filter(pc.less_equal(batch.column(0), pa.scalar(last))).column(1).to_pylist()[:left]
        left -= len(images)
        yield images


def _value_counts(columns: Iterable[Any]) -> Counter[Any]:
    out: Counter[Any] = Counter()
    for column in columns:
        found = column.value_counts()
        out.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    return out


def _numeric_part(values: ArrayLike) -> dict[str, Any]:
    edges = quantile_edges(values, BINS)
    return _part({"edges": edges.tolist()}, numeric_counts(values, edges))


def _part(bins: dict[str, Any], counts: NDArray[np.int64]) -> dict[str, Any]:
    total = int(counts.sum())
    return {**bins, "counts": counts.tolist(), "fractions": [round(int(n) / total, 9) if total else 0.0 for n in counts]}


def _moments(values: NDArray[np.float64]) -> dict[str, Any]:
    """Rounded, so that the order in which a sum was taken can never show."""
    x = values[np.isfinite(values)]
    if not len(x):
        return {"mean": None, "std": None, "min": None, "max": None}
    return {"mean": _round(x.mean()), "std": _round(x.std()), "min": float(x.min()), "max": float(x.max())}


def _round(value: float) -> float:
    return float(f"{value:.9g}")


def _floats(column: pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([_number(v) for v in values])


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
