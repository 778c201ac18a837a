"""A dataset's columns as the matrix a linear model reads: one block a kind of field.

What is learnt (medians, scales, categories, vocabularies) is learnt from the training rows alone. The blocks do
what scikit-learn's SimpleImputer, StandardScaler, OneHotEncoder and TfidfVectorizer do with their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.fields import Field, Processor, TabularProcessor, fields_of
from sluice.fields.timeparts import TimeColumn
from sluice.fields.timestamp import wall_clock

#: Categories of a column that get an indicator of their own, the most frequent first.
MOST_CATEGORIES = 2000
#: n-grams of each of the two vocabularies (words, characters), the most frequent first.
MOST_GRAMS = 30_000
#: Numbers a tensor is brought down to.
MOST_PIXELS = 1024
_LARGEST = 1e100  # squares of larger numbers overflow
_ROWS = 256  # of tensors at a time
_BANDS, _PARTS = 32, 16

#: [rows, k]: float64, or a scipy CSR matrix.
Matrix = Any


class Block(Protocol):
    """One column's way to numbers."""

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; their matrix [rows, k]."""

    def transform(self, table: pa.Table) -> Matrix:
        """The matrix of other rows, as many columns."""


class Numbers(Block):
    """The median in place of what is missing, a flag where anything was, mean 0 and deviation 1; a column that does not vary is left out."""

    def __init__(self, name: str):
        self.name = name

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; returns their numbers, [rows, features]."""
        x = self._values(table)
        missing = np.isnan(x)
        self.flag = bool(missing.any())
        self.fill = float(np.median(x[~missing])) if not missing.all() else 0.0
        wide = self._filled(x)
        self.mean, self.scale = wide.mean(axis=0), wide.std(axis=0)
        self.kept = self.scale > 1e-12 * np.maximum(np.abs(self.mean), 1e-300)
        return self._scaled(wide)

    def transform(self, table: pa.Table) -> Matrix:
        """Numbers of other rows, [rows, features], as the training rows set them."""
        return self._scaled(self._filled(self._values(table)))

    def _values(self, table: pa.Table) -> np.ndarray:
        x = pc.cast(table.column(self.name), pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        return np.where(np.isfinite(x), np.clip(x, -_LARGEST, _LARGEST), np.nan)

    def _filled(self, x: np.ndarray) -> np.ndarray:
        missing = np.isnan(x)
        filled = np.where(missing, self.fill, x)
        return np.stack([filled, missing], axis=1).astype(np.float64) if self.flag else filled[:, None]

    def _scaled(self, wide: np.ndarray) -> np.ndarray:
        return np.asarray((wide - self.mean)[:, self.kept] / self.scale[self.kept])


class Categories(Block):
    """An indicator a category, missing being one of them; what the training rows did not hold has none."""

    def __init__(self, name: str):
        self.name = name

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; returns their numbers, [rows, features]."""
        counted = table.column(self.name).cast(pa.string()).value_counts()
        pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
        kept = sorted(pairs, key=lambda p: (-p[1], p[0] or ""))[:MOST_CATEGORIES]
        self.values = pa.array([v for v, _ in kept], pa.string())
        return self.transform(table)

    def transform(self, table: pa.Table) -> Matrix:
        """Numbers of other rows, [rows, features], as the training rows set them."""
        from scipy import sparse

        found = pc.index_in(table.column(self.name).cast(pa.string()), self.values)
        codes = (
            pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
            if isinstance(found, pa.ChunkedArray)
            else np.asarray(pc.fill_null(found, -1))
        )
        rows = np.flatnonzero(codes >= 0)
        return sparse.csr_matrix((np.ones(len(rows)), (rows, codes[rows])), shape=(table.num_rows, len(self.values)))


class Times(Block):
    """What the package makes of a column of times: its numbers as `Numbers`, its months, weekdays and hours as `Categories`."""

    def __init__(self, name: str, time: TimeColumn):
        self.name, self.time = name, time
        self.parts: list[Block] = [Categories(n) if datatype == "BYTES" else Numbers(n) for n, datatype in time.inputs(name)]

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; returns their numbers, [rows, features]."""
        made = self._table(table)
        return beside([p.fit(made) for p in self.parts], table.num_rows)

    def transform(self, table: pa.Table) -> Matrix:
        """Numbers of other rows, [rows, features], as the training rows set them."""
        made = self._table(table)
        return beside([p.transform(made) for p in self.parts], table.num_rows)

    def _table(self, table: pa.Table) -> pa.Table:
        return pa.table({n: v[:, 0] for n, v in self.time.tensors(wall_clock(table.column(self.name)), self.name).items()})


class Texts(Block):
    """TF-IDF of words and their pairs, and of one to four characters, which serve languages without spaces."""

    def __init__(self, name: str):
        self.name = name

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; returns their numbers, [rows, features]."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        least = 2 if table.num_rows >= 1000 else 1
        shared: dict[str, Any] = {"sublinear_tf": True, "min_df": least, "max_features": MOST_GRAMS, "dtype": np.float32}
        self.grams = [TfidfVectorizer(ngram_range=(1, 2), **shared), TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), **shared)]
        texts, parts, kept = self._texts(table), [], []
        for grams in self.grams:
            try:
                parts.append(grams.fit_transform(texts))
                kept.append(grams)
            except ValueError:  # "empty vocabulary": texts of punctuation have no words
                continue
        self.grams = kept
        return beside(parts, table.num_rows)

    def transform(self, table: pa.Table) -> Matrix:
        """Numbers of other rows, [rows, features], as the training rows set them."""
        texts = self._texts(table)
        return beside([grams.transform(texts) for grams in self.grams], table.num_rows)

    def _texts(self, table: pa.Table) -> list[str]:
        return [t or "" for t in table.column(self.name).cast(pa.string()).to_pylist()]


