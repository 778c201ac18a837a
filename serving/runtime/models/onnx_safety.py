"""Which ONNX files the server loads."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sluice.core.errors import PackageError
from sluice.package import onnxfile
from sluice.package.onnxfile import Facts


def check(path: Path, max_bytes: int) -> Facts:
    """Read a graph's facts and refuse what is not safe to load.

    Weights outside the file may only lie beside it or below: an absolute path, or one that
    climbs out (also by a symbolic link), could read any file of the host.

    Raises:
        PackageError: unreadable, too large, no ONNX, an operator set not run here, or an external path that is refused.
    """
    found = onnxfile.facts(path, max_bytes)
    onnxfile.check_operators(found, path)
    total = path.stat().st_size + sum(_external(path, name) for name in sorted(found.locations))
    if total > max_bytes:
        raise PackageError(
            f"and its weights are larger than {max_bytes} bytes", field=str(path), value=total, fix="raise --max-model, if that is meant"
        )
    return found


def unknown(path: Path, max_bytes: int) -> Facts:
    """Of a file that is no ONNX, which its own engine looks into: nothing is known but its size. Raises `PackageError`: it is too large."""
    if (size := path.stat().st_size) > max_bytes:
        raise PackageError(f"is larger than {max_bytes} bytes", field=str(path), value=size, fix="raise --max-model, if that is meant")
    return Facts()


def _external(model: Path, name: str) -> int:
    where = PurePosixPath(name)
    base = model.parent.resolve()
    if not name or where.is_absolute() or ".." in where.parts or "\\" in name or not (base / name).resolve().is_relative_to(base):
        raise PackageError("keeps weights outside the package", field=str(model), value=name, fix="export with the weights inside the file")
    try:
        return (base / name).stat().st_size
    except OSError as e:
        raise PackageError("keeps weights in a file that is not there", field=str(model), value=name) from e
