"""The graph of a table's network as it is written here, against the network itself."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
import torch

from sluice.core.datatypes import TensorSpec
from sluice.formats.export import export_graph
from sluice.learners.torch.learner import TorchTrained

N = 40
NUMBERS = {"age": [None if i % 7 == 0 else float(i * i) for i in range(N)], "flag": [i % 2 == 0 for i in range(N)]}
WORDS = {"city": [f"c{i % 5}" if i % 9 else None for i in range(N)], "many": [f"m{i}" for i in range(N)]}


@pytest.mark.parametrize(
    ("columns", "label", "model"),
    [
        ({**WORDS, **NUMBERS}, [f"l{i % 3}" for i in range(N)], {}),
        (NUMBERS, [i * 3.5 for i in range(N)], {"members": 1, "hidden": [5]}),
        (WORDS, [i * 3.5 for i in range(N)], {"hidden": [8, 7, 6]}),
        ({"age": NUMBERS["age"]}, ["a", "b"] * (N // 2), {"bins": 0}),
    ],
)
def test_it_answers_as_the_network_does(make_network, columns, label, model):
    network, dataset = make_network("tabular", pa.table({**columns, "label": label}), model=model)
    state = network.fit(dataset)
    torch.manual_seed(3)
    net = network.build(state)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    trained = TorchTrained(network, state, {}, lambda: net)
    processor = state.processor
    data = export_graph(trained, 18)
    rows = [{name: values[i] for name, values in columns.items()} for i in range(N)]
    rows += [dict.fromkeys(columns), {**rows[1], **({"age": 1e9} if "age" in columns else {"city": "Atlantis"})}]
    batch = processor.encode_batch(rows)
    assert all(isinstance(t, TensorSpec) for t in processor.inputs)
    found = ort.InferenceSession(data).run(None, batch)[0]
    np.testing.assert_allclose(found, trained.run(batch), rtol=1e-5, atol=1e-5)
