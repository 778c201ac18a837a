"""`sluice backup` and `restore`: what comes back is what was there, wherever it is put; what is damaged, or in the way, is refused before anything changes."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.audit.log import open_log
from sluice.audit.record import Entry
from sluice.backup import cluster
from sluice.cli import main
from sluice.core import files
from sluice.core.home import Home
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from tests.unit.cluster.kubernetes_api import Api, serving


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a database that another connection has open, a package, a run, a key, and records of the audit log."""
    made = Home(tmp_path / "old home").create()
    uri = (made.store / "sha256" / "ab").as_uri()
    with contextlib.closing(sqlite3.connect(made.root / "mlflow.db")) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE versions (name VARCHAR(80), source TEXT, note TEXT, number INTEGER)")
        db.execute("INSERT INTO versions VALUES ('a', ?, ?, 1)", (uri, f"made in {made.root}/"))
    files.write_text(made.store / "sha256" / "ab" / "model.json", json.dumps({"said": str(made.root)}))
    page = made.reports / "r" / "index.html"
    files.write_text(page, "<html></html>")
    files.write_json(made.runs / "r" / "outcome.json", {"run": "r", "project": "a", "outcome": "promoted", "report": str(page)})
    files.write_text(made.artifacts / "pipelines" / "r" / "big.bin", "x" * 1000)
    files.write_text(made.root / "keys" / "signing.key", "secret")
    files.write_text(made.root / "keys" / "signing.pub", "public")
    for i in range(3):
        open_log(made).append(Entry("registration", "a", f"{i}"))
    return made


def private_name(home: Home) -> str:
    from sluice.proof.keys import PRIVATE_NAME

    files.write_text(home.root / "keys" / PRIVATE_NAME, "secret")
    return f"keys/{PRIVATE_NAME}"


def run(*args: Any) -> int:
    return main([str(a) for a in args])


def test_a_home_comes_back_in_another_place(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = private_name(home)
    with contextlib.closing(sqlite3.connect(home.root / "mlflow.db")) as open_elsewhere:
        open_elsewhere.execute("SELECT * FROM versions").fetchall()
        assert run("backup", "--home", home.root, "-o", tmp_path / "b.tar.gz") == 0
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o077 == 0
    new = Home(tmp_path / "new")
    assert run("restore", tmp_path / "b.tar.gz", "--home", new.root) == 0
    with contextlib.closing(sqlite3.connect(new.root / "mlflow.db")) as db:
        source, note = db.execute("SELECT source, note FROM versions").fetchone()
    assert source == (new.store / "sha256" / "ab").as_uri()
    assert note == f"made in {home.root}/", "only what begins with the address is one"
    assert json.loads((new.store / "sha256" / "ab" / "model.json").read_text()) == {"said": str(home.root)}, (
        "a package is what its digest says"
    )
    assert new.outcomes()[0]["report"] == str(new.reports / "r" / "index.html")
    assert not (new.artifacts / "pipelines").exists()
    assert not (new.root / private).exists()
    assert (new.root / "keys" / "signing.pub").read_text() == "public"
    assert open_log(new).read()[0] == open_log(home).read()[0]
    capsys.readouterr()
    assert run("open", "--print", "--home", new.root) == 0
    assert capsys.readouterr().out.strip() == str(new.reports / "r" / "index.html")


def test_private_keys_are_saved_where_they_are_asked_for(home: Home, tmp_path: Path) -> None:
    private = private_name(home)
    assert run("backup", "--keys", "--home", home.root, "-o", tmp_path / "b.tar.gz") == 0
    assert run("restore", tmp_path / "b.tar.gz", "--home", tmp_path / "new") == 0
    assert (tmp_path / "new" / private).stat().st_mode & 0o077 == 0


def test_a_home_that_a_run_holds_is_not_saved(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with home.lock("sluice run x"):
        assert run("backup", "--home", home.root, "-o", tmp_path / "b.tar.gz") == 2
    assert "is in use by" in capsys.readouterr().err
    assert not (tmp_path / "b.tar.gz").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["backup", "--home", "{}/nothing", "-o", "{}/b"], "is no home"),
        (["backup", "--home", "{}/old home", "-o", "{}/old home/b"], "lies in the home it saves"),
        (["backup", "--home", "{}/old home", "-o", "{}/old home/sluice-home.json"], "is there already"),
        (["restore", "{}/nothing", "--home", "{}/n"], "is not there"),
        (["restore", "{}/old home/sluice-home.json", "--home", "{}/n"], "is no backup of Sluice"),
    ],
)
def test_what_cannot_be_done_is_said(home: Home, tmp_path: Path, args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*[a.format(tmp_path) for a in args]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(m, (tar.extractfile(m) or io.BytesIO()).read()) for m in tar]


