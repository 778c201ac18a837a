"""One engine opens every graph: by its name, with the options a package gives it, and nothing a package says is imported."""

from __future__ import annotations

import sys

import numpy as np
import orjson
import pytest

from serving.runtime.models.model import load
from sluice.core import files
from sluice.core.datatypes import TensorSpec
from sluice.core.errors import PackageError
from sluice.engines.base import ENGINES, Engine, open_engine, open_package
from sluice.engines.predictor import Predictor
from sluice.package.package import MANIFEST, read

ROW = {"age": np.array([[3]], np.float32), "job": np.array([["baker"]], object)}


def engine_of(sealed, **engine):
    """A sealed package whose manifest names another engine."""
    root = sealed("tabular").root
    m = orjson.loads((root / MANIFEST).read_bytes())
    (root / MANIFEST).write_bytes(files.pretty_json({**m, "engine": {"name": "onnxruntime", "options": {}, **engine}}))
    return read(root)


def test_an_engine_tells_what_it_takes_and_gives_and_runs(sealed):
    engine = open_package(sealed("tabular"))
    assert isinstance(engine, Engine) and not engine.blocking
    assert engine.inputs == (TensorSpec("age", "FP32", (-1, 1)), TensorSpec("job", "BYTES", (-1, 1)))
    assert engine.outputs == (TensorSpec("value", "FP32", (-1,)),)
    assert {name: array.tolist() for name, array in engine.run(ROW).items()} == {"value": [5.0]}


def test_bytes_and_a_file_open_alike(sealed):
    p = sealed("tabular")
    from_bytes, from_file = (open_engine(p.engine, source) for source in (p.model.read_bytes(), p.model))
    assert from_bytes.run(ROW)["value"].tolist() == from_file.run(ROW)["value"].tolist()


@pytest.mark.parametrize("opened", [Predictor, lambda p: load(p.root, "m", None, 1, 1 << 30)], ids=["evaluation", "server"])
def test_an_engine_that_is_not_here_is_answered_with_the_nearest(sealed, opened):
    with pytest.raises(PackageError) as e:
        opened(engine_of(sealed, name="onnx-runtime"))
    assert (e.value.field, e.value.value) == ("engine", "onnx-runtime")
    assert "did you mean 'onnxruntime'?" in e.value.fix


def test_an_engine_that_a_package_names_as_a_module_is_not_imported(sealed, tmp_path, monkeypatch):
    (tmp_path / "evil_engine.py").write_text("class Engine: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PackageError, match="not the name of an engine"):
        Predictor(engine_of(sealed, name="evil_engine:Engine"))
    assert "evil_engine" not in sys.modules


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"provider": "CUDA"}, "engine.options.provider"),
        ({"disabled_optimizers": "SkipLayerNormFusion"}, "engine.options.disabled_optimizers"),
        ({"disabled_optimizers": [1]}, "engine.options.disabled_optimizers"),
        ({"providers": ["OpenVINOExecutionProvider"]}, "engine.options.providers"),
        ({"providers": ["TensorrtExecutionProvider"]}, "engine.options.providers"),
    ],
)
def test_an_option_that_the_engine_does_not_have_is_refused(sealed, options, field):
    with pytest.raises(PackageError) as e:
        Predictor(engine_of(sealed, options=options))
    assert e.value.field == field


def test_options_reach_the_engine(sealed, monkeypatch):
    import onnxruntime as ort

    seen = []
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "InferenceSession", lambda *a, **k: (seen.append(k["disabled_optimizers"]), real(*a, **k))[1])
    open_package(engine_of(sealed, options={"disabled_optimizers": ["SkipLayerNormFusion"]}))
    open_package(engine_of(sealed))
    assert seen == [["SkipLayerNormFusion"], None]


def test_every_built_in_engine_is_one():
    assert all(issubclass(ENGINES.get(name), Engine) for name in ENGINES.names())
