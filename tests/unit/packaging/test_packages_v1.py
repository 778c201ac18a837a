"""Packages of v1 are read for ever, and answer what they answered when they were made."""

from __future__ import annotations

import numpy as np
import pytest

from serving.runtime.models.model import load
from sluice.core.datatypes import EngineSpec
from sluice.engines.predictor import Predictor
from sluice.package.inspection import diff, inspect
from sluice.package.package import read
from tests.unit.packaging.packages_v1 import CLOSE, NAMES, kept

WITHOUT_FUSION = EngineSpec("onnxruntime", {"disabled_optimizers": ["SkipLayerNormFusion"]})


@pytest.mark.parametrize("name", NAMES)
def test_an_old_package_answers_as_it_did(name):
    old = kept(name)
    p = Predictor(read(old.root, old.digest))
    answers = p.predict(old.raw(p.processor.kind == "image"))
    np.testing.assert_allclose(answers, old.answers, rtol=CLOSE, atol=CLOSE)
    if old.labels is not None:
        assert [p.package.labels[i] for i in p.codes(answers)] == old.labels


@pytest.mark.parametrize("name", NAMES)
def test_the_servers_model_runs_an_old_package_as_the_evaluation_does(name):
    old = kept(name)
    served = load(old.root, name, old.digest, 1, 1 << 30)
    rows = old.raw(served.kind == "image")
    found = served.run(served.processor.encode_batch(rows))[served.outputs[0]]
    np.testing.assert_array_equal(found, Predictor(read(old.root)).predict(rows, batch_size=len(rows)))
    np.testing.assert_allclose(found, old.answers, rtol=CLOSE, atol=CLOSE)


def test_what_an_old_package_does_not_say_is_read_as_it_was_meant():
    found = {name: read(kept(name).root) for name in NAMES}
    assert {n: p.problem for n, p in found.items()} == {n: p.objective for n, p in found.items()}
    assert found["digits"].fields == {"image": "image"}
    assert found["intents"].fields == {"text": "text"}
    assert found["rents"].fields == {"area": "numeric", "town": "categorical", "since": "timestamp"}
    assert len(found["breast-cancer"].fields) == 30
    assert {n: p.engine for n, p in found.items() if p.engine.options} == {"intents": WITHOUT_FUSION}
    assert found["breast-cancer"].rule.label == "malignant"


@pytest.mark.parametrize("name", NAMES)
def test_an_old_package_is_inspected_and_compared(name):
    p = read(kept(name).root)
    assert inspect(p)["objective"] == p.objective
    assert diff(p, p)["same"]