class Tensors(Block):
    """What the package's own pre-processing makes of a row (pixels, samples, a plug-in's tensors), brought down to a bounded size."""

    def __init__(self, processor: Processor):
        self.processor = processor

    def fit(self, table: pa.Table) -> Matrix:
        """Learn from the training rows; returns their numbers, [rows, features]."""
        wide = self._numbers(table)
        self.mean, self.scale = wide.mean(axis=0), wide.std(axis=0)
        self.kept = self.scale > 1e-9 * np.maximum(np.abs(self.mean), 1e-9)
        return self._scaled(wide)

    def transform(self, table: pa.Table) -> Matrix:
        """Numbers of other rows, [rows, features], as the training rows set them."""
        return self._scaled(self._numbers(table))

    def _scaled(self, wide: np.ndarray) -> np.ndarray:
        # What never varied in training is left out; pixels at the edge that rarely do are not blown up.
        return np.asarray((wide - self.mean)[:, self.kept] / self.scale[self.kept]).clip(-20, 20)

    def _numbers(self, table: pa.Table) -> np.ndarray:
        if self.processor.value is not None and self.processor.value.waves:
            return self._spectra(table)
        parts = []
        for at in range(0, table.num_rows, _ROWS):
            batch = tensors_from_arrow(self.processor, table.slice(at, _ROWS))
            arrays = [pooled(_fixed(batch[t.name].astype(np.float64), t.shape)) for t in self.processor.inputs if t.datatype != "BYTES"]
            parts.append(np.concatenate(arrays, axis=1) if arrays else np.zeros((min(_ROWS, table.num_rows - at), 0)))
        return np.nan_to_num(np.concatenate(parts), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).clip(-_LARGEST, _LARGEST)

    def _spectra(self, table: pa.Table) -> np.ndarray:
        """Of waveforms, silence behind those that are shorter than the longest may be."""
        name, most, parts = self.processor.inputs[0].name, self.processor.max_length, []
        for at in range(0, table.num_rows, _ROWS):
            waves = self.processor.encode(rows_from_arrow(self.processor.spec(), table.slice(at, _ROWS)))
            whole = [np.pad(w[name].astype(np.float64), (0, max(0, most - len(w[name])))) for w in waves]
            parts += [spectrum(wave[None]) for wave in whole]
        return np.concatenate(parts).clip(-_LARGEST, _LARGEST)


def _fixed(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean and deviation over the axes whose length differs from row to row (-1 in `shape` behind the first)."""
    free = tuple(i for i, n in enumerate(shape) if i and n == -1)
    return np.stack([x.mean(axis=free), x.std(axis=free)], axis=1) if free else x


def pooled(x: np.ndarray) -> np.ndarray:
    """[rows, ...] to [rows, at most `MOST_PIXELS`] by means of neighbours, the longest axis first."""
    while x[0].size > MOST_PIXELS:
        axis = 1 + int(np.argmax(x.shape[1:]))
        n = x.shape[axis]
        starts = np.arange(0, n, 2)
        counts = np.diff(np.append(starts, n)).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        x = np.add.reduceat(x, starts, axis=axis) / counts
    return x.reshape(len(x), -1)


def spectrum(x: np.ndarray) -> np.ndarray:
    """Waveforms [rows, samples] to log power in 32 bands of 16 stretches of time [rows, 512]: a waveform's own samples say little to a line."""
    length = max(2 * _BANDS, x.shape[1] // _PARTS)
    x = np.pad(x, ((0, 0), (0, max(0, length * _PARTS - x.shape[1]))))[:, : length * _PARTS].reshape(len(x), _PARTS, length)
    power = np.abs(np.fft.rfft(x * np.hanning(length), axis=2)) ** 2
    edges = np.unique(np.geomspace(1, power.shape[2], _BANDS + 1).astype(np.int64))
    banded = np.add.reduceat(power, edges[:-1], axis=2)
    return np.log(banded + 1e-8).reshape(len(x), -1)


def blocks_of(columns: Mapping[str, str], processor: Processor | None) -> list[Block]:
    """The blocks of a dataset's columns (name -> kind)."""
    fields = fields_of(columns).values()
    own = [made(f.name) for f in fields if (made := _block(f)) is not None]
    if isinstance(processor, TabularProcessor):
        own += [Times(c.name, c.time) for c in processor.columns if c.time is not None]
    return [*own, Tensors(processor)] if processor is not None and not all(f.plain for f in fields) else own


def _block(field: Field) -> Callable[[str], Block] | None:
    """What reads a field by itself; None: it is read as what the package's own pre-processing makes of it."""
    return Numbers if field.quantity else Categories if field.category else Texts if field.words else None


def beside(parts: list[Matrix], rows: int) -> Matrix:
    """Blocks side by side: dense where none is sparse or the whole is narrow, else CSR."""
    from scipy import sparse

    if not parts:
        return np.zeros((rows, 0))
    if not any(sparse.issparse(p) for p in parts):
        return np.concatenate(parts, axis=1)
    whole = sparse.hstack(parts, format="csr")
    return whole.toarray() if whole.shape[1] <= 64 or whole.nnz > 0.3 * rows * whole.shape[1] else whole
