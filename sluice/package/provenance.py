"""Where a package came from: digests and versions, nothing that changes by itself."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import sluice
from sluice.core.errors import ProjectError

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "pyarrow", "tokenizers", "torch", "torchvision", "transformers")


def code_digest(*makers: type) -> str:
    """sha256 over Sluice's own source files and, of those that make the model, the files of the user's own.

    Args:
        makers: the classes of the task, the learner and what else it is made by.

    Raises:
        ProjectError: a class's source file cannot be found.
    """
    root = Path(sluice.__file__).parent
    h = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        _add(h, path.relative_to(root).as_posix(), path)
    for kind in sorted({m.__module__: m for m in makers if not m.__module__.startswith("sluice.")}.values(), key=lambda m: m.__module__):
        try:
            own = Path(inspect.getfile(kind))
        except (TypeError, OSError) as e:
            raise ProjectError(
                "has no source file, so the package could not say what code made it",
                field="task",
                value=kind.__qualname__,
                fix="define it in a module",
            ) from e
        _add(h, kind.__module__, own)
    return h.hexdigest()


def _add(h: Any, name: str, path: Path) -> None:
    data = path.read_bytes()
    h.update(f"{len(name)} {name} {len(data)}\n".encode() + data)


def libraries(more: Iterable[str] = ()) -> dict[str, str]:
    """Versions of what training and export depend on, and of `more`, those that are installed."""
    found = {"python": platform.python_version()}
    for name in (*_LIBRARIES, *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
