"""LitServe: ``python litserve_server.py PACKAGE PORT``, two workers, one ONNX Runtime thread each."""

import sys
from pathlib import Path

import litserve as ls
import numpy as np
import onnxruntime as ort


class Onnx(ls.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(Path(sys.argv[1]) / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def decode_request(self, request, **kwargs):
        return {i["name"]: np.array(i["data"], dtype=np.int64).reshape(i["shape"]) for i in request["inputs"]}

    def predict(self, feed, **kwargs):
        return self.session.run(None, feed)[0]

    def encode_response(self, found, **kwargs):
        return {"outputs": [{"name": "probabilities", "shape": list(found.shape), "datatype": "FP32", "data": found.ravel().tolist()}]}


if __name__ == "__main__":
    ls.LitServer(Onnx(api_path="/predict"), accelerator="cpu", workers_per_device=2).run(
        port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="error"
    )
