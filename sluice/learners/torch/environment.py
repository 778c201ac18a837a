"""What a model was trained with and on."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

import torch

from sluice.core.processes import cpu_name
from sluice.learners.torch.distributed import World

_LIBRARIES = ("torch", "torchvision", "transformers", "tokenizers", "numpy", "pyarrow", "safetensors")


def environment(world: World) -> dict[str, Any]:
    """Versions and hardware, as plain JSON values."""
    found = {}
    for name in _LIBRARIES:
        if name in sys.modules or name in ("torch", "numpy"):
            found[name] = metadata.version(name)
    gpu = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "device": world.device.type,
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "libraries": found,
    }