def changed(path: Path, how: str) -> None:
    found = members(path)
    listed = json.loads(found[0][1])
    last, content = found[-1]
    if how == "a byte of a file":
        found[-1] = (last, bytes([content[0] ^ 1]) + content[1:])
    elif how == "a file less":
        found.pop()
    elif how == "a file more":
        found.append((tarfile.TarInfo("more"), b""))
    elif how == "a link":
        link = tarfile.TarInfo(last.name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        found[-1] = (link, b"")
    elif how == "a way out":
        listed["files"]["../out"] = listed["files"].pop(last.name)
        last.name = "../out"
    elif how == "a later version":
        listed["format"] = "sluice.backup/v9"
    raw = json.dumps(listed).encode()
    found[0] = (found[0][0], raw)
    with tarfile.open(path, "w:gz") as tar:
        for info, data in found:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("how", ["a byte of a file", "a file less", "a file more", "a link", "a way out", "a later version", "cut off"])
def test_a_backup_that_is_not_whole_puts_nothing_back(home: Home, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "b.tar.gz"
    assert run("backup", "--home", home.root, "-o", backup) == 0
    if how == "cut off":
        backup.write_bytes(backup.read_bytes()[:-200])
    else:
        changed(backup, how)
    assert run("restore", backup, "--home", tmp_path / "new") == 2
    assert "b.tar.gz" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "out").exists()


def test_a_home_with_something_in_it_is_left_alone(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backup", "--home", home.root, "-o", tmp_path / "b.tar.gz") == 0
    assert run("restore", tmp_path / "b.tar.gz", "--home", home.root) == 2
    assert "holds something already" in capsys.readouterr().err
    assert len(home.outcomes()) == 1


# On a cluster.

BASE = "/apis/sluice.dev/v1alpha1/namespaces"


def rollout(name: str, phase: str) -> dict[str, Any]:
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {
            "name": name,
            "namespace": "sluice",
            "uid": "1",
            "resourceVersion": "9",
            "generation": 4,
            "managedFields": [{}],
            "annotations": {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {"model": {"digest": "ab"}},
        "status": {"phase": phase, "observedGeneration": 4},
    }


class Cluster(Api):
    """An API server that lists, makes, and patches a status."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "POST" and path.startswith(BASE):
            body["metadata"] |= {"generation": 1, "uid": "new"}
        if method == "PATCH" and path.endswith("/status"):
            self.objects[path.removesuffix("/status")]["status"] = body["status"]
            return 200, {}
        if method == "GET" and path.startswith(BASE) and path.count("/") == BASE.count("/") + 2:
            items = [v for k, v in self.objects.items() if k.startswith(path + "/")]
            return (200, {"items": items}) if not path.endswith("pipelineschedules") else (404, {"message": "no such kind"})
        return super().answer(method, path, body)


@contextlib.contextmanager
def api(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    found = Cluster()
    with serving(found, tmp_path) as config:
        yield found, str(config)


def test_an_environments_objects_come_back_with_their_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with api(tmp_path) as (found, config):
        monkeypatch.setenv("KUBECONFIG", config)
        for name, phase in (("a", "Succeeded"), ("b", "RolledBack")):
            found.objects[f"{BASE}/sluice/modelrollouts/{name}"] = rollout(name, phase)
        assert run("backup", "-n", "sluice", "-o", tmp_path / "b.tar.gz") == 0
        del found.objects[f"{BASE}/sluice/modelrollouts/a"]
        lease = {"spec": {"holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": datetime.now(UTC).isoformat()}}
        found.objects["/apis/coordination.k8s.io/v1/namespaces/sluice/leases/sluice-rollout"] = lease
        assert run("restore", tmp_path / "b.tar.gz", "-n", "sluice") == 2
        assert "--replicas=0" in capsys.readouterr().err
        assert not found.made
        lease["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
        assert run("restore", tmp_path / "b.tar.gz", "-n", "sluice", "--json") == 0
        assert json.loads(capsys.readouterr().out)["there"] == ["ModelRollout/b"]
        (path, made), *more = found.made
        assert (path, more) == (f"{BASE}/sluice/modelrollouts", [])
        assert made["metadata"].keys() == {"name", "namespace", "annotations", "generation", "uid"}
        assert made["metadata"]["annotations"] == {"a": "b"}
        assert found.objects[f"{BASE}/sluice/modelrollouts/a"]["status"] == {"phase": "Succeeded", "observedGeneration": 1}
        assert run("restore", tmp_path / "b.tar.gz", "--home", tmp_path / "h") == 2
        assert "on a cluster" in capsys.readouterr().err


def test_every_kind_of_ours_is_saved() -> None:
    assert cluster.kinds()[:2] == ["PipelineRun", "ModelRollout"]
    assert "PipelineSchedule" in cluster.kinds()
    assert "InferenceService" not in cluster.kinds()


def test_an_environment_of_nothing_is_no_backup(tmp_path: Path) -> None:
    with api(tmp_path) as (_, config), pytest.MonkeyPatch.context() as m:
        m.setenv("KUBECONFIG", config)
        with pytest.raises(Exception, match="has no object of Sluice"):
            cluster.save(Objects(Kube(None)), "sluice", tmp_path / "b")
