"""A trained network as TorchScript: traced, without anything that names where it was made."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from typing import TYPE_CHECKING

import orjson
import torch

from sluice.core.errors import SluiceError, first_line
from sluice.engines.torchscript import SPECS
from sluice.learners.torch.graph import Positional

if TYPE_CHECKING:
    from sluice.learners.state import State
    from sluice.learners.torch.network import Network

#: Of each entry of the archive: ZIP's first day.
_DAY = (1980, 1, 1, 0, 0, 0)
_NUMBERED = re.compile(rb"___torch_mangle_\d+")


def network_script(network: Network, state: State, serving: torch.nn.Module) -> bytes:
    """The serving module as TorchScript, its arguments in the order of the package's inputs.

    Raises:
        SluiceError: the package takes texts, which are no tensors here, or torch cannot trace the module.
    """
    inputs = list(state.processor.inputs)
    if texts := [t.name for t in inputs if t.datatype == "BYTES"]:
        raise SluiceError(f"it takes {', '.join(texts[:3])} as text, and TorchScript takes tensors of numbers only")
    example = network.example(state)
    names = [t.name for t in inputs]
    if sorted(example) != sorted(names):
        raise SluiceError(f"the network takes {', '.join(example)}, the package {', '.join(names)}")
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            module = torch.jit.trace(Positional(serving, names).eval(), tuple(example[n] for n in names), check_trace=False)
            module = torch.jit.freeze(module.eval())
        told = {side: [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in specs]
                for side, specs in (("inputs", inputs), ("outputs", state.outputs))}  # fmt: skip
        written = io.BytesIO()
        torch.jit.save(module, written, _extra_files={SPECS: orjson.dumps(told).decode()})
    except Exception as e:  # torch.jit raises a family of its own
        raise SluiceError(f"torch cannot trace it: {type(e).__name__}: {first_line(e)}") from e
    return _plain(written.getvalue())


def _plain(archive: bytes) -> bytes:
    """Without the places in source files that each line came from, and without the numbers by which a process tells the modules it traced:
    equal networks give equal bytes."""
    made, seen = io.BytesIO(), dict[bytes, bytes]()

    def renamed(text: bytes) -> bytes:
        return _NUMBERED.sub(lambda m: seen.setdefault(m[0], b"___torch_mangle_%d" % len(seen)), text)

    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            if name.endswith((".debug_pkl", ".data/serialization_id")):
                continue
            data = source.read(name)
            # Names of classes stand in lines of their own in this pickle, so they may have another length.
            told = renamed(data) if name.endswith((".py", "/data.pkl")) else data
            target.writestr(zipfile.ZipInfo(renamed(name.encode()).decode(), _DAY), told)
    return made.getvalue()
