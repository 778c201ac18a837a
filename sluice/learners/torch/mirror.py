"""Checkpoints in an object store too: a job whose machine and disk are gone goes on somewhere else.

``s3://bucket/prefix/<key>/step-000001234/...``: the same files as on disk, the manifest uploaded
last. The store is written behind the training and never holds it up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from sluice.core import files, s3
from sluice.core.errors import ProjectError

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
        bucket, _, prefix = store.removeprefix("s3://").partition("/")
        if not store.startswith("s3://") or not bucket:
            raise ProjectError("names no bucket", field="train.checkpoint.store", value=store, fix="use s3://bucket/prefix")
        self.bucket, self._warn = bucket, warn
        self._prefix = "/".join(p for p in (prefix.strip("/"), key) if p) + "/"
        self.where = f"s3://{bucket}/{self._prefix}"
        self._client = s3.client("train.checkpoint.store", attempts=3)

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
                self._client.upload_file(str(file), self.bucket, f"{self._prefix}{path.name}/{file.name}")

    def keep(self, names: set[str]) -> None:
        """Delete all checkpoints but these; a manifest goes first, so that none is left that looks whole."""
        with self._explained("tidied"):
            gone = [key for key in self._keys() if key.removeprefix(self._prefix).split("/")[0] not in names]
            for key in sorted(gone, key=lambda k: not k.endswith(MANIFEST)):
                self._client.delete_object(Bucket=self.bucket, Key=key)

    def _keys(self) -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._prefix):
            for item in page.get("Contents", ()):
                yield item["Key"]

    def _manifests(self) -> set[str]:
        return {key.split("/")[-2] for key in self._keys() if key.endswith("/" + MANIFEST)}

    def _bring(self, name: str, root: Path) -> None:
        with files.new_dir(root / name) as tmp:
            prefix = f"{self._prefix}{name}/"
            for key in [k for k in self._keys() if k.startswith(prefix) and "/" not in k.removeprefix(prefix)]:
                self._client.download_file(self.bucket, key, str(tmp / key.removeprefix(prefix)))

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, OSError, ValueError) as e:
            self._warn(f"checkpoints at {self.where} could NOT be {done}: {e}. Training goes on with those on disk")


def mirror(store: str | None, key: str, warn: Callable[[str], None]) -> Mirror | None:
    """The mirror a project asks for; None where it asks for none. Raises as `Mirror`."""
    return Mirror(store, key, warn) if store else None
