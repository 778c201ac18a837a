"""Generation: an answer is a picture, and a set of answers is judged beside a set of real ones."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError
from sluice.problems.arrays import Arrays
from sluice.problems.metric import Metric
from sluice.problems.problem import Problem, problem

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset
    from sluice.problems.answers import Answers
    from sluice.problems.decision import Rule
    from sluice.problems.generation.features import Features
    from sluice.problems.units import Units

#: Training pictures that the net of the features, and the trivial model, are fitted to at the most, evenly spaced.
_MOST = 4000
#: Pictures a row and rows of the report's plates.
PLATE = 8


class Generation(Arrays):
    """A picture, FP32 [height * width * channels] in [0, 1], row by row with the colours last; labels name its numbers: ``y_x_c``.

    What is judged of a picture are its features (`generation.features`), of a net learnt from the training pictures: the same for
    every model that is judged on a dataset. `judged` and `trivial` write them behind the pixels, and `answers` takes them apart.
    """

    name: ClassVar[str] = "synthesis"
    served: ClassVar[str] = "synthesis"
    label: ClassVar[str] = "pixels"
    output: ClassVar[str] = "image"
    splits: ClassVar[tuple[str, ...]] = ("hash", "group", "time")
    #: A picture as PNG in base64.
    tells: ClassVar[Mapping[str, tuple[str, tuple[int, ...]]]] = MappingProxyType({"png": ("BYTES", ())})

    # --- pictures ---

    def labels(self, column: pa.ChunkedArray) -> list[str]:
        """``y_x_c`` of each number."""
        from sluice.fields.exemplar import pictures

        _, height, width, channels = pictures(column.drop_null()[:1]).shape
        return [f"{y}_{x}_{c}" for y in range(height) for x in range(width) for c in range(channels)]

    def described(self, labels: Sequence[str]) -> str:
        height, width, channels = shape_of(labels)
        return f"an answer is a picture of {width}x{height} pixels in {channels} colour{'s' if channels > 1 else ''}"

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """Pixels in [0, 1], float64 [rows, pixels]. Raises `DataError`: pictures are not of one shape."""
        return pixels_of(column)

    # --- judging ---

    @functools.cached_property
    def _metrics(self) -> dict[str, Metric]:
        from sluice.problems.generation.metrics import Covered, FrechetDistance, KernelDistance

        found: list[Metric] = [
            KernelDistance("kernel_distance", self.name, "lower", least=-np.inf),
            FrechetDistance("frechet_distance", self.name, "lower"),
            Covered("precision", self.name, "higher"),
            Covered("recall", self.name, "higher"),
        ]
        return {m.name: m for m in found}

    def metrics(self) -> Mapping[str, Metric]:
        """Distances of sets, and how much of each lies in the other."""
        return self._metrics

    @property
    def by_row(self) -> Problem:
        """A format's pictures are compared pixel by pixel."""
        return problem(Pixelwise.name)

    def judged(
        self,
        predict: Callable[[Sequence[Any]], np.ndarray],
        ask: Callable[[str], np.ndarray],
        dataset: Dataset,
        split: str,
        labels: Sequence[str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a model makes of the seeds of held-out rows, and the rows' own pictures; features stand behind the pixels."""
        made, real = super().judged(predict, ask, dataset, split, labels)
        return featured(made, dataset), featured(real, dataset)

    def trivial(self, dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None) -> tuple[str, np.ndarray]:
        """Samples of the normal law with the training pictures' mean and covariance, cut to [0, 1]."""
        train = training(dataset)
        mean, rng = train.mean(axis=0), np.random.Generator(np.random.Philox(17))
        mixed = rng.standard_normal((dataset.rows("test"), len(train))) @ (train - mean) / np.sqrt(max(len(train) - 1, 1))
        return "a Gaussian fitted to the training pictures' pixels", featured(np.clip(mean + mixed, 0, 1), dataset)

    def answers(
        self,
        outputs: np.ndarray,
        targets: np.ndarray,
        labels: Sequence[str],
        *,
        rule: Rule | None = None,
        positive: str | None = None,
        units: Units | None = None,
    ) -> Answers:
        """Checked, with features where they stand behind the pixels; else pixels are compared (epochs of a training)."""
        from sluice.problems.generation.metrics import Samples

        pixels = len(labels)
        checked = super().answers(outputs[:, :pixels], targets[:, :pixels], labels, units=units)
        a, b = (t[:, pixels:] if t.shape[1] > pixels else t * 4 - 2 for t in (np.asarray(outputs, np.float64), np.asarray(targets)))
        return Samples(a, b, checked.predicted, None, units, made=checked.outputs, real=np.asarray(targets)[:, :pixels])

    def pair(
        self, ours: Answers, labels: Sequence[str], outputs: np.ndarray, their_labels: Sequence[str], rule: Rule | None
    ) -> tuple[Answers, Answers, np.ndarray]:
        """All rows: seed by seed, beside the same real pictures. Raises `ValueError` where the other's have another shape."""
        from sluice.problems.generation.metrics import Samples

        assert isinstance(ours, Samples)
        if list(labels) != list(their_labels):
            raise ValueError("pictures of another shape")
        theirs = self.answers(outputs, np.concatenate([ours.real, ours.targets], axis=1), labels, units=ours.units)
        return ours, theirs, np.ones(len(ours.targets), dtype=bool)

    def details(self, a: Answers, labels: Sequence[str], rule: Rule | None, config: Any) -> dict[str, Any]:
        """Plates of made and of real pictures, the share of made ones that have a twin, and how much they differ beside real ones."""
        from sluice.problems.generation.metrics import Samples
        from sluice.problems.generation.plates import plate
        from sluice.problems.generation.sets import repeated, spread

        assert isinstance(a, Samples)
        shape = shape_of(labels)
        return {
            "repeated": repeated(a.made, a.real) if len(a.targets) > 2 else None,
            "spread": spread(a.made, a.real),
            "plates": {name: plate(found, shape, PLATE) for name, found in (("made", a.made), ("held out", a.real))},
            "picture": list(shape),
        }

    def faults(self, found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Collapse: what speaks against the model, and what a person has to hear."""
        from sluice.problems.generation.health import faults

        return faults(found)

    def section(self, found: Mapping[str, Any]) -> str:
        """The plates."""
        from sluice.problems.generation.plates import section

        return section(found)

    # --- answering ---

    def told(self, outputs: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
        """``png``: each picture as a PNG file in base64, [rows] of texts."""
        from sluice.core.png import png

        pixels = np.rint(np.clip(outputs, 0, 1) * 255).astype(np.uint8).reshape(-1, *shape_of(labels))
        made = np.empty(len(pixels), dtype=object)
        made[:] = [base64.b64encode(png(p)).decode() for p in pixels]
        return {"png": made}


class Pixelwise(Arrays):
    """Pictures by their pixels, one by one: how two graphs' pictures of a seed are compared."""

    def targets(self, column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
        """As `Generation.targets`."""
        return pixels_of(column)


def pixels_of(column: pa.ChunkedArray) -> np.ndarray:
    """A column's pictures as numbers in [0, 1], float64 [rows, pixels]. Raises `DataError`: they are not of one shape."""
    from sluice.fields.exemplar import pictures

    try:
        found = pictures(column)
    except ValueError as e:
        raise DataError("has pictures of different shapes", field="label", fix="set model.size") from e
    return found.reshape(len(found), -1) / 255.0


def shape_of(labels: Sequence[str]) -> tuple[int, int, int]:
    """(height, width, channels) of pictures whose numbers have such names."""
    y, x, c = (int(n) + 1 for n in labels[-1].split("_"))
    return y, x, c


def featured(pictures: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Pictures with their features behind them: [rows, pixels + features]."""
    pictures = np.asarray(pictures, dtype=np.float64)
    if pictures.shape[1] != len(dataset.labels):
        raise DataError(
            "makes pictures of another shape than the held-out ones",
            field="the model",
            value=pictures.shape[1],
            fix=f"{len(dataset.labels)} numbers a picture",
        )
    return np.concatenate([pictures, net_of(dataset)(pictures)], axis=1)


def training(dataset: Dataset) -> np.ndarray:
    """Training pictures, [rows, pixels]: all, or `_MOST` of them."""
    column = dataset.read("train", ["label"]).column("label")
    chosen = np.unique(np.linspace(0, len(column) - 1, min(len(column), _MOST)).astype(np.int64))
    return dataset.problem.targets(column.take(chosen), dataset.labels)


_NETS: dict[str, Features] = {}


def net_of(dataset: Dataset) -> Features:
    """The net of a dataset's training pictures; kept for the next who asks."""
    from sluice.problems.generation.features import fit

    if dataset.digest not in _NETS:
        _NETS.clear()
        _NETS[dataset.digest] = fit(training(dataset), shape_of(dataset.labels))
    return _NETS[dataset.digest]
