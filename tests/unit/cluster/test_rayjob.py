"""A RayJob: its manifest, how its end is read, and what a step says of it, against a player of the API."""

from __future__ import annotations

import json
import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.rayjob import ERROR, JOB, RESULT, entry, on_cluster, step
from components.rayjob.jobs import RayJobs
from components.rayjob.spec import LABEL, SUBMITTER, RayJobSpec
from components.train.trainjob import NodeLost, TrainJobError
from sluice.core import files
from sluice.core.errors import DataError, DeadlineError, ProjectError
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from tests.unit.cluster.test_trainjob import Answer, Player

SPEC = RayJobSpec("digits-preprocess-1", ("python", "-m", "x", "a b"), "sluice@sha256:1", claim="store", owner={"kind": "Pod"}, deadline=60)


class RayPlayer(Player):
    """Its jobs have the states of KubeRay, its pods the labels."""

    def __init__(self, *states: dict[str, Any], pods: list[Any] | None = None, at: Any = None):
        super().__init__(pods=pods if pods is not None else [pod("", "Running"), pod("head", "Running"), pod("worker", "Running")])
        self.states, self.at = list(states), at or (lambda job: None)

    def call_api(self, path: str, method: str, **kwargs: Any) -> Answer:
        if "/rayjobs" in path:
            return Answer(json.dumps(self.job(method, path.rsplit("/", 1)[-1], kwargs["body"])).encode())
        return super().call_api(path, method, **kwargs)

    def job(self, method: str, name: str, body: Any) -> Any:
        if method == "POST":
            self.created.append(body)
            self.at(body)
            return {}
        if method == "DELETE":
            self.deleted.append(name)
            return {}
        if not self.created:
            from kubernetes.client import ApiException

            raise ApiException(status=404, reason="none")
        return {"status": self.states.pop(0) if len(self.states) > 1 else self.states[0]}


def pod(kind: str, phase: str, **status: Any) -> dict[str, Any]:
    labels = {LABEL: SPEC.name, **({"ray.io/node-type": kind} if kind else {})}
    return {"metadata": {"name": f"p-{kind or 'submitter'}", "labels": labels}, "status": {"phase": phase, **status}}


def jobs(player: Player) -> RayJobs:
    return RayJobs("ns", Objects(Kube(client=player, pauses=(0.0, 0.0))))


def test_the_manifest_is_typed_restricted_and_gone_when_done() -> None:
    m = SPEC.manifest()
    spec = m["spec"]
    assert (m["apiVersion"], m["kind"], m["metadata"]["ownerReferences"]) == ("ray.io/v1", "RayJob", [{"kind": "Pod"}])
    assert spec["entrypoint"] == "python -m x 'a b'" and spec["shutdownAfterJobFinishes"] and spec["activeDeadlineSeconds"] == 60
    (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 2
    templates = [spec["rayClusterSpec"]["headGroupSpec"]["template"], workers["template"], spec["submitterPodTemplate"]]
    assert [t["spec"]["containers"][0]["name"] for t in templates] == ["ray-head", "ray-worker", SUBMITTER]
    for template in templates:
        (container,) = template["spec"]["containers"]
        assert template["spec"]["securityContext"]["runAsNonRoot"] and not template["spec"]["automountServiceAccountToken"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]} and container["resources"]["limits"]["memory"]
        assert {"name": "job", "mountPath": "/store"} in container["volumeMounts"] and template["metadata"]["labels"][LABEL] == SPEC.name
    assert all("tcpSocket" in t["spec"]["containers"][0]["livenessProbe"] for t in templates[:2])


@pytest.mark.parametrize("wrong", [{"name": "x" * 48}, {"name": ""}, {"workers": 0}, {"env": {"RAY_ADDRESS": "auto"}}])
def test_what_kuberay_would_refuse_is_refused_here(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainJobError):
        RayJobSpec(**{"name": "a", "command": ("x",), "image": "i", **wrong})


def test_names_are_the_same_again_and_short() -> None:
    assert step.job_name("p" * 60, "validate_data", "a") == step.job_name("p" * 60, "validate_data", "a")
    assert step.job_name("p", "preprocess", "a") != step.job_name("p", "preprocess", "b")
    assert len(step.job_name("p" * 60, "validate_data", "a")) <= 47


