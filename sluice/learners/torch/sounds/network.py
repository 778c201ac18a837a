"""The network of a recording, on its waveform, and what is fitted with it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError
from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.tasks.audio import AudioModel
from sluice.tasks.base import settings

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults

#: Seconds of a recording that are read where nothing else is said.
SECONDS = 30.0
#: Clips whose spectrograms the bands' mean and deviation are taken of.
_MEASURED = 1000


class AudioNetwork(Network):
    """A CNN or a transformer over log-mel spectrograms that the graph makes of waveforms by itself."""

    def fit(self, dataset: Dataset) -> State:
        """The commonest sample rate, the longest clip, and each band's mean and deviation over the training rows."""
        from sluice.fields import AudioProcessor
        from sluice.fields.audio import read
        from sluice.learners.torch.sounds.spectrum import geometry

        model: AudioModel = settings(self.task, AudioModel)
        rates: Counter[int] = Counter()
        longest, of = 0.0, ""
        for batch in dataset.batches("train", columns=["row_id", "audio"], rows=64):
            for row, raw in zip(batch.column("row_id").to_pylist(), batch.column("audio").to_pylist(), strict=True):
                rate, wave = read(raw)
                rates[rate] += 1
                longest, of = max((longest, of), (len(wave) / rate, row))
        if not rates:
            raise DataError("has no training rows", field="dataset", value=str(dataset.root), fix="check data.split")
        rate = model.sample_rate or min(rates, key=lambda r: (-rates[r], r))
        samples = math.ceil(self.read_of(longest, of) * rate)
        processor = AudioProcessor(rate, samples, shorter=True)
        bands = model.bands or geometry(rate)[2]
        return State(dataset.objective, dataset.labels, processor.spec(), {}, self._measured(dataset, processor, bands))

    def read_of(self, longest: float, row: str) -> float:
        """Seconds of a recording that are read: ``model.seconds``, or as many as the longest training row has, `longest` (row id `row`)."""
        model: AudioModel = settings(self.task, AudioModel)
        return model.seconds or min(longest, SECONDS)

    def _measured(self, dataset: Dataset, processor: Any, bands: int) -> dict[str, Any]:
        import torch

        from sluice.engines.rows import spread
        from sluice.learners.torch.sounds.spectrum import LogMel

        front = LogMel(processor.sample_rate, bands, [0.0] * bands, [1.0] * bands)
        total, squares, frames = np.zeros(bands), np.zeros(bands), 0.0
        clips = spread(dataset, "train", _MEASURED).column("audio").to_pylist()
        with torch.no_grad():
            for at in range(0, len(clips), 16):
                made = processor.encode_batch(clips[at : at + 16])
                found, mask = front(torch.from_numpy(made["audio"]), torch.from_numpy(made["length"]))
                x = found[:, 0].double().numpy()
                total, squares, frames = total + x.sum((0, 2)), squares + (x * x).sum((0, 2)), frames + float(mask.sum())
        mean = total / frames
        std = np.sqrt(np.maximum(squares / frames - mean * mean, 0.01))
        # Rounded, so that the order in which a sum was taken can never show.
        return {"mean": [round(float(v), 3) for v in mean], "std": [round(float(v), 3) for v in std]}

    def front(self, state: State) -> torch.nn.Module:
        """What makes spectrograms, with the project's changes of training clips."""
        from sluice.learners.torch.sounds.spectrum import Changes, LogMel

        model: AudioModel = settings(self.task, AudioModel)
        mean, std = state.extra["mean"], state.extra["std"]
        changes = Changes(warp=model.warp) if model.augment else None
        return LogMel(state.preprocess["sample_rate"], len(mean), mean, std, changes)

    def build(self, state: State) -> torch.nn.Module:
        """The spectrogram and the network that ``model.network`` names."""
        from sluice.learners.torch.sounds.models import Classifier, encoder

        model: AudioModel = settings(self.task, AudioModel)
        return Classifier(self.front(state), encoder(model, len(state.extra["mean"])), len(state.labels), model.dropout)  # type: ignore[arg-type]

    def preload(self, state: State) -> None:
        """Its modules."""
        import sluice.learners.torch.sounds.models  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """As for a small network from scratch, in smaller batches: clips are few and changed at random each time."""
        from sluice.learners.torch.plan import Defaults

        return Defaults(batch_size=32, learning_rate=2e-3, steps=2000, least=6, most=60)

    def augment(self, tensors: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Draw the numbers by which the spectrogram is changed, see `sluice.learners.torch.sounds.spectrum.Changes`."""
        if not settings(self.task, AudioModel).augment:
            return tensors
        import torch

        from sluice.learners.torch.sounds.spectrum import DRAWS

        return {**tensors, "draws": torch.rand(len(tensors["length"]), DRAWS, generator=generator)}

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Two clips of different lengths, so that neither axis is taken for a constant."""
        rate = state.preprocess["sample_rate"]
        lengths = np.array([[rate // 2 + 7], [rate // 3]], dtype=np.int64)
        wave = np.sin(np.arange(lengths.max()) * 0.3, dtype=np.float32)
        audio = np.stack([np.where(np.arange(len(wave)) < n, wave, 0) for n in lengths[:, 0]]).astype(np.float32)
        return self.tensors({"audio": audio, "length": lengths}, state)

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Say which nodes no format may make coarser: the spectrogram's, whose quiet bands would be lost before the logarithm, and
        the sums with what attention may not see, which take all of an 8-bit scale."""
        from sluice.package.graph import keep_exact

        keep_exact(graph, "front")
        keep_exact(graph, "layers", "Add")
        return graph
