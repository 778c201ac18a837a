"""A package answers rows in their order, whatever they are batched with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.engines import predictor
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.predictor import Predictor


def test_values_come_back_in_the_order_of_the_rows(sealed):
    p = Predictor(sealed("tabular"))
    rows = [{"age": float(i), "job": ("cook", "baker", "smith", None)[i % 4]} for i in range(150)]
    assert p.predict(rows, batch_size=7).tolist() == [i + (1, 2, 0, 0)[i % 4] for i in range(150)]


def test_rows_of_one_shape_are_put_into_the_same_batches_without_being_taken_apart(sealed, monkeypatch):
    p = Predictor(sealed("tabular"))
    rows = [{"age": float(i), "job": ("cook", "baker", "smith", None)[i % 4]} for i in range(23)]
    seen, run = [], p._engine.run
    monkeypatch.setattr(p._engine, "run", lambda tensors: seen.append(tensors) or run(tensors))
    one_by_one = predictor.run_examples(p._engine, p.processor, p.processor.encode(rows), 7)
    monkeypatch.setattr(type(p.processor), "batch", None)
    assert p.predict(rows, batch_size=7).tobytes() == one_by_one.tobytes()
    for before, now in zip(seen[:4], seen[4:], strict=True):
        for name, values in before.items():
            assert (values.dtype, values.shape, values.tolist()) == (now[name].dtype, now[name].shape, now[name].tolist())


def test_probabilities_do_not_depend_on_batch_mates_of_other_lengths(sealed):
    p = Predictor(sealed("text"))
    rows = ["good " * (i % 6 + 1) + "bad " * (i % 3) for i in range(40)]
    together = p.predict(rows, batch_size=16)
    alone = np.concatenate([p.predict([r]) for r in rows])
    assert together.shape == (40, 2)
    assert np.array_equal(together, alone)
    assert math.isclose(together[1, 0], 1 / (1 + math.exp(-1)), rel_tol=1e-6)  # two good, one bad


def test_no_rows_give_an_answer_of_no_rows(sealed):
    assert Predictor(sealed("text")).predict([]).shape == (0, 2)
    assert Predictor(sealed("tabular")).predict([]).shape == (0,)


def test_the_row_of_an_error_counts_from_the_first_of_all_rows(sealed, monkeypatch):
    monkeypatch.setattr(predictor, "_WINDOW", 4)
    with pytest.raises(InputError) as e:
        Predictor(sealed("tabular")).predict([{"age": 1}] * 9 + [{"age": "x"}])
    assert e.value.field == "rows[9].age"
    assert e.value.value == "x"


def test_tensors_run_as_they_are(sealed):
    out = Predictor(sealed("tabular")).run({"age": np.array([[3]], np.float32), "job": np.array([["baker"]], object)})
    assert out["value"].tolist() == [5]


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(sealed):
    with pytest.raises(PackageError, match="outputs"):
        Predictor(sealed("tabular", outputs=[TensorSpec("price", "FP32", (-1,))]))


@pytest.mark.parametrize("raw", [b"", b"no graph", b"\x08\x09"])
def test_what_is_no_graph_is_refused(raw):
    with pytest.raises(PackageError, match="cannot load"):
        OnnxRuntime.open(raw)


def test_threads_must_be_positive(sealed):
    with pytest.raises(PackageError, match="at least 1"):
        OnnxRuntime.open(sealed("tabular").model, threads=0)
