"""`sluice promote` where the environment is a cluster: who may is asked first, then one model of one ModelRollout changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluice.audit.log import FolderLog, records
from sluice.core.errors import RolloutError
from sluice.core.home import Home
from sluice.package.package import Package
from sluice.promotion import cluster, promote
from sluice.promotion.config import Environments
from sluice.promotion.promote import Promoted, Request
from sluice.registry.environments import GATES
from sluice.registry.versions import Version
from tests.unit.serving.builders import classifier

#: A gate each.
PASSED = {"evaluate": "pass"}


class Names:
    """A registry in memory."""

    def __init__(self, *versions: Version):
        self.found, self.uri = {v.number: v for v in versions}, "memory"

    def versions(self, model: str) -> list[Version]:
        return [v for v in self.found.values() if v.model == model]

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self._put({n: tuple(a for a in v.aliases if a != alias) + ((alias,) if n == number else ()) for n, v in self.found.items()})

    def drop_alias(self, model: str, alias: str, number: str | None = None) -> None:
        self._put({n: tuple(a for a in v.aliases if a != alias or number not in (None, n)) for n, v in self.found.items()})

    def tag(self, model: str, number: str, tags: dict[str, str]) -> None:
        self.found[number].tags.update(tags)

    def _put(self, aliases: dict[str, tuple[str, ...]]) -> None:
        from dataclasses import replace

        self.found = {n: replace(v, aliases=aliases[n]) for n, v in self.found.items()}


class Kube:
    """A cluster with one ModelRollout."""

    def __init__(self, status: dict[str, Any] | None = None):
        self.raw = {"metadata": {"name": "points", "generation": 1}, "spec": {"model": {"signature": "old"}}, "status": status or {}}
        self.patches: list[dict[str, Any]] = []

    def get(self, kind: str, namespace: str, name: str) -> Any:
        return self.raw if (namespace, name) == ("production", "points") else None

    def merge(self, kind: str, namespace: str, name: str, patch: dict[str, Any], **more: Any) -> Any:
        self.patches.append(patch)
        return self.raw


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return classifier(tmp_path_factory.mktemp("package") / "p", "points")


class Place:
    """A home, a registry with one champion of dev, a log and a cluster."""

    def __init__(self, root: Path, package: Package, monkeypatch: pytest.MonkeyPatch, uri: str = "s3://bucket/p/sha256/"):
        self.home, self.log, self.kube = Home(root / "home").create(), FolderLog(root / "audit", root / "head.json"), Kube()
        self.digest, self.uri, self.may = package.digest, f"{uri}{package.digest}", True
        version = Version("points", "3", package.digest, self.uri, ("champion",), {}, {GATES: json.dumps(PASSED)}, None, 0)
        self.registry: Any = Names(version)
        from sluice.package.store import default_store

        store = default_store(self.home)
        store.add(package)
        monkeypatch.setattr("sluice.promotion.conditions.open_store", lambda uri, home: store)
        monkeypatch.setattr("sluice.promotion.promote.open_store", lambda uri, home: store)
        monkeypatch.setattr(cluster, "objects", lambda context=None: self.kube)
        monkeypatch.setattr("sluice.kube.client.Kube.__init__", lambda kube, context=None: None)
        monkeypatch.setattr("sluice.kube.client.Kube.may", lambda kube, *what, **more: (self.may and what[0] == "promote", "RBAC: denied"))
        monkeypatch.setattr(cluster, "_EVERY", 0.0)
        monkeypatch.setenv("SLUICE_USER", "ada")

    def ask(self, **more: Any) -> Promoted:
        rules = {"environments": {"production": {"from": ["dev"], "namespace": more.pop("namespace", "production")}}}
        request = Request("points", "production", reason="release 12", **more)
        return promote.promote(request, self.home, self.registry, Environments.model_validate(rules), self.log)


@pytest.fixture
def place(tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, package, monkeypatch)


def test_one_model_changes_with_why_and_who_and_the_old_signature_goes(place: Place) -> None:
    done = place.ask()
    assert (done.outcome, done.where, done.exit_code) == ("rollout begun", "ModelRollout production/points", 0)
    assert place.kube.patches == [
        {
            "metadata": {"annotations": {"sluice.dev/reason": "release 12", "sluice.dev/by": "ada"}},
            "spec": {"model": {"signature": None, "name": "points", "digest": place.digest, "uri": place.uri}},
        }
    ]
    assert place.registry.found["3"].aliases == ("champion", "production-candidate")
    kept = records(place.log)[0].entry
    assert (kept.kind, kept.environment, kept.data["rollout"]) == ("promotion", "production", "production/points")


@pytest.mark.parametrize(
    ("phase", "stable", "outcome", "code"), [("Succeeded", True, "promoted", 0), ("RolledBack", False, "rolled back", 4)]
)
def test_the_verdict_can_be_waited_for(place: Place, phase: str, stable: bool, outcome: str, code: int) -> None:
    state = {"stable": place.digest if stable else "0" * 64, "rejected": [] if stable else [place.digest], "reasons": ["as measured"]}
    place.kube.raw["status"] = {"phase": phase, "observedGeneration": 1, "state": state}
    done = place.ask(wait=True)
    assert (done.outcome, done.exit_code, list(done.reasons)) == (outcome, code, ["as measured"])
    assert ("production-champion" in place.registry.found["3"].aliases) == stable
    assert "production-candidate" not in place.registry.found["3"].aliases
    assert [r.entry.kind for r in records(place.log)] == (["promotion"] if stable else ["promotion", "rollback"])


def test_who_may_not_promote_there_is_refused_and_no_override_helps(place: Place) -> None:
    place.may = False
    done = place.ask(override=True)
    assert done.exit_code == 3 and "does not let you `promote` modelrollouts in production: RBAC: denied" in done.reasons[0]
    assert place.kube.patches == [] and [r.entry.kind for r in records(place.log)] == ["refusal"]


def test_without_a_rollout_there_nothing_is_written_down(place: Place) -> None:
    with pytest.raises(RolloutError, match="no such ModelRollout"):
        place.ask(namespace="staging")
    assert records(place.log) == [] and place.kube.patches == []


def test_a_package_kserve_cannot_fetch_is_said_before(tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Place(tmp_path, package, monkeypatch, "file:///store/sha256/")
    with pytest.raises(Exception, match="not an address KServe can fetch"):
        here.ask()
    assert here.kube.patches == [] and records(here.log) == []
