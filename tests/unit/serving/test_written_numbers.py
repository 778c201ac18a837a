"""A number written as text, in the way the training rows have it, is that number on every protocol."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.runtime.errors import RequestError
from serving.runtime.models.model import Model, load
from serving.runtime.protocols import v1, v2
from sluice.core.errors import InputError
from sluice.package import package as packages
from tests.unit.serving import builders


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    root = tmp_path_factory.mktemp("p")
    made = builders.tabular(root / "p", numerals={"decimal": ",", "thousands": ".", "unit": "€"})
    assert packages.read(root / "p", made.digest).preprocess["columns"][0]["numerals"]["unit"] == "€"
    return load(made.root, "", made.digest, 1, 1 << 20)


WRITTEN, PLAIN = ["1.234,50 €", "7", " "], [1234.5, 7, None]


def ages(units: list) -> np.ndarray:
    return np.concatenate([u.tensors["age"].ravel() for u in units])


def test_texts_and_numbers_are_one(model: Model) -> None:
    expected = np.float32([1234.5, 7, np.nan])
    for values in (WRITTEN, PLAIN):
        rows = [{"age": v, "job": "cook"} for v in values]
        assert np.array_equal(ages(v1.parse(model, json.dumps({"instances": rows}).encode(), 8, 8)[0]), expected, equal_nan=True)
    for datatype, values in (("BYTES", WRITTEN), ("FP32", PLAIN)):
        body = {
            "inputs": [
                {"name": "age", "datatype": datatype, "shape": [3], "data": values},
                {"name": "job", "datatype": "BYTES", "shape": [3], "data": ["cook"] * 3},
            ]
        }
        assert np.array_equal(ages(v2.parse(model, json.dumps(body).encode(), None, 8, 8).units), expected, equal_nan=True)


@pytest.mark.parametrize("value", ["1,234.50", "12 %", "many"])
def test_a_text_written_otherwise_is_the_clients_mistake(model: Model, value: str) -> None:
    with pytest.raises(
        (InputError, RequestError),
        match=r"is not a number as the training rows write it(.|\n)*\",\" before decimals, \".\" between thousands",
    ):
        v1.parse(model, json.dumps({"instances": [{"age": value, "job": "cook"}]}).encode(), 8, 8)
