"""The network of a generator, and what is fitted with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.learners.state import State
from sluice.learners.tables.codes import coded, codes, take_strings
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.generate import CLASS, SEED, GenerateModel

if TYPE_CHECKING:
    import onnx
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.plan import Defaults, Plan


#: Share of pairs told right, from which on nothing is to be learnt from a discriminator.
_SEES_ALL = 0.97


class GeneratorNetwork(Network):
    """A variational autoencoder or a generator with its discriminator; the exported graph takes seeds and classes and gives pictures."""

    def fit(self, dataset: Dataset) -> State:
        """The shape of a picture, the classes and how common each is among the training rows."""
        from sluice.core.spelling import Spelling
        from sluice.fields import Column, TabularProcessor
        from sluice.problems.generation.problem import shape_of

        if self.task.project.train.parallel == "fsdp" and settings(self.task, GenerateModel).kind == "gan":
            raise ProjectError(
                "cannot be trained in shards", field="train.parallel", value="fsdp", fix="train.parallel: ddp, or model.kind: vae"
            )
        if dataset.rows("train") < 2:
            raise DataError("has too few training rows", field="dataset", value=dataset.rows("train"), fix="check data.split")
        columns, written, shares = [Column(SEED, "seed")], {}, {}
        if CLASS in dataset.columns:
            found = dataset.read("train", [CLASS]).column(CLASS).drop_null().value_counts()
            counts = {c["values"].as_py(): c["counts"].as_py() for c in found}
            shares = {name: counts[name] / sum(counts.values()) for name in sorted(counts)}
            spelling = Spelling.kept(list(shares))
            columns.append(Column(CLASS, "categorical", spelling=spelling.kind))
            written = {CLASS: spelling.written}
        processor = TabularProcessor(columns, written)
        extra = {"shape": list(shape_of(dataset.labels)), "shares": shares}
        return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)

    def build(self, state: State) -> torch.nn.Module:
        """A `Generator` of the kind that ``model.kind`` names."""
        from sluice.learners.torch.generators.model import build

        return build(settings(self.task, GenerateModel), state)

    def preload(self, state: State) -> None:
        """The networks' module."""
        import sluice.learners.torch.generators.model  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """A VAE until its bound stops improving; a GAN for its steps, its generator averaged over them."""
        from sluice.learners.torch.plan import Defaults

        if settings(self.task, GenerateModel).kind == "vae":
            return Defaults(batch_size=64, learning_rate=3e-3, weight_decay=1e-4, ema=0.99, steps=2500, patience=12)
        gan = Defaults(batch_size=64, learning_rate=1e-3, weight_decay=0.0, schedule="linear", ema=0.998, steps=1500, patience=1000)
        # Each adversary's loss moves with the other: what its gradient was some steps ago misleads.
        return dataclasses.replace(gan, betas=(0.0, 0.99))

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """The halves of the seeds FP32 [rows, 1], and classes INT64 [rows, 1]: codes of `codes`."""
        import torch

        table = self._classes(state)
        return {
            name: torch.from_numpy(coded(table, array) if array.dtype == object else np.ascontiguousarray(array))
            for name, array in batch.items()
        }

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        """Pixels in [0, 1], FP32 [rows, pixels]."""
        import torch

        return torch.from_numpy(np.asarray(labels, dtype=np.float32))

    def learning(self, tensors: dict[str, torch.Tensor], targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """The pictures too."""
        return {**tensors, "pixels": targets}

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """The mean of what the model gives as each row's loss; of made pictures their kernel distance to the real ones, pixel by pixel."""
        if outputs.shape[1] != targets.shape[1] or outputs.shape[1] == 1:
            return outputs.float().mean()
        from sluice.problems.generation.sets import kernel_pairs

        made, real = (t.detach().double().cpu().numpy() * 4 - 2 for t in (outputs, targets))
        value = kernel_pairs(made, real).value if len(made) > 1 and np.isfinite(made).all() else float("nan")
        return outputs.new_tensor(value)

    def health(self, model: torch.nn.Module) -> dict[str, float]:
        """Of a discriminator: ``discriminator_right``, the share of pairs it tells right, and ``discriminator_gap``, how far apart it puts them."""
        kept = getattr(getattr(model, "inner", None), "health", None)
        if kept is None:
            return {}
        right, gap = (float(v) for v in cast(Any, kept))
        return {"discriminator_right": right, "discriminator_gap": gap}

    def ails(self, entry: Mapping[str, Any]) -> str:
        """Of a discriminator that tells all but every pair right."""
        right = entry.get("discriminator_right", 0.0)
        if right < _SEES_ALL:
            return ""
        return (
            f"the discriminator tells {right:.0%} of pairs of a real and a made picture right, so the generator hardly learns from it any more: "
            "lower train.learning_rate, or take model.kind: vae"
        )

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        """Draws of a seed, and of a class where one is named."""
        from sluice.learners.torch.generators.model import Serving

        return Serving(cast(Any, model)).eval()

    def example(self, state: State) -> dict[str, torch.Tensor]:
        """Seeds 1 and 2, without a class."""
        rows: list[dict[str, Any]] = [{SEED: 1}, {SEED: 2}]
        return self.tensors(state.processor.encode_batch(rows), state)

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Let the graph take the classes' names."""
        return take_strings(graph, {CLASS: self._classes(state)}) if state.extra["shares"] else graph

    @staticmethod
    def _classes(state: State) -> dict[str, int]:
        return codes(list(state.extra["shares"]))
