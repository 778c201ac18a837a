"""Where a package came from: digests and versions, nothing that changes by itself."""

from __future__ import annotations

import hashlib
import inspect
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import sluice
from sluice.core.errors import ProjectError

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "pyarrow", "tokenizers", "torch", "torchvision", "transformers")


def code_digest(task: type) -> str:
    """sha256 over Sluice's own source files and, for a task of the user's, its module's file.

    Raises:
        ProjectError: the task's source file cannot be found.
    """
    root = Path(sluice.__file__).parent
    h = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        _add(h, path.relative_to(root).as_posix(), path)
    if not task.__module__.startswith("sluice."):
        try:
            own = Path(inspect.getfile(task))
        except (TypeError, OSError) as e:
            raise ProjectError(
                "has no source file, so the package could not say what code made it",
                field="task",
                value=task.__qualname__,
                fix="define the task in a module",
            ) from e
        _add(h, task.__module__, own)
    return h.hexdigest()


def _add(h: Any, name: str, path: Path) -> None:
    data = path.read_bytes()
    h.update(f"{len(name)} {name} {len(data)}\n".encode() + data)


def libraries() -> dict[str, str]:
    """Versions of what training and export depend on, those that are installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
