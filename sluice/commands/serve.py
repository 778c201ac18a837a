"""`sluice serve`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from sluice.cli import checkout_command
from sluice.errors import PackageError
from sluice.home import Home
from sluice.packaging.package import MANIFEST


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean drain."""
    package = locate(args.package, Home(args.home))
    start = checkout_command("serve")
    argv = [str(package), "--host", args.host, "--port", str(args.port)]
    if args.workers is not None:
        argv += ["--workers", str(args.workers)]
    if args.name:
        argv += ["--name", args.name]
    return int(start(argv) or 0)


def locate(reference: str, home: Home) -> Path:
    """The directory a package reference means: a path, a digest (or its first six or more digits), ``NAME`` or ``NAME@ALIAS``.

    Raises:
        PackageError: nothing of that name, or more than one digest begins so.
    """
    path = Path(reference)
    if (path / MANIFEST).is_file() or (path.is_dir() and "/" in reference):
        return path
    from sluice.packaging.store import default_store, open_store

    digits = reference.removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{6,64}", digits):
        found = [d for d in default_store(home).digests() if d.startswith(digits)]
        if len(found) == 1:
            return default_store(home).get(found[0]).root
        what = "no package in the store begins so" if not found else f"{len(found)} packages begin so"
        raise PackageError(what, field="PACKAGE", value=reference, fix="`sluice models` lists the digests")
    from sluice.commands.history import find_version

    version = find_version(reference if "@" in reference else f"{reference}@champion", home)
    return open_store(version.uri, home).get(version.digest).root
