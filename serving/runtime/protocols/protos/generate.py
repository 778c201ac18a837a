"""``python -m serving.runtime.protocols.protos.generate``: write ``open_inference_pb2.py`` again after a change of the .proto."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def generate() -> str:
    """The module's text. Its messages live in a pool of their own: another library's
    messages of the same names (kserve's) may be loaded in the same process."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as out:
        if protoc.main(["protoc", f"-I{HERE}", f"--python_out={out}", str(HERE / "open_inference.proto")]) != 0:
            sys.exit("protoc failed")
        text = (Path(out) / "open_inference_pb2.py").read_text()
    return "# ruff: noqa\n# fmt: off\n" + text.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")


if __name__ == "__main__":
    (HERE / "open_inference_pb2.py").write_text(generate())
