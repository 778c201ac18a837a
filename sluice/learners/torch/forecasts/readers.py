"""What reads a past in its order and comes to a few numbers, in torch and as nodes of the graph: recurrent, or convolutions that look back alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from onnx import helper
from torch import nn

from sluice.learners.tables.nodes import Nodes

_KERNEL = 3


class Reader(nn.Module, ABC):
    """From FP32 [rows, times, channels], oldest first, to FP32 [rows, width].

    Args:
        channels: numbers a time.
        times: how many.
        hidden: the network's ``hidden``.

    Attributes:
        width: numbers a row comes to.
    """

    width: int

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""

    @abstractmethod
    def nodes(self, g: Nodes, x: str, w: Mapping[str, np.ndarray]) -> str:
        """The same inside a graph.

        Args:
            g: the graph.
            x: FP32 [rows, times, channels].
            w: this module's weights by name.
        """


class Recurrent(Reader):
    """A gated recurrent unit (Cho et al.: Learning phrase representations, EMNLP 2014); its last state."""

    def __init__(self, channels: int, times: int, hidden: int):
        super().__init__()
        self.width = max(4, hidden // 2)
        self.gru = nn.GRU(channels, self.width, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `Reader`."""
        last: torch.Tensor = self.gru(x)[1][0]
        return last

    def nodes(self, g: Nodes, x: str, w: Mapping[str, np.ndarray]) -> str:
        """See `Reader`; ONNX has the update gate first, torch the reset gate."""

        def gates(name: str) -> np.ndarray:
            reset, update, new = np.split(w[f"gru.{name}_l0"], 3)
            return np.concatenate([update, reset, new])[None]

        bias = np.concatenate([gates("bias_ih"), gates("bias_hh")], axis=1)
        inputs = [g.add("Transpose", x, perm=[1, 0, 2]), *(g.constant(v) for v in (gates("weight_ih"), gates("weight_hh"), bias))]
        last = f"{g.prefix}state_{len(g.nodes)}"
        g.nodes.append(helper.make_node("GRU", inputs, ["", last], hidden_size=self.width, linear_before_reset=1))
        return g.add("Squeeze", last, g.ints(0))


class Convolutional(Reader):
    """Residual convolutions that look back alone, each twice as far as the one before, until the newest time has seen all (Bai, Kolter, Koltun: An empirical
    evaluation of generic convolutional and recurrent networks for sequence modeling, 2018); what the newest time comes to."""

    def __init__(self, channels: int, times: int, hidden: int):
        super().__init__()
        self.width = max(4, hidden // 4)
        self.into = nn.Linear(channels, self.width)
        steps: list[int] = []
        seen = 1
        while seen < times or not steps:
            steps.append(2 ** len(steps))
            seen += (_KERNEL - 1) * steps[-1]
        self.steps = steps
        self.layers = nn.ModuleList(nn.Conv1d(self.width, self.width, _KERNEL, dilation=d) for d in steps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `Reader`."""
        x = self.into(x).transpose(1, 2)
        for d, layer in zip(self.steps, self.layers, strict=True):
            x = x + torch.relu(layer(nn.functional.pad(x, ((_KERNEL - 1) * d, 0))))
        return x[:, :, -1]

    def nodes(self, g: Nodes, x: str, w: Mapping[str, np.ndarray]) -> str:
        """See `Reader`."""
        x = g.add("Add", g.add("MatMul", x, g.constant(w["into.weight"].T)), g.constant(w["into.bias"]))
        x = g.add("Transpose", x, perm=[0, 2, 1])
        for i, d in enumerate(self.steps):
            weights = (g.constant(w[f"layers.{i}.{part}"]) for part in ("weight", "bias"))
            made = g.add("Conv", x, *weights, dilations=[d], kernel_shape=[_KERNEL], pads=[(_KERNEL - 1) * d, 0])
            x = g.add("Add", x, g.add("Relu", made))
        return g.add("Squeeze", g.add("Slice", x, g.ints(-1), g.ints(np.iinfo(np.int64).max), g.ints(2)), g.ints(2))


#: By ``model.method``; others see the whole past at once.
READERS: dict[str, type[Reader]] = {"gru": Recurrent, "tcn": Convolutional}
