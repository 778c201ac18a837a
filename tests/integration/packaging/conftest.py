"""Small models that were really trained, one a task, laid down as `sluice.learners.torch.fit` does."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch

from sluice.core import files
from sluice.data.dataset import Dataset, write_dataset
from sluice.engines.rows import rows_from_arrow
from sluice.learners.base import HISTORY
from sluice.learners.torch import graph
from sluice.learners.torch.network import Network, network_of
from sluice.learners.torch.plan import Defaults, decide
from sluice.project import Project, parse
from sluice.tasks import State, load_task


class Trained(NamedTuple):
    project: Project
    dataset: Dataset
    model: Path


def _split(table: pa.Table) -> dict[str, pa.Table]:
    table = table.add_column(0, "row_id", pa.array([f"{i:016x}" for i in range(table.num_rows)]))
    order = np.random.default_rng(0).permutation(table.num_rows)
    test, validation = len(order) // 4, len(order) // 10
    return {
        "test": table.take(order[:test]),
        "validation": table.take(order[test : test + validation]),
        "train": table.take(order[test + validation :]),
    }


def digits(root: Path) -> Dataset:
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)

    def png(row: np.ndarray) -> bytes:
        out = io.BytesIO()
        Image.fromarray((row.reshape(8, 8) * 15.9375).astype(np.uint8)).save(out, "PNG")
        return out.getvalue()

    table = pa.table({"image": pa.array([png(r) for r in pixels], pa.binary()), "label": pa.array([str(v) for v in labels])})
    return write_dataset(
        root,
        _split(table),
        task="image",
        objective="classification",
        labels=[str(i) for i in range(10)],
        columns={"image": "image"},
        source={"name": "digits"},
        shard_rows=500,
        profile=lambda d: {"features": {"image": {"rows": d.rows("train")}}},
    )


def phrases(root: Path) -> Dataset:
    """Made-up requests: what is asked for decides the label, the rest is filling."""
    rng = np.random.default_rng(1)
    wanted = {
        "weather": ["rain", "sun", "snow", "storm"],
        "music": ["song", "album", "band", "tune"],
        "travel": ["train", "flight", "bus", "ferry"],
    }
    fill = ["please", "tell", "me", "about", "the", "next", "best", "today", "near", "here", "and", "now"]
    texts, labels = [], []
    for _ in range(900):
        label = str(rng.choice(list(wanted)))
        words = [str(w) for w in rng.choice(fill, rng.integers(1, 9))]
        words.insert(int(rng.integers(0, len(words) + 1)), str(rng.choice(wanted[label])))
        texts.append(" ".join(words))
        labels.append(label)
    table = pa.table({"text": texts, "label": labels})
    return write_dataset(
        root,
        _split(table),
        task="text",
        objective="classification",
        labels=sorted(wanted),
        columns={"text": "text"},
        source={"name": "phrases"},
        shard_rows=1000,
    )


def records(root: Path, objective: str) -> Dataset:
    """Numbers and categories with holes; the label follows from them."""
    rng = np.random.default_rng(2)
    n = 1200
    age, job, weight = rng.normal(40, 12, n), rng.choice(["cook", "baker", "smith"], n), rng.normal(70, 9, n)
    score = (age - 40) / 12 - (weight - 70) / 18 + (job == "baker") * 1.5 - (job == "smith") + 0.05 * rng.normal(size=n)
    age_seen = np.where(rng.random(n) < 0.05, np.nan, age)
    job_seen = [None if rng.random() < 0.05 else str(j) for j in job]
    label = pa.array(np.where(score > 0.3, "yes", "no")) if objective == "classification" else pa.array(1000 + 50 * score)
    table = pa.table(
        {"weight": weight, "job": pa.array(job_seen), "age": pa.array(age_seen, from_pandas=True), "label": label}
    )  # in no order of names
    return write_dataset(
        root,
        _split(table),
        task="tabular",
        objective=objective,
        labels=["no", "yes"] if objective == "classification" else [],
        columns={"weight": "numeric", "job": "categorical", "age": "numeric"},
        source={"name": "records"},
        shard_rows=1000,
    )


@pytest.fixture(scope="session", autouse=True)
def traced_once() -> Iterator[None]:
    """A model is traced once in this process, which takes seconds; `test_another_process_exports_the_same_bytes` says that it may be."""
    made: dict[tuple[Any, ...], bytes] = {}
    trace = graph.network_graph

    def once(network: Network, state: State, serving: torch.nn.Module, opset: int) -> onnx.ModelProto:
        weights = hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in serving.state_dict().values())).digest()
        key = (type(network), weights, repr(state), opset)
        if key not in made:
            made[key] = trace(network, state, serving, opset).SerializeToString()
        return onnx.load_model_from_string(made[key])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graph, "network_graph", once)
        yield


KINDS: dict[str, tuple[Callable[[Path], Dataset], dict[str, Any], int, float]] = {
    "image": (digits, {"task": "image", "model": {"channels": 1, "size": [8, 8], "width": 8, "augment": False}}, 6, 4e-3),
    "text": (phrases, {"task": "text", "model": {"hidden": 32, "heads": 2, "layers": 2, "max_length": 16, "vocabulary": 200}}, 8, 4e-3),
    "tabular": (lambda root: records(root, "classification"), {"task": "tabular", "model": {"hidden": [32, 32]}}, 12, 4e-3),
    "regression": (lambda root: records(root, "regression"), {"task": "tabular", "model": {"hidden": [32, 32]}}, 12, 4e-3),
}


def train(kind: str, root: Path) -> Trained:
    """A short loop over `Network.loss`; weights and state on disk under the trainer's names."""
    import torch
    from safetensors.torch import save_file

    make, settings, epochs, rate = KINDS[kind]
    project = parse({"name": f"demo-{kind}", "data": {"source": "made-up"}, **settings})
    dataset = make(root / "data")
    network = network_of(load_task(project))
    torch.manual_seed(17)
    torch.set_num_threads(1)
    out = root / "model"
    out.mkdir()
    network.fit(dataset).save(out)
    state = State.load(out)  # as the trainer's processes do: what is built is what will be loaded
    model = network.build(state)
    table = dataset.read("train")
    examples = state.processor.encode(rows_from_arrow(state.preprocess, table))
    labels = table.column("label").to_pylist()
    targets = network.targets(np.array([state.labels.index(v) for v in labels] if state.labels else labels), state)
    plan = decide(project.train, Defaults(), len(examples), measured=False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(epochs):
        for chosen in torch.randperm(len(examples)).split(64):
            batch = network.tensors(state.processor.batch([examples[i] for i in chosen]), state)
            loss = network.loss(model(**batch), targets[chosen], plan)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out / "model.safetensors")
    files.write_json(out / HISTORY, {"history": []})
    return Trained(project, dataset, out)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """`trained("image" | "text" | "tabular" | "regression")`, each trained once."""
    made: dict[str, Trained] = {}

    def get(kind: str) -> Trained:
        if kind not in made:
            made[kind] = train(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get
