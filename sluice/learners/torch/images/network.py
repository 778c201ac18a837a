"""The network of an image, on raw pixels, and what is fitted with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.learners.state import State
from sluice.learners.torch.network import Network
from sluice.tasks.base import settings
from sluice.tasks.config import ImageModel

if TYPE_CHECKING:
    import torch

    from sluice.data.dataset import Dataset


class ImageNetwork(Network):
    """A small CNN or a ResNet; it scales raw pixels by itself, so the exported graph takes UINT8."""

    def fit(self, dataset: Dataset) -> State:
        """Per-channel mean and standard deviation of the training pixels, scaled to 0..1."""
        from sluice.fields import ImageProcessor

        model: ImageModel = settings(self.task, ImageModel)
        processor = ImageProcessor(model.channels, model.size)
        total = squares = np.zeros(model.channels)
        pixels = 0
        for batch in dataset.batches("train", columns=["image"], rows=512):
            x = processor.encode_batch(batch.column("image").to_pylist())["image"].astype(np.float64) / 255
            total = total + x.sum(axis=(0, 2, 3))
            squares = squares + (x * x).sum(axis=(0, 2, 3))
            pixels += x.shape[0] * x.shape[2] * x.shape[3]
        if not pixels:
            raise DataError("has no training rows", field="dataset", value=str(dataset.root), fix="check data.split")
        mean = total / pixels
        std = np.sqrt(np.maximum(squares / pixels - mean * mean, 1e-8))
        # Rounded, so that the order in which a sum was taken can never show.
        extra = {"mean": [round(float(v), 6) for v in mean], "std": [max(round(float(v), 6), 1e-3) for v in std]}
        return State(dataset.objective, dataset.labels, processor.spec(), {}, extra)

    def build(self, state: State) -> torch.nn.Module:
        """The small CNN, or the ResNet that ``model.architecture`` names."""
        from sluice.learners.torch.images.models import build

        return build(settings(self.task, ImageModel), len(state.labels), state.extra["mean"], state.extra["std"])

    def preload(self, state: State) -> None:
        """torchvision, where a ResNet is asked for."""
        import sluice.learners.torch.images.models  # noqa: F401

        if settings(self.task, ImageModel).architecture != "cnn":
            import torchvision.models.resnet  # noqa: F401

    def start(self, model: torch.nn.Module, state: State) -> None:
        """Load ``model.pretrained``: a safetensors state dict of the architecture; a head of another size is left as built."""
        path = settings(self.task, ImageModel).pretrained
        if path is None:
            return
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        where = self.task.resolve(path)
        try:
            weights = load_file(where)
        except (OSError, SafetensorError) as e:
            raise ProjectError(
                f"cannot be read as safetensors: {e}", field="model.pretrained", value=path, fix="name a .safetensors state dict"
            ) from e
        body: Any = model.body  # type: ignore[union-attr]
        own = body.state_dict()
        fits = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
        lost = sorted(k for k in own if k not in fits and not k.startswith(("fc.", "head.")) and not k.endswith("num_batches_tracked"))
        if lost:
            raise ProjectError(
                f"lacks {len(lost)} tensors of the architecture, the first is {lost[0]}",
                field="model.pretrained",
                value=path,
                fix=f"use weights of {settings(self.task, ImageModel).architecture}",
            )
        body.load_state_dict(fits, strict=False)

    def augment(self, tensors: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Shift each image by up to an eighth of its size; mirror none, for digits and letters have a side."""
        if not settings(self.task, ImageModel).augment:
            return tensors
        from sluice.learners.torch.images.models import shift

        return {**tensors, "image": shift(tensors["image"], generator)}
