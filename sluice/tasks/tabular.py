"""Tabular classification and regression: numeric and categorical columns, missing values welcome."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.data.dataset import RESERVED
from sluice.tasks import columns
from sluice.tasks.base import State, Task, settings
from sluice.tasks.config import TabularModel

if TYPE_CHECKING:
    import onnx
    import pyarrow as pa
    import torch

    from sluice.data.dataset import Dataset
    from sluice.data.timestamps import Times
    from sluice.fields import Column
    from sluice.learners.torch.encode import Encoded
    from sluice.learners.torch.plan import Defaults, Plan

#: Codes of a category column: what is missing, what the training rows did not hold; known values follow.
MISSING, UNKNOWN, KNOWN = 0, 1, 2
_MOST_CATEGORIES = 50_000
#: Numbers, of all rows and columns, the linear start is fitted to.
_MOST_FITTED = 10_000_000
#: Quantiles of a number that are kept, and values they are taken from.
_EDGES, _SAMPLE = 12, 16_384
#: Suffix of the graph's internal names behind the string inputs.
_CODES = "__codes"


class TabularTask(Task):
    """Rows are records; imputation, scaling and encoding happen inside the exported graph, which takes raw values."""

    name: ClassVar[str] = "tabular"
    Model = TabularModel

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """Numbers and booleans are numeric, strings categorical unless nearly all of them read as numbers, or as times."""
        return {name: self._kind(table, name) for name in self._features(table)}

    def _features(self, table: pa.Table) -> list[str]:
        wanted = self.project.data.columns
        if wanted.features is not None:
            for name in wanted.features:
                columns.column(table, name, "data.columns.features")
            names = list(wanted.features)
        else:
            names = [n for n in table.column_names if n not in wanted.ignore and n not in (wanted.label, "row_id")]
        if wanted.label in names:
            raise DataError(
                "is the label and a feature", field="data.columns.features", value=wanted.label, fix="take it out of the features"
            )
        for name in RESERVED:
            if name in names:
                raise DataError(
                    "is a name the dataset keeps for itself",
                    field="data.columns",
                    value=name,
                    fix=f"rename the column, or list it under data.columns.ignore (the label column is set to {wanted.label!r})",
                )
        if not names:
            raise DataError("leaves no feature", field="data.columns", value=table.column_names, fix="name columns that hold features")
        return names

    def _kind(self, table: pa.Table, name: str) -> str:
        import pyarrow as pa

        values = columns.column(table, name, "data.columns.features")
        kind = values.type
        if name in self.project.data.columns.categorical:
            return "categorical"
        if self._time(table, name) is not None:
            return "timestamp"
        if columns.is_number(kind) or pa.types.is_null(kind):
            return "numeric"
        if not pa.types.is_string(kind):
            raise DataError(
                f"is of type {kind}, which is no feature",
                field=f"data.columns.features: {name}",
                fix=f"turn it into numbers or strings, or list {name} under data.columns.ignore",
            )
        return "numeric" if columns.mostly_numbers(values) else "categorical"

    def times(self, table: pa.Table) -> dict[str, Times]:
        return {name: found for name in self._features(table) if (found := self._time(table, name)) is not None}

    def reading(self, times: Mapping[str, Times]) -> TabularTask:
        wanted = self.project.data.columns
        told = wanted.model_copy(update={"timestamps": {**wanted.timestamps, **{name: t.form for name, t in times.items()}}})
        data = self.project.data.model_copy(update={"columns": told})
        return type(self)(self.project.model_copy(update={"data": data}), self.base_dir)

    def _time(self, table: pa.Table, name: str) -> Times | None:
        """How a column's times are written, null where it has none; looked for once a table."""
        import pyarrow as pa

        from sluice.data import timestamps

        cached: tuple[pa.Table, dict[str, Times | None]] | None = getattr(self, "_found", None)
        if cached is None or cached[0] is not table:
            cached = (table, {})
            self._found = cached
        if name not in cached[1]:
            wanted = self.project.data.columns
            values = columns.column(table, name, "data.columns.features")
            declared = wanted.timestamps.get(name)
            looked = declared is not None or not pa.types.is_string(values.type) or not columns.mostly_numbers(values)
            cached[1][name] = (
                None if name in wanted.categorical or not looked else timestamps.find(values, name, declared, wanted.time_zone)
            )
        return cached[1][name]

    def objective(self, table: pa.Table) -> str:
        """As ``model.objective`` says; on ``auto`` a label of numbers that are not whole, or of many values, is a quantity."""
        wanted: str = settings(self, TabularModel).objective
        if wanted != "auto":
            return wanted
        name = self.project.data.columns.label
        return columns.label_objective(columns.column(table, name, "data.columns.label"))

    def canonical(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        from sluice.data import timestamps

        out: dict[str, Any] = {}
        for name, kind in self.kinds(table).items():
            values = columns.column(table, name, "data.columns.features")
            found = self._time(table, name)
            if found is not None:
                out[name] = timestamps.read(values, name, found)
                continue
            convert = columns.to_float if kind == "numeric" else columns.to_string
            out[name] = convert(values, name, "column")
        out["label"] = columns.label(table, self.project.data.columns.label, self.objective(table))
        return pa.table(out)

    def fit(self, dataset: Dataset) -> State:
        """Mean and deviation of each number, the values of each category, the parts and the newest of times, scale of a numeric label."""
        from sluice.data import timestamps
        from sluice.fields import TabularProcessor

        features = _features_of(dataset)
        inputs = [t for c in features for t in c.inputs()]
        moments = {t.name: _Moments() for t in inputs if t.datatype != "BYTES"}
        values: dict[str, Counter[str]] = {t.name: Counter() for t in inputs if t.datatype == "BYTES"}
        label = _Moments()
        for batch in dataset.batches("train", columns=[*(c.name for c in features), "label"], rows=65_536):
            for c in features:
                column = batch.column(c.name)
                if c.time is not None:
                    for name, tensor in c.time.tensors(timestamps.wall_clock(column), c.tensor).items():
                        if name in moments:
                            moments[name].add(tensor[:, 0])
                        else:
                            values[name].update(v for v in tensor[:, 0] if v)
                elif c.type == "numeric":
                    moments[c.tensor].add(column.to_numpy(zero_copy_only=False) - c.centre)
                else:
                    counted = column.value_counts()
                    counts = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
                    values[c.tensor].update({v: n for v, n in counts if v})
            if dataset.objective == "regression":
                label.add(batch.column("label").to_numpy(zero_copy_only=False))
        known = {name: [v for v, _ in sorted(c.items(), key=lambda item: (-item[1], item[0]))] for name, c in values.items()}
        spellings = {c.name: Spelling.kept(known[c.tensor]) for c in features if c.type == "categorical"}
        numerals = {name: Numerals.load(n) for name, n in dataset.manifest["source"].get("numerals", {}).items()}
        features = [
            dataclasses.replace(c, spelling=spellings[c.name].kind)
            if c.name in spellings
            else dataclasses.replace(c, numerals=numerals.get(c.name))
            if c.type == "numeric"
            else c
            for c in features
        ]
        processor = TabularProcessor(features, {name: s.written for name, s in spellings.items()})
        extra: dict[str, Any] = {
            "numeric": {name: m.summary() for name, m in moments.items()},
            "categories": {name: v[:_MOST_CATEGORIES] for name, v in known.items()},
        }
        if dataset.objective == "regression":
            extra["target"] = label.summary()
        return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)

    def build(self, state: State) -> torch.nn.Module:
        from sluice.learners.torch.tabular_models import TabularMLP

        return TabularMLP(settings(self, TabularModel), state)

    def preload(self, state: State) -> None:
        import sluice.learners.torch.tabular_models  # noqa: F401

    def defaults(self, state: State, rows: int) -> Defaults:
        """Small steps from the linear model, averaged; larger batches for more rows."""
        from sluice.learners.torch.plan import Defaults

        batch = 128 if rows < 20_000 else 256 if rows < 100_000 else 1024
        return Defaults(batch_size=batch, learning_rate=2e-3, weight_decay=0.02, schedule="constant", ema=0.99, steps=6000, patience=15)

    def adapt(self, model: torch.nn.Module, state: State, rows: Encoded) -> bool:
        """Fit the linear part to the training rows, or to an even choice of many."""
        from typing import cast

        import torch

        from sluice.learners.torch.linear import fit_linear
        from sluice.learners.torch.tabular_models import TabularMLP
        from sluice.learners.torch.weights import label_weights

        net = cast(TabularMLP, model)
        step = -(-rows.rows * max(1, len(net.numeric)) // _MOST_FITTED)
        chosen = np.arange(0, rows.rows, step)
        with torch.no_grad():
            flat, _, codes = net.eval().features(self.tensors(rows.batch(chosen), state))
        weights = label_weights(self.project.train.class_weights, state.labels, np.asarray(rows.labels))
        labels = np.asarray(rows.labels[chosen])
        weigh = torch.tensor(weights)[torch.from_numpy(labels)] if weights else None
        fit_linear(net.straight, net.linear_parts(), flat, codes, self.targets(labels, state), weigh)
        return True

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, train: Plan) -> torch.Tensor:
        """While training every member has its own loss."""
        if outputs.dim() == (2 if targets.is_floating_point() else 3):
            targets, outputs = targets.repeat_interleave(outputs.shape[1]), outputs.flatten(0, 1)
        return super().loss(outputs, targets, train)

    def tensors(self, batch: dict[str, np.ndarray], state: State) -> dict[str, torch.Tensor]:
        """FP32 [rows, 1] a numeric column; a categorical one as INT64 codes [rows, 1]."""
        import torch

        tables = self._codes(state)
        out = {}
        for name, array in batch.items():
            table = tables.get(name)
            if table is None:
                out[name] = torch.from_numpy(array)
            else:
                codes = np.fromiter((table.get(v, UNKNOWN) for v in array.flat), dtype=np.int64, count=array.size)
                out[name] = torch.from_numpy(codes.reshape(array.shape))
        return out

    def _codes(self, state: State) -> dict[str, dict[str, int]]:
        cached = getattr(self, "_tables", None)
        if cached is None or cached[0] is not state:
            cached = (state, {name: codes(values) for name, values in state.extra["categories"].items()})
            self._tables = cached
        return cached[1]  # type: ignore[no-any-return]

    def targets(self, labels: np.ndarray, state: State) -> torch.Tensor:
        import torch

        if state.objective == "classification":
            return super().targets(labels, state)
        scale = state.extra["target"]
        return torch.from_numpy(((labels - scale["mean"]) / scale["std"]).astype(np.float32))

    def serving_module(self, model: torch.nn.Module, state: State) -> torch.nn.Module:
        if state.objective == "classification":
            return super().serving_module(model, state)
        from sluice.learners.torch.tabular_models import Denormalised

        return Denormalised(model, state.extra["target"]["mean"], state.extra["target"]["std"]).eval()

    def graph(self, serving: torch.nn.Module, state: State, inputs: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto | None:
        from sluice.learners.torch.tabular_graph import tabular_graph
        from sluice.learners.torch.tabular_models import TabularMLP

        return tabular_graph(serving, inputs, output, opset) if isinstance(getattr(serving, "model", None), TabularMLP) else None

    def finish_graph(self, graph: onnx.ModelProto, state: State) -> onnx.ModelProto:
        """Put an ``ai.onnx.ml`` LabelEncoder before each categorical input, so that the graph takes strings.

        Raises:
            DataError: the graph lacks the input of a categorical column.
        """
        import onnx
        from onnx import TensorProto, helper

        done = onnx.ModelProto()
        done.CopyFrom(graph)
        encoders = []
        for name, table in self._codes(state).items():
            entry = next((i for i in done.graph.input if i.name == name), None)
            if entry is None:
                raise DataError(
                    "is no input of the exported graph", field="model.onnx", value=name, fix="export with the columns' names as inputs"
                )
            inside = name + _CODES
            while any(inside == i.name for i in done.graph.input):
                inside += "_"
            for node in done.graph.node:
                for at, used in enumerate(node.input):
                    if used == name:
                        node.input[at] = inside
            entry.type.tensor_type.elem_type = TensorProto.STRING
            encoders.append(
                helper.make_node(
                    "LabelEncoder",
                    [name],
                    [inside],
                    name=f"encode_{name}",
                    domain="ai.onnx.ml",
                    keys_strings=list(table),
                    values_int64s=list(table.values()),
                    default_int64=UNKNOWN,
                )
            )
        if encoders:
            nodes = [*encoders, *done.graph.node]
            del done.graph.node[:]
            done.graph.node.extend(nodes)
            if all(o.domain != "ai.onnx.ml" for o in done.opset_import):
                done.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        return done


def _features_of(dataset: Dataset) -> list[Column]:
    """The features as the package keeps them: what is made of times, what numbers are centred at, and the inputs' names."""
    from sluice.data import timestamps
    from sluice.fields import Column
    from sluice.fields.centre import centre
    from sluice.fields.tabular import input_name
    from sluice.fields.timeparts import TimeColumn, parts_of

    times = {}
    for name in (n for n, kind in dataset.columns.items() if kind == "timestamp"):
        reader = dataset.times[name].reader
        wall = timestamps.known(dataset.read("train", [name]).column(name))
        time = TimeColumn(reader, int(wall.max()) if len(wall) else None, parts_of(wall, reader.dated))
        times[name] = Column(name, "timestamp", None, input_name(name, dataset.columns), time=time)
    taken = [t.name for c in times.values() for t in c.inputs()]

    def column(name: str, kind: str) -> Column:
        given = input_name(name, dataset.columns, taken)
        if kind != "numeric":
            return Column(name, "categorical", None, given)
        return Column(name, kind, None, given, centre=centre(dataset.read("train", [name]).column(name).to_numpy()))

    return [times[name] if name in times else column(name, kind) for name, kind in dataset.columns.items()]


def codes(values: list[str]) -> dict[str, int]:
    """value -> code; an empty string is what is missing."""
    return {"": MISSING, **{v: i + KNOWN for i, v in enumerate(values)}}


class _Moments:
    """Count, mean, variance, ends and quantiles in one pass over chunks (Chan, Golub, LeVeque 1983), NaN left out; quantiles of an even choice of values."""

    def __init__(self) -> None:
        self.rows = self.missing = 0
        self.mean = self.squares = 0.0
        self.low, self.high = float("inf"), float("-inf")
        self.sample, self.every = np.zeros(0, dtype=np.float64), 1

    def add(self, values: np.ndarray) -> None:
        x = np.asarray(values, dtype=np.float64)
        seen = x[~np.isnan(x)]
        self.missing += len(x) - len(seen)
        if not len(seen):
            return
        self.low, self.high = min(self.low, float(seen.min())), max(self.high, float(seen.max()))
        self.sample = np.concatenate([self.sample, seen[-self.rows % self.every :: self.every]])
        while len(self.sample) > _SAMPLE:
            self.sample, self.every = self.sample[::2], 2 * self.every
        mean = float(seen.mean())
        squares = float(((seen - mean) ** 2).sum())
        total = self.rows + len(seen)
        self.squares += squares + (mean - self.mean) ** 2 * self.rows * len(seen) / total
        self.mean += (mean - self.mean) * len(seen) / total
        self.rows = total

    def summary(self) -> dict[str, Any]:
        """mean, std, missing, low, high and edges: its distinct values if they are few, else its quantiles."""
        std = (self.squares / self.rows) ** 0.5 if self.rows else 0.0
        distinct = np.unique(self.sample)
        edges = distinct if len(distinct) <= _EDGES + 1 else np.unique(np.quantile(self.sample, np.linspace(0, 1, _EDGES + 1)))
        ends = (self.low, self.high) if self.rows else (0.0, 0.0)
        return {
            "mean": self.mean,
            "std": std if std > 1e-12 * max(abs(self.mean), 1e-300) else 1.0,
            "missing": self.missing,
            "low": ends[0],
            "high": ends[1],
            "edges": [float(e) for e in edges],
        }
