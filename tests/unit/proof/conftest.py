"""A small package in a store of its own, with the proof that `register` writes beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluice.core import files
from sluice.core.gate import Gate
from sluice.package.package import Package, Store
from sluice.proof import keys, record
from sluice.proof.config import CardConfig
from sluice.proof.statement import Made
from tests.unit.packaging.conftest import seal

_LOCKED = {"python": "3.11.7", "packages": {"numpy": "2.4.6", "onnx": "1.23.2"}}
MADE = Made(
    project='{"name":"demo","task":"text","data":{"source":"rows.csv"}}',
    config="c" * 64,
    source="rows.csv",
    base_dir="/project",
    gates=(
        Gate("preprocess", "pass", ("8 train rows",), {"rows": {"train": 8, "test": 4}}, 1.5),
        Gate(
            "evaluate",
            "pass",
            ("accuracy 0.9",),
            {
                "evaluation": {"metric": "accuracy"},
                "measured": {"accuracy": [0.9, 0.8, 0.95]},
                "sliced": [["label = bad", 0.8, 0.6, 0.9, 4]],
            },
            2.0,
        ),
    ),
    code={"commit": "a" * 40, "clean": True, "folder": "projects/demo", "remote": "https://example.com/demo.git"},
    lock={**_LOCKED, "digest": files.digest_of(_LOCKED), "machine": {"cpu": "none"}},
    by="ada",
    finished="2026-11-30T02:00:00Z",
    run="run-1",
)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A package in its store, and the key it is signed with, if it is."""

    store: Store
    package: Package
    home: Path
    key: keys.SigningKey | None

    @property
    def digest(self) -> str:
        return self.package.digest

    @property
    def trusted(self) -> list[keys.PublicKey]:
        return [self.key.public] if self.key else []


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kept]:
    """`kept()` is signed, `kept(signed=False)` is not; settings of `seal` and `Made` by keyword."""
    for name in (keys.SIGNING_KEY_ENV, keys.PASSWORD_ENV, keys.TRUSTED_ENV, "SLUICE_STORE"):
        monkeypatch.delenv(name, raising=False)

    def make(kind: str = "text", *, signed: bool = True, card: CardConfig = CardConfig(), made: Made = MADE, **changes: Any) -> Kept:
        provenance = {"seed": 17, "data": "d" * 64, "code": "e" * 64, "config": "c" * 64}
        home = tmp_path / "home"
        package = Store(home / "store").add(seal(tmp_path / "made", kind, **{"provenance": provenance} | changes))
        store = Store(home / "store")
        if signed and not (home / "keys" / keys.PRIVATE_NAME).exists():
            keys.new_pair(home / "keys" / keys.PRIVATE_NAME)
        key = keys.signing_key(home=home) if signed else None
        record.write(store, package, made, card, key)
        return Kept(store, package, home, key)

    return make
