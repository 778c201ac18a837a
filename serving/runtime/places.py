"""Where models lie: a folder, an ONNX file, ``file://``, ``s3://``; ``/mnt/models`` is a folder like another."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from urllib.parse import unquote, urlparse

from serving.runtime.settings import Source
from sluice.errors import PackageError


def fetch(source: Source) -> Source:
    """The source with a local path for its `uri`, downloaded if need be.

    Raises:
        PackageError: nothing there, or a kind of place that is not known.
    """
    uri = source.uri
    if uri.startswith("file://"):
        uri = unquote(urlparse(uri).path)
    elif "://" in uri:
        raise PackageError("models are not loaded from such a place", field="PACKAGE", value=uri, fix="use a folder, or s3://bucket/key")
    path = Path(uri).absolute()
    if not path.exists():
        raise PackageError("is not there", field=str(path), fix="name a package directory or an .onnx file")
    return dataclasses.replace(source, uri=str(path))
