"""A store on a claim: written where it is mounted, registered by the address that KServe mounts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sluice.core.errors import PackageError
from sluice.core.home import Home
from sluice.package.package import Package
from sluice.package.store import default_store, open_store
from sluice.rollouts.manifest import model


def test_a_package_on_a_claim_is_found_again_by_its_registered_address(
    tmp_path: Path, sealed: Callable[..., Package], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = sealed("tabular")
    (tmp_path / "mounted").mkdir()
    monkeypatch.setenv("SLUICE_STORE", "pvc://sluice-store/models")
    monkeypatch.setenv("SLUICE_STORE_MOUNT", str(tmp_path / "mounted"))
    store = default_store(Home(tmp_path / "home"))
    kept = store.add(package)
    assert kept.root == tmp_path / "mounted" / "models" / "sha256" / package.digest
    uri = store.uri(package.digest)
    assert uri == f"pvc://sluice-store/models/sha256/{package.digest}"
    assert model("digits", package.digest, uri)["uri"] == uri, "KServe can fetch it"
    assert open_store(uri, Home(tmp_path / "home")).get(package.digest).digest == package.digest


@pytest.mark.parametrize("uri", ["pvc://", "pvc://sluice-store"])
def test_a_claim_that_is_not_mounted_is_told_before_anything_is_written(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STORE", uri)
    monkeypatch.setenv("SLUICE_STORE_MOUNT", str(tmp_path / "none"))
    with pytest.raises(PackageError) as e:
        default_store(Home(tmp_path / "home"))
    assert e.value.field == "SLUICE_STORE" and e.value.fix
    assert not (tmp_path / "none").exists()
