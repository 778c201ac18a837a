"""What ``scheme://`` before a source means: files that are brought here, or a table as it is.

A source of your own is a function in a file of yours, named by where it is: ``data.source: "my_rows:daily://2026-11"`` calls ``my_rows.daily``.
Another distribution brings schemes as entry points of the group ``sluice.sources``.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.errors import DataError, ProjectError
from sluice.core.registry import Registry
from sluice.data.config import Columns

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.fields import Field

#: scheme -> a function from `Asked` to what it brings.
SOURCES = Registry(
    "source",
    {
        "dvc": "sluice.data.dvc:fetch",
        "gym": "sluice.environments.logged:table",
        "hf": "sluice.data.huggingface:table",
        "http": "sluice.data.web:fetch",
        "https": "sluice.data.web:fetch",
        "labelled": "sluice.monitor.labelled_source:fetch",
        "s3": "sluice.data.objects:fetch",
        "sklearn": "sluice.data.bundled:table",
        "sounds": "sluice.data.sounds:table",
    },
)

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+._-]*(?::[A-Za-z_]\w*)?)://")


@dataclasses.dataclass(frozen=True)
class Found:
    """A file or folder of a source: where it lies here, and what to call it in messages."""

    path: Path
    where: str


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of a source.

    Attributes:
        uri: the whole of ``data.source``. rest: what stands behind ``://``.
        folder: an empty folder for files that are brought here; it is gone once they were read.
        columns: ``data.columns`` of the project: how the label and the features are called.
        value: the field that a row is alone (an image, a text); None where rows are records.
        base_dir: the project file's folder.
    """

    uri: str
    rest: str
    folder: Path
    columns: Columns
    value: Field | None = None
    base_dir: Path = Path()


def scheme_of(uri: str) -> str | None:
    """The scheme that a source names; None for a path or a glob."""
    found = _SCHEME.match(uri)
    return found[1] if found else None


def bring(asked: Asked, beside: Path) -> list[Found] | pa.Table:
    """What a source with a scheme brings: files, in the order of their names, or its rows as a table.

    Args:
        beside: the project file's folder, where a source of the user's own may lie.

    Raises:
        DataError: the scheme is not known, or what the source says of this address.
        MissingExtra: an optional package is needed.
    """
    scheme = scheme_of(asked.uri) or ""
    try:
        source: Callable[[Asked], list[Found] | pa.Table] = SOURCES.get(
            scheme if ":" in scheme else scheme.lower(), field="data.source", beside=beside
        )
    except ProjectError as e:
        if ":" in scheme:
            raise DataError(e.message, field="data.source", value=asked.uri, fix=e.fix) from e
        raise _unknown(scheme.lower(), asked.uri) from e
    return source(asked)


def _unknown(scheme: str, uri: str) -> DataError:
    near = difflib.get_close_matches(scheme, SOURCES.names(), 1, 0.5)
    what = "download the file and name its path" if scheme == "ftp" else "name a path without a scheme"
    hint = f"did you mean {near[0]}://? " if near else ""
    known = ", ".join(f"{name}://" for name in SOURCES.names())
    return DataError("unknown scheme", field="data.source", value=uri, fix=f"{hint}{what}; known: a path, a glob, {known}")
