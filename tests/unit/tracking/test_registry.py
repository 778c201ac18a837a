"""The registry over a real MLflow SQLite store: versions by digest, aliases, idempotence."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.rollout.logic import settle
from sluice.core.errors import SluiceError
from sluice.registry.rest import _Page
from sluice.registry.versions import CANDIDATE, CHAMPION, Registry
from sluice.rollouts.local import RolloutResult

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


def test_two_processes_that_register_at_once_get_the_versions_they_would_one_after_the_other(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'at-once.db'}"
    Registry(uri).models()
    both = threading.Barrier(4)

    class Late(Registry):
        """Every process looks before any of them writes: the worst moment."""

        def _call(self, what: str, method: str, *args: Any, **kwargs: Any) -> Any:
            if method == "create_registered_model":
                both.wait(60)
            return super()._call(what, method, *args, **kwargs)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda digest: add(Late(uri), "race", digest), [A, A, B, B]))
    left = {v.digest: v.number for v in Registry(uri).versions("race")}
    assert len(Registry(uri).versions("race")) == 2 and set(left) == {A, B}
    assert [left[v.digest] for v in made] == [v.number for v in made]


def test_an_alias_is_taken_only_from_the_version_that_is_meant(registry: Registry) -> None:
    one, two = add(registry, "taken", A), add(registry, "taken", B)
    registry.set_alias("taken", CANDIDATE, two.number)
    registry.drop_alias("taken", CANDIDATE, one.number)
    assert registry.by_alias("taken", CANDIDATE).digest == B
    registry.drop_alias("taken", CANDIDATE, two.number)
    assert registry.by_alias("taken", CANDIDATE) is None


def test_a_candidate_does_not_replace_a_champion_it_was_never_compared_with(registry: Registry) -> None:
    old, new, faster = (add(registry, "settled", d * 64) for d in "cde")
    registry.set_alias("settled", CHAMPION, old.number)
    registry.set_alias("settled", CANDIDATE, new.number)
    registry.set_alias("settled", CHAMPION, faster.number)
    result = settle(registry, "settled", new, old, RolloutResult("promoted", ("fine",)))
    assert result.outcome == "rolled_back" and f"version {faster.number} became the champion meanwhile" in result.reasons[0]
    assert registry.by_alias("settled", CHAMPION).number == faster.number and registry.by_alias("settled", CANDIDATE) is None
    assert settle(registry, "settled", new, faster, RolloutResult("promoted", ("fine",))).outcome == "promoted"
    assert registry.by_alias("settled", CHAMPION).number == new.number


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


def test_a_version_s_page_opens_as_model_training_and_a_database_has_none(registry: Registry) -> None:
    version = add(registry, "paged", A)
    assert registry.page(version) is None
    assert (
        Registry("https://mlflow.example/").page(version)
        == "https://mlflow.example/#/models/paged/versions/1?workflowType=machine_learning"
    )


def test_the_store_file_is_where_it_was_asked_for(tmp_path: Path) -> None:
    Registry(f"sqlite:///{tmp_path / 'x.db'}").models()
    assert (tmp_path / "x.db").exists()


def test_all_models_are_listed_however_many_pages_they_take() -> None:
    class Pages:
        def search_registered_models(self, *, max_results: int, page_token: str | None = None) -> Any:
            at = int(page_token or 0)
            page = _Page(SimpleNamespace(name=f"m{9 - i}") for i in range(at, min(at + 4, 10)))
            page.token = str(at + 4) if at + 4 < 10 else None
            return page

    registry = Registry.__new__(Registry)
    registry._client = Pages()
    assert registry.models() == [f"m{i}" for i in range(10)]


def test_every_model_with_its_versions_and_aliases_in_as_many_calls_as_there_are_pages(tmp_path: Path) -> None:
    registry, calls = Registry(f"sqlite:///{tmp_path / 'x.db'}"), []
    for name in ("b", "a", "c"):
        add(registry, name, A)
        registry.set_alias(name, CHAMPION, add(registry, name, B).number)
    one_by_one = {m: registry.versions(m) for m in registry.models()}
    ask = registry._call
    registry._call = lambda what, method, *a, **k: calls.append(method) or ask(what, method, *a, **k)  # type: ignore[method-assign]
    assert registry.every() == one_by_one and list(one_by_one) == ["a", "b", "c"]
    assert one_by_one["a"][0].aliases == (CHAMPION,) and len(calls) == 2


def test_a_digest_is_found_whatever_the_model(registry: Registry) -> None:
    digest = "c0ffee" + "0" * 58
    made = add(registry, "of-a-digest", digest)
    assert [(v.model, v.number) for v in registry.of_digest("c0ffee")] == [("of-a-digest", made.number)]
    assert registry.of_digest("c0ffef") == [] == registry.of_digest("%' OR 1=1")