def test_its_log_is_followed_to_a_good_end_and_a_bad_one_is_named() -> None:
    seen: list[tuple[int, str]] = []
    good = RayPlayer({"jobDeploymentStatus": "Running"}, {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"})
    good.created.append({})
    jobs(good).wait(SPEC, on_line=lambda n, t: seen.append((n, t)), seconds=20, poll=0.01)
    assert seen == [(0, "first"), (0, "second")]  # of the submitter alone
    for state in (
        {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "no luck"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "FAILED"},
    ):
        bad = RayPlayer(state)
        bad.created.append({})
        with pytest.raises(NodeLost, match=r"no luck|failed"):
            jobs(bad).wait(SPEC, on_line=lambda n, t: None, seconds=20, poll=0.01)
    late = RayPlayer({"jobDeploymentStatus": "Initializing"})
    late.created.append({})
    with pytest.raises(DeadlineError, match="not done"):
        jobs(late).wait(SPEC, on_line=lambda n, t: None, seconds=0.0, poll=0.01)
    assert late.deleted == [SPEC.name]


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_RAY_CLAIM", "store")
    monkeypatch.setenv(step.MOUNT_ENV, str(tmp_path))
    monkeypatch.setenv(step.IMAGE_ENV, "sluice@sha256:1")
    return tmp_path


def test_a_step_takes_what_its_job_left_and_leaves_nothing(mounted: Path) -> None:
    def works(job: Any) -> None:
        folder = Path(job["spec"]["entrypoint"].split()[-1])
        assert files.read_json(folder / JOB)["work"] == "preprocess"
        files.write_json(folder / RESULT, {"rows": 3})

    player = RayPlayer({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, at=works)
    with step.handed("preprocess", "digits", {"project": "{}"}, jobs=jobs(player), poll=0.01) as folder:
        assert files.read_json(folder / RESULT) == {"rows": 3}
    assert not folder.exists() and player.deleted[-1] == folder.name and on_cluster("ray") and not on_cluster("local")


def test_what_the_work_says_is_what_the_step_says(mounted: Path) -> None:
    def fails(job: Any) -> None:
        told = DataError("is no row", field="a.csv:3", value="x", fix="mend it")
        files.write_json(Path(job["spec"]["entrypoint"].split()[-1]) / ERROR, {**told.to_dict(), "kind": "DataError"})

    player = RayPlayer({"jobDeploymentStatus": "Failed", "message": "exit 2"}, at=fails)
    with pytest.raises(DataError, match=r"a.csv:3: is no row.*'x'"):
        with step.handed("preprocess", "digits", {}, jobs=jobs(player), poll=0.01):
            pass
    assert list((mounted / "rayjobs").iterdir()) == []


def test_without_the_volume_or_an_image_it_says_so(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ((step.IMAGE_ENV, ""), (step.MOUNT_ENV, str(mounted / "none"))):
        monkeypatch.setenv(name, value)
        with pytest.raises(ProjectError, match=name):
            with step.handed("preprocess", "digits", {}, jobs=jobs(RayPlayer({}))):
                pass


def test_the_entry_point_does_its_work_and_writes_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(entry.tempfile, "tempdir", None)
    files.write_json(
        tmp_path / JOB,
        {"work": "preprocess", "project": '{"name": "a", "task": "tabular", "data": {"source": "no.csv"}}', "base_dir": str(tmp_path)},
    )
    assert entry.main(tmp_path) == 2 and files.read_json(tmp_path / ERROR)["kind"] == "DataError"


def test_the_pipelines_image_has_rays_job_server_to_which_kuberay_submits() -> None:
    lock = (Path(__file__).parents[3] / "requirements/pipeline.txt").read_text()
    have = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    asked = [Requirement(text) for text in metadata.requires("ray") or ()]
    wanted = {canonicalize_name(r.name) for r in asked if r.marker is not None and r.marker.evaluate({"extra": "default"})}
    assert "aiohttp-cors" in wanted and wanted <= have
