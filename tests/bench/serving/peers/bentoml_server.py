"""BentoML: ``bentoml serve bentoml_server:Onnx``, two workers, one ONNX Runtime thread each; `$PACKAGE` names the model."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=2, traffic={"timeout": 60})
class Onnx:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(Path(os.environ["PACKAGE"]) / "model.onnx"), options, providers=["CPUExecutionProvider"])

    @bentoml.api(route="/predict")
    def predict(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        feed = {i["name"]: np.array(i["data"], dtype=np.int64).reshape(i["shape"]) for i in inputs}
        found = self.session.run(None, feed)[0]
        return {"outputs": [{"name": "probabilities", "shape": list(found.shape), "datatype": "FP32", "data": found.ravel().tolist()}]}
