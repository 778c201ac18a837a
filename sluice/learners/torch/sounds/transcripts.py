"""The network of a recording's transcript, and what is fitted with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluice.core.errors import DataError
from sluice.learners.state import State
from sluice.learners.torch.sounds.network import SECONDS, AudioNetwork
from sluice.problems.transcription import LONGEST, of_words
from sluice.tasks.base import settings
from sluice.tasks.transcribe import TranscribeModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.learners.torch.plan import Defaults, Plan


class TranscribeNetwork(AudioNetwork):
    """The encoders of sounds, with a symbol or none at each frame."""

    def read_of(self, longest: float, row: str) -> float:
        """``model.seconds``, or half a minute however short the training rows are: what is not read would be missing in the text.

        Raises:
            DataError: a training row takes longer, so that its transcript would teach what is not heard.
        """
        model: TranscribeModel = settings(self.task, TranscribeModel)
        most = model.seconds or SECONDS
        if longest > most + 1e-3:
            raise DataError(
                f"takes {longest:.1f} seconds, of which {most:g} are read: its transcript tells more",
                field=f"train row_id {row}",
                fix="raise model.seconds, or cut the recording and its transcript into shorter ones",
            )
        return most

    def build(self, state: State) -> torch.nn.Module:
        """The spectrogram, the encoder that ``model.network`` names, and a head over symbols."""
        from sluice.learners.torch.sounds.ctc import Transcriber
        from sluice.learners.torch.sounds.models import encoder

        model: TranscribeModel = settings(self.task, TranscribeModel)
        # 80 ms a frame at most where a symbol is a word, else 40: `Transcription.fastest`. The fewer frames a symbol has, the sooner it is found.
        network = encoder(model, len(state.extra["mean"]), halvings=3 if of_words(state.labels) else 2)
        return Transcriber(self.front(state), network, len(state.labels), model.dropout)  # type: ignore[arg-type]

    def preload(self, state: State) -> None:
        """Its modules."""
        import sluice.learners.torch.sounds.ctc  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """As for sounds; transcripts take more passes than labels until a network finds where symbols lie."""
        from sluice.learners.torch.plan import Defaults

        return Defaults(batch_size=16, learning_rate=2e-3, steps=3000, least=10, most=100)

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """INT64 [rows, places], below 0 where there is no symbol."""
        import torch

        return torch.from_numpy(labels.astype(np.int64))

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """See `sluice.learners.torch.sounds.ctc.loss`."""
        from sluice.learners.torch.sounds.ctc import loss

        return loss(outputs, targets)

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """The network and the text of its frames."""
        from sluice.learners.torch.sounds.ctc import Serving

        return Serving(model, LONGEST).eval()

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """As for sounds; what makes a text of frames stays as it is in every format."""
        from sluice.package.graph import keep_exact

        keep_exact(graph, "decode")
        return super().finish_graph(graph, state)
