"""MLServer: a custom runtime on ONNX Runtime, one thread; `$PACKAGE` names the model."""

import os
from pathlib import Path

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Onnx(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(str(Path(os.environ["PACKAGE"]) / "model.onnx"), options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.session.run(None, {i.name: NumpyCodec.decode_input(i) for i in payload.inputs})[0]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[NumpyCodec.encode_output("probabilities", found)])
