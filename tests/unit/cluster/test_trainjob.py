"""The TrainJob launcher against a player of the API: what it submits, how it follows, what it says of a failure."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from kubernetes.client import ApiException

from components.train.pod_logs import ending, lines
from components.train.trainjob import JobSpec, NodeLost, TrainJobError, TrainJobs, torchrun
from sluice.core.errors import DeadlineError
from sluice.kube.client import Kube
from sluice.kube.objects import Objects

SPEC = JobSpec("digits-1", 2, 1, ("torchrun", "x"), claim="store", env={"A": "1"})


def pod(rank: int, phase: str = "Running", code: int | None = None, reason: str = "Error", waiting: dict[str, str] | None = None) -> Any:
    state = {"terminated": {"exitCode": code, "reason": reason}} if code is not None else {}
    state |= {"waiting": waiting} if waiting else {}
    return {
        "metadata": {"name": f"p-{rank}", "labels": {"batch.kubernetes.io/job-completion-index": str(rank)}},
        "status": {"phase": phase, "containerStatuses": [{"state": state}]},
    }


class Answer:
    """Of the API server: its pieces as they come."""

    def __init__(self, *pieces: bytes):
        self.pieces = list(pieces)

    def read1(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None: ...

    def release_conn(self) -> None: ...


class Player:
    """In place of the official client: gives the conditions in turn, the last for ever; pods whose log is two lines."""

    def __init__(self, *conditions: str, pods: list[Any] | None = None, faults: list[int] | None = None):
        self.conditions, self.pods, self.faults = list(conditions), pods if pods is not None else [pod(0), pod(1)], faults or []
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def call_api(self, path: str, method: str, *, query_params: list[tuple[str, str]], body: Any, **_: Any) -> Answer:
        query, name = dict(query_params), path.rsplit("/", 1)[-1]
        if "/trainjobs" in path:
            return Answer(json.dumps(self.job(method, name, body)).encode())
        if name == "log":
            return Answer(*self.log(query))
        if name != "pods":
            return Answer(json.dumps({"status": {"phase": self.phase()}}).encode())
        if "watch" not in query:
            return Answer(json.dumps({"items": self.pods}).encode())
        return Answer(*(json.dumps({"type": "DELETED", "object": p}).encode() + b"\n" for p in self.pods))

    def job(self, method: str, name: str, body: Any) -> Any:
        if method == "POST":
            if self.faults:
                raise ApiException(status=self.faults.pop(0), reason="no")
            self.created.append(body)
        elif method == "DELETE":
            self.deleted.append(name)
        else:
            kind = self.conditions.pop(0) if len(self.conditions) > 1 else self.conditions[0]
            return {"status": {"conditions": [{"type": kind, "status": "True", "message": "the job's own words"}]}} if kind else {}
        return {}

    def log(self, query: dict[str, str]) -> list[bytes]:
        return [b"2026-11-20T10:00:00.000000001Z first\n2026-11-20T10:00:00.000000002Z sec", b"ond\n"]

    def phase(self) -> str:
        return "Succeeded"


def jobs(player: Player) -> TrainJobs:
    return TrainJobs("ns", Objects(Kube(client=player, pauses=(0.0, 0.0))))


def test_the_manifest_is_typed_and_complete() -> None:
    m = SPEC.manifest()
    assert m["spec"]["trainer"] == {"numNodes": 2, "numProcPerNode": 1, "command": ["torchrun", "x"], "env": [{"name": "A", "value": "1"}]}
    job = m["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    assert job["name"] == "node"
    assert job["template"]["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "store"
    assert "ttlSecondsAfterFinished" not in str(m)


def test_torchrun_starts_the_worker_by_module(tmp_path: Any) -> None:
    assert torchrun(2, 4, tmp_path / "job.json")[:6] == (
        "torchrun",
        "--nnodes=2",
        "--nproc-per-node=4",
        "--tee=3",
        "-m",
        "sluice.learners.torch.worker",
    )


@pytest.mark.parametrize("kwargs", [{"env": {"PET_NNODES": "2"}}, {"name": "x" * 51}, {"name": ""}])
def test_what_the_trainer_would_misread_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(TrainJobError):
        JobSpec(**{"name": "a", "nodes": 1, "processes": 1, "command": ("x",), **kwargs})


def test_lines_of_all_nodes_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, str]] = []
    jobs(Player("", "Complete")).wait(SPEC, on_line=lambda n, t: seen.append((n, t)), seconds=20, poll=0.01)
    assert sorted(seen) == [(0, "first"), (0, "second"), (1, "first"), (1, "second")]


def test_a_failure_names_the_node_and_the_cause() -> None:
    player = Player("", "Failed", pods=[pod(0, "Running"), pod(1, "Failed", 137, "OOMKilled")])
    with pytest.raises(NodeLost, match=r"node 1 was killed for memory, its last line: second.*the job's own words"):
        jobs(player).wait(SPEC, on_line=lambda n, t: None, seconds=20, poll=0.01)


def test_being_told_to_stop_deletes_the_job() -> None:
    player, stop = Player(""), threading.Event()
    stop.set()
    with pytest.raises(TrainJobError, match="cancelled"):
        jobs(player).wait(SPEC, on_line=lambda n, t: None, seconds=20, stop=stop)
    assert player.deleted == ["digits-1"]


def test_a_deadline_deletes_the_job_and_says_what_its_pods_did() -> None:
    player = Player("", pods=[pod(0, "Pending")])
    with pytest.raises(DeadlineError, match="node 0 Pending"):
        jobs(player).wait(SPEC, on_line=lambda n, t: None, seconds=0.03, poll=0.01)
    assert player.deleted == ["digits-1"]


def test_a_busy_api_is_asked_again_and_a_refusal_is_not() -> None:
    busy = Player("", faults=[503, 429])
    jobs(busy).submit(SPEC)
    assert len(busy.created) == 1
    refused = Player("", faults=[403, 403])
    with pytest.raises(TrainJobError, match="403"):
        jobs(refused).submit(SPEC)
    assert refused.faults == [403]


def test_lines_are_put_together() -> None:
    assert list(lines(iter([b"a", b"b\nc", b"\n\xff"]))) == ["ab", "c", "�"]


def test_a_broken_log_is_read_on_and_no_line_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = [f"2026-11-20T10:00:00.00000000{i}Z line {i}\n".encode() for i in range(4)]
    parts = [stamps[:2], stamps[1:]]

    class Broken(Player):
        asked: list[Any] = []

        def log(self, query: dict[str, str]) -> list[bytes]:
            self.asked.append(query.get("sinceSeconds"))
            return parts.pop(0)

        def phase(self) -> str:
            return "Running" if parts else "Succeeded"

    monkeypatch.setattr("components.train.pod_logs._PAUSE", 0.01)
    seen: list[str] = []
    player = Broken(*[""] * 30, "Complete", pods=[pod(0)])
    jobs(player).wait(SPEC, on_line=lambda n, t: seen.append(t), seconds=20, poll=0.01)
    assert seen == ["line 0", "line 1", "line 2", "line 3"]
    assert player.asked[0] is None and int(player.asked[1]) > 0


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"reason": "Evicted", "message": "The node was low on memory"}, "was evicted (The node was low on memory)"),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            "was evicted (PreemptionByScheduler)",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}, "was killed for memory"),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 143, "reason": "Error"}}}]},
            "was told to end or killed (status 143)",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ended with status 3"),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}, ""),
        ({"containerStatuses": [{"state": {"running": {}}}]}, ""),
    ],
)
def test_how_a_node_ended_is_read_from_its_status(status: dict[str, Any], said: str) -> None:
    assert ending(status) == said


def test_an_image_that_cannot_be_pulled_ends_the_job_with_its_name() -> None:
    told: list[str] = []
    player = Player("", pods=[pod(0, "Pending", waiting={"reason": "ErrImagePull", "message": "no such image x:1"})])
    with pytest.raises(TrainJobError, match="cannot start: node 0 waits, ErrImagePull: no such image x:1"):
        jobs(player).wait(SPEC, on_line=lambda n, t: None, on_state=told.append, seconds=20, poll=0.01, image_seconds=0.05)
    assert player.deleted == ["digits-1"]
    assert told == ["node 0 waits, ErrImagePull: no such image x:1"]


def test_devices_are_limited_as_well_as_asked_for() -> None:
    trainer = JobSpec("a", 1, 2, ("x",), resources={"cpu": "2", "nvidia.com/gpu": "2"}).manifest()["spec"]["trainer"]
    assert trainer["resourcesPerNode"] == {"requests": {"cpu": "2", "nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
