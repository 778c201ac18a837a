"""Checkpoints in an object store too: a job whose machine and disk are gone goes on somewhere else.

``s3://bucket/prefix/<key>/step-000001234/...``: the same files as on disk, the manifest uploaded
last. The store is written behind the training and never holds it up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.s3 import Place, StoreFault

MANIFEST = "manifest.json"


class Mirror:
    """A run's checkpoints in a store.

    Args:
        store: ``s3://bucket`` or ``s3://bucket/prefix``.
        key: the run's name there.
        warn: told what went wrong, in a sentence; training goes on.

    Raises:
        ProjectError: `store` names no bucket.
        MissingExtra: boto3 is not installed.
    """

    def __init__(self, store: str, key: str, warn: Callable[[str], None]):
        self._warn = warn
        try:
            self._place = Place(
                f"{store.rstrip('/')}/{key}" if store.removeprefix("s3://").strip("/") else store, "train.checkpoint.store", attempts=3
            )
        except ValueError as e:
            raise ProjectError(str(e), field="train.checkpoint.store", value=store, fix="use s3://bucket/prefix") from e
        except StoreFault as e:
            raise e.told(ProjectError, "train.checkpoint.store", value=store) from e
        self.where = f"{self._place.uri}/"

    def fetch(self, root: Path) -> None:
        """Bring the checkpoints that are whole in the store and newer than all of `root`, and the best weights beside them."""
        with self._explained("read"):
            last = max((p.name for p in root.glob("step-*")), default="")
            there = self._manifests()
            wanted = {n for n in there if n.startswith("step-") and n > last}
            if wanted:
                wanted |= {n for n in there if n.startswith("best-") and not (root / n).exists()}
            for name in sorted(wanted):
                self._bring(name, root)

    def push(self, path: Path) -> None:
        """Upload one checkpoint, its manifest last."""
        with self._explained("written"):
            for file in sorted(path.iterdir(), key=lambda p: p.name == MANIFEST):
                self._place.upload(file, f"{path.name}/{file.name}")

    def keep(self, names: set[str]) -> None:
        """Delete all checkpoints but these; a manifest goes first, so that none is left that looks whole."""
        with self._explained("tidied"):
            gone = [name for name, _ in self._place.list() if name.split("/")[0] not in names]
            for name in sorted(gone, key=lambda n: not n.endswith(MANIFEST)):
                self._place.delete(name)

    def _manifests(self) -> set[str]:
        return {name.split("/")[-2] for name, _ in self._place.list() if name.endswith("/" + MANIFEST)}

    def _bring(self, name: str, root: Path) -> None:
        with files.new_dir(root / name) as tmp:
            for file, _ in list(self._place.list(f"{name}/")):
                if "/" not in (short := file.removeprefix(f"{name}/")):
                    self._place.fetch(file, tmp / short)

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except (StoreFault, OSError, ValueError) as e:
            self._warn(f"checkpoints at {self.where} could NOT be {done}: {e}. Training goes on with those on disk")


def mirror(store: str | None, key: str, warn: Callable[[str], None]) -> Mirror | None:
    """The mirror a project asks for; None where it asks for none. Raises as `Mirror`."""
    return Mirror(store, key, warn) if store else None
