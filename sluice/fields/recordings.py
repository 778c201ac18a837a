"""What is in encoded recordings without a model: rate, length, loudness and how high they sound."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sluice.core.processes import cpu_quota
from sluice.fields.parts import numeric_part
from sluice.stats.drift import numeric_counts

if TYPE_CHECKING:
    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells

#: Recordings that a reference is taken of: those with the smallest row ids.
SAMPLE = 5_000
#: Below this largest sample a recording is silent: less than one step of 16 bits.
SILENT = 1 / 2**15
_MEASURES = ("seconds", "loudness", "centroid")
#: Rows that are read at once.
_BATCH = 512
#: Seconds of a recording that are measured.
_MEASURED = 10


@dataclasses.dataclass(frozen=True)
class Recording:
    """What a recording's bytes hold. `error` says why they are none; all else is 0 then.

    Attributes:
        rate: samples a second.
        seconds: how long it is.
        loudness: root mean square in decibels below full scale; -120 for silence.
        centroid: mean frequency in hertz, weighed by power.
        silent: whether there is nothing to hear.
    """

    rate: int = 0
    seconds: float = 0.0
    loudness: float = 0.0
    centroid: float = 0.0
    silent: bool = False
    error: str | None = None


def probe(recordings: Iterable[Any]) -> list[Recording]:
    """Decode each recording, a thread a CPU. Null has the error "is missing"."""
    with ThreadPoolExecutor(cpu_quota()) as pool:
        return list(pool.map(_probe, recordings))


def _probe(data: Any) -> Recording:
    from sluice.fields.audio import read

    if not isinstance(data, bytes):
        return Recording(error="is missing")
    try:
        rate, wave = read(data)
    except ValueError as e:
        return Recording(error=str(e))
    if not np.isfinite(wave).all():
        return Recording(error="it holds samples that are no numbers")
    heard = wave[: _MEASURED * rate].astype(np.float64)
    power = np.abs(np.fft.rfft(heard - heard.mean())) ** 2
    centroid = float((power * np.fft.rfftfreq(len(heard), 1 / rate)).sum() / power.sum()) if power.sum() > 0 else 0.0
    loudness = float(10 * np.log10(max(float((heard * heard).mean()), 1e-12)))
    silent = bool(np.abs(wave - wave.mean()).max() < SILENT)
    return Recording(rate, round(len(wave) / rate, 6), round(loudness, 3), round(centroid, 1), silent)


def summary(cells: Cells) -> dict[str, Any]:
    """``unreadable``, ``silent``, the rates as ``top``, moments and a histogram of seconds, moments of loudness; nothing where a value is no file's bytes."""
    import pyarrow as pa

    from sluice.fields.summaries import TOP, histogram, moments

    if not pa.types.is_binary(cells.type):
        return {}
    good = [r for r in cells.recordings if r.error is None]
    out: dict[str, Any] = {
        "distinct": cells.distinct,
        "unreadable": len(cells.recordings) - len(good),
        "silent": sum(r.silent for r in good),
        "top": [{"value": f"{rate} Hz", "count": n} for rate, n in Counter(r.rate for r in good).most_common(TOP)],
    }
    if good:
        seconds = np.sort([r.seconds for r in good])
        out |= {
            "seconds": moments(seconds),
            "loudness": moments(np.sort([r.loudness for r in good])),
            "length_histogram": histogram(seconds),
        }
    return out


def reference(rows: Rows, name: str) -> dict[str, Any]:
    """A column of encoded recordings in bins: ``rows``, ``nulls`` and ``parts``; no parts where a value is no file's bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = np.sort(np.asarray(rows.read("train", ["row_id"]).column("row_id").to_numpy(), dtype="S16"))
    last, some = ids[min(SAMPLE, len(ids)) - 1].decode(), []
    for batch in rows.batches("train", ["row_id", name], _BATCH):
        if not pa.types.is_binary(batch.column(1).type):
            return {"parts": {}}
        some.append(batch.filter(pc.less_equal(batch.column(0), pa.scalar(last))))
    sampled = pa.Table.from_batches(some).sort_by("row_id").slice(0, SAMPLE).column(name).to_pylist()
    parts = {k: numeric_part(v) for k, v in _measured(sampled).items()}
    return {"rows": len(sampled), "nulls": parts["seconds"]["counts"][-1], "parts": parts}


def counts(reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
    """Recordings in a reference's bins, by part."""
    if not reference["parts"]:
        return {}
    return {k: numeric_counts(v, reference["parts"][k]["edges"]) for k, v in _measured(values).items()}


def _measured(values: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Each measure of each recording, float64 [rows], NaN where it cannot be read."""
    found = probe(values)
    return {k: np.array([np.nan if r.error is not None else getattr(r, k) for r in found], dtype=np.float64) for k in _MEASURES}
