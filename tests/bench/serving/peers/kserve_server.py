"""kserve's own ModelServer as its documentation has it: a Model whose predict runs an ONNX session.

``python kserve_server.py PACKAGE PORT``
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from kserve import InferOutput, InferResponse, Model, ModelServer


class Onnx(Model):
    def __init__(self, name, root):
        super().__init__(name)
        self.session = ort.InferenceSession(str(Path(root) / "model.onnx"), providers=["CPUExecutionProvider"])
        self.names = {i.name: {"tensor(float)": np.float32, "tensor(int64)": np.int64}[i.type] for i in self.session.get_inputs()}
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):  # V1
            rows = payload["instances"]
            feed = {n: np.array([r[n] for r in rows] if isinstance(rows[0], dict) else rows, dtype=t) for n, t in self.names.items()}
            return {"predictions": self.session.run(None, feed)[0].tolist()}
        feed = {i.name: i.as_numpy() for i in payload.inputs}
        found = self.session.run(None, feed)[0]
        output = InferOutput("probabilities", list(found.shape), "FP32")
        output.set_data_from_numpy(found, binary_data=False)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    root, port = sys.argv[1:3]
    ModelServer(http_port=int(port), enable_grpc=False, access_log_format=None).start([Onnx("model", root)])
