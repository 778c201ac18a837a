"""The registry over a real MLflow SQLite store: versions by digest, aliases, idempotence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.errors import SluiceError
from sluice.tracking.registry import CANDIDATE, CHAMPION, Registry

A, B = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")


def add(registry: Registry, model: str, digest: str, **metrics: float):
    return registry.register(model, digest, f"file:///store/sha256/{digest}", metrics=metrics, tags={"sluice.data": "d"}, run_id=None)


def test_a_package_registered_twice_is_one_version(registry: Registry) -> None:
    first = add(registry, "twice", A, accuracy=0.98125)
    again = add(registry, "twice", A, accuracy=0.98125)
    other = add(registry, "twice", B)
    assert (first.number, again.number, other.number) == ("1", "1", "2")
    assert registry.by_digest("twice", A).metrics == {"accuracy": 0.98125}
    assert [v.number for v in registry.versions("twice")] == ["2", "1"]


def test_an_alias_points_at_one_version_and_can_move_or_go(registry: Registry) -> None:
    one, two = add(registry, "aliases", A), add(registry, "aliases", B)
    registry.set_alias("aliases", CHAMPION, one.number)
    registry.set_alias("aliases", CANDIDATE, two.number)
    registry.set_alias("aliases", CHAMPION, two.number)
    registry.drop_alias("aliases", CANDIDATE)
    assert registry.by_alias("aliases", CHAMPION).digest == B
    assert registry.by_alias("aliases", CANDIDATE) is None
    assert registry.by_digest("aliases", B).aliases == (CHAMPION,)


def test_an_alias_onto_a_version_that_is_gone_is_an_error_not_a_success(registry: Registry) -> None:
    add(registry, "gone", A)
    with pytest.raises(SluiceError, match="set alias"):
        registry.set_alias("gone", CHAMPION, "99")


def test_what_was_never_registered_is_none_not_an_error(registry: Registry) -> None:
    assert registry.by_alias("nothing", CHAMPION) is None
    assert registry.versions("nothing") == []


def test_a_registry_that_is_down_is_a_typed_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    uri = "http://127.0.0.1:9"
    with pytest.raises(SluiceError, match="is the server up") as caught:
        Registry(uri).versions("x")
    assert caught.value.value == uri


def test_the_store_file_is_where_it_was_asked_for(tmp_path: Path) -> None:
    Registry(f"sqlite:///{tmp_path / 'x.db'}").models()
    assert (tmp_path / "x.db").exists()
