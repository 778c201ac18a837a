"""What is in encoded pictures: size and mode without a model, and thumbnails whose brightness and colours can be compared."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import InputError, MissingExtra
from sluice.core.processes import cpu_quota
from sluice.fields.image import LIMIT_PIXELS, ImageProcessor, reason, unreadable
from sluice.fields.parts import Rows, numeric_part, part, rounded
from sluice.stats.drift import numeric_counts

#: Images looked at: those with the smallest row ids, a uniform sample that is always the same.
SAMPLE = 10_000
_BATCH = 512
_EDGES = [float(e) for e in range(16, 256, 16)]
_MEASURES = ("brightness", "contrast", "pixels")

_THUMBNAIL = (32, 32)
_GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"})


@dataclasses.dataclass(frozen=True)
class Probe:
    """What an image's bytes hold. `error` says why they are no image; sizes are 0 then."""

    width: int = 0
    height: int = 0
    mode: str = ""
    error: str | None = None


def probe(images: Iterable[bytes | None]) -> list[Probe]:
    """Decode each image wholly, a thread a CPU. Null is an image with the error "is missing"."""
    try:
        import PIL.Image  # noqa: F401 - found out before any thread is started
    except ImportError as e:
        raise MissingExtra("checking images needs Pillow", field="data.source", fix="pip install 'sluice-ml[train]'") from e
    with ThreadPoolExecutor(cpu_quota()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd files; the limits and errors here are our own
        return list(pool.map(_probe, images))


def _probe(data: Any, decode: bool = True) -> Probe:
    from PIL import Image

    if not isinstance(data, bytes):
        return Probe(error="is missing")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height > LIMIT_PIXELS:
                return Probe(error=f"has {width}x{height} pixels, more than {LIMIT_PIXELS}")
            if decode:
                picture.load()
            return Probe(width, height, picture.mode)
    except unreadable() as e:
        return Probe(error=reason(e))


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """An image as a model would see it, made small: `values` is UINT8 [channels, 32, 32]; `pixels` and `grey` are the image's own."""

    values: np.ndarray
    pixels: int
    grey: bool


def thumbnails(images: Iterable[Any], channels: int | None) -> list[Thumbnail | None]:
    """Each image at one small size, a thread a CPU; null where it cannot be read.

    Args:
        images: encoded images.
        channels: 1 or 3; null: 1 for a grey image, else 3.
    """
    processors = {c: ImageProcessor(c, _THUMBNAIL) for c in (1, 3)}

    def one(data: Any) -> Thumbnail | None:
        seen = _probe(data, decode=False)
        if seen.error is not None:
            return None
        grey = seen.mode in _GREY
        try:
            values = processors[channels or (1 if grey else 3)].encode([data])[0]["image"]
        except InputError:
            return None
        return Thumbnail(values, seen.width * seen.height, grey)

    with ThreadPoolExecutor(cpu_quota()) as pool:
        return list(pool.map(one, images))


def reference(rows: Rows, name: str) -> dict[str, Any]:
    """A column of encoded images in bins: ``rows``, ``nulls``, ``channels``, ``mean``, ``std`` and ``parts``."""
    found = [_measured(images, None) for images in _sampled(rows, name)]
    channels = 1 if all(f["grey"].all() for f in found) else 3
    values = {k: np.concatenate([f[k] for f in found]) for k in _MEASURES}
    parts = {k: numeric_part(v) for k, v in values.items()}
    for c in range(channels):
        parts[f"channel_{c}"] = part({"edges": _EDGES}, _histogram(found, c))
    total = len(values["brightness"])
    return {
        "rows": total,
        "nulls": parts["brightness"]["counts"][-1],
        "channels": channels,
        "mean": rounded(np.nanmean(values["brightness"])) if total else None,
        "std": rounded(np.nanmean(values["contrast"])) if total else None,
        "parts": parts,
    }


def counts(reference: Mapping[str, Any], images: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
    """Images in a reference's bins, by part."""
    found = [_measured(images[i : i + _BATCH], reference["channels"]) for i in range(0, len(images), _BATCH)]
    out = {k: numeric_counts(np.concatenate([np.empty(0), *(f[k] for f in found)]), reference["parts"][k]["edges"]) for k in _MEASURES}
    return {**out, **{f"channel_{c}": _histogram(found, c) for c in range(reference["channels"])}}


def _histogram(found: Sequence[Mapping[str, Any]], channel: int) -> NDArray[np.int64]:
    return np.asarray(sum((f["histograms"][channel] for f in found), np.zeros(len(_EDGES) + 2, np.int64)))


def _measured(images: Sequence[Any], channels: int | None) -> dict[str, Any]:
    """Per image brightness, contrast (mean and standard deviation of its thumbnail, 0..255) and pixels; NaN where it cannot be read."""
    brightness, contrast, pixels = (np.full(len(images), np.nan) for _ in range(3))
    grey = np.ones(len(images), bool)
    histograms = np.zeros((3, len(_EDGES) + 2), np.int64)
    for i, thumb in enumerate(thumbnails(images, channels)):
        if thumb is None:
            histograms[:, -1] += 1
            continue
        x = thumb.values
        brightness[i], contrast[i] = round(float(x.mean()), 6), round(float(x.std()), 6)
        pixels[i], grey[i] = thumb.pixels, thumb.grey
        for c in range(len(x)):
            histograms[c, :-1] += np.bincount(x[c].ravel() >> 4, minlength=len(_EDGES) + 1)
    return {"brightness": brightness, "contrast": contrast, "pixels": pixels, "grey": grey, "histograms": histograms}


def _sampled(rows: Rows, name: str) -> Iterator[list[Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = np.sort(np.asarray(rows.read("train", ["row_id"]).column("row_id").to_numpy(), dtype="S16"))
    last = ids[min(SAMPLE, len(ids)) - 1].decode()
    left = SAMPLE
    for batch in rows.batches("train", ["row_id", name], _BATCH):
        images = batch.filter(pc.less_equal(batch.column(0), pa.scalar(last))).column(1).to_pylist()[:left]
        left -= len(images)
        yield images
