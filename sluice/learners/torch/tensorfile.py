"""Writing safetensors in one pass: the digest is taken as the bytes go by, with the interpreter free."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import orjson
import torch

#: dtype -> its name in the format.
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_CHUNK = 4 << 20


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, str | int]:
    """Write CPU tensors as a safetensors file and fsync it; equal tensors give equal bytes.

    The format: 8 bytes little-endian header size, a JSON header with type, shape and offsets, the
    raw data. Written here rather than by the library so that hashing and writing are one pass
    that holds the interpreter lock for neither.

    Returns:
        ``{"sha256": hex, "size": bytes}`` of the file.

    Raises:
        OSError: it cannot be written.
        TypeError: a dtype the format does not have.
    """
    header: dict[str, object] = {}
    flat = []
    at = 0
    # Widest elements first, then by name: every tensor lies aligned.
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        t = tensors[name].detach()
        if t.dtype not in _NAMES:
            raise TypeError(f"{name}: safetensors has no {t.dtype}")
        data = t.contiguous().reshape(-1).view(torch.uint8).numpy()
        header[name] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + data.nbytes]}
        flat.append(data)
        at += data.nbytes
    head = orjson.dumps(header)
    head += b" " * (-len(head) % 8)
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as f:
        for part in (len(head).to_bytes(8, "little"), head, *flat):
            view = memoryview(part)
            for start in range(0, len(view), _CHUNK):
                piece = view[start : start + _CHUNK]
                digest.update(piece)
                while piece:
                    piece = piece[f.write(piece) or 0 :]
        os.fsync(f.fileno())
    return {"sha256": digest.hexdigest(), "size": 8 + len(head) + at}
