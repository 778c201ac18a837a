"""The TrainJob launcher against a player of the API: what it submits, how it follows, what it says of a failure."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace as Bag
from typing import Any

import pytest
from kubernetes.client import ApiException

from components.train.trainjob import JobSpec, TrainJobError, TrainJobs, lines, torchrun
from sluice.errors import DeadlineError

SPEC = JobSpec("digits-1", 2, 1, ("torchrun", "x"), claim="store", env={"A": "1"})


def pod(rank: int, phase: str = "Running", code: int | None = None, reason: str = "Error") -> Any:
    ended = Bag(exit_code=code, reason=reason, message=None) if code is not None else None
    statuses = [Bag(state=Bag(terminated=ended))]
    return Bag(
        metadata=Bag(name=f"p-{rank}", labels={"batch.kubernetes.io/job-completion-index": str(rank)}),
        status=Bag(phase=phase, container_statuses=statuses),
    )


class Player:
    """Both APIs: gives the conditions in turn, the last for ever; pods whose log is two lines."""

    def __init__(self, *conditions: str, pods: list[Any] | None = None, faults: list[int] | None = None):
        self.conditions, self.pods, self.faults = list(conditions), pods if pods is not None else [pod(0), pod(1)], faults or []
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def create_namespaced_custom_object(self, *args: Any, **_: Any) -> None:
        if self.faults:
            raise ApiException(status=self.faults.pop(0), reason="no")
        self.created.append(args[-1])

    def get_namespaced_custom_object(self, *_: Any, **__: Any) -> dict[str, Any]:
        kind = self.conditions.pop(0) if len(self.conditions) > 1 else self.conditions[0]
        return {"status": {"conditions": [{"type": kind, "status": "True", "message": "the job's own words"}]}} if kind else {}

    def delete_namespaced_custom_object(self, *args: Any, **_: Any) -> None:
        self.deleted.append(args[-1])

    def list_namespaced_pod(self, *_: Any, **kwargs: Any) -> Any:
        if not kwargs.get("watch"):
            return Bag(items=self.pods)
        events = [{"type": "DELETED", "object": {"metadata": {"labels": p.metadata.labels}, "status": {"containerStatuses": [
            {"state": {"terminated": {"exitCode": e.exit_code, "reason": e.reason}}}]}}} for p in self.pods if (e := p.status.container_statuses[0].state.terminated)]  # fmt: skip
        return Bag(stream=lambda: iter([json.dumps(e).encode() + b"\n" for e in events]))

    def read_namespaced_pod_log(self, name: str, *_: Any, **__: Any) -> Any:
        return Bag(stream=lambda: iter([b"first\nsec", b"ond\n"]))


def jobs(player: Player) -> TrainJobs:
    return TrainJobs("ns", player, player)


def test_the_manifest_is_typed_and_complete() -> None:
    m = SPEC.manifest()
    assert m["spec"]["trainer"] == {"numNodes": 2, "numProcPerNode": 1, "command": ["torchrun", "x"], "env": [{"name": "A", "value": "1"}]}
    job = m["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    assert job["name"] == "node"
    assert job["template"]["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "store"
    assert "ttlSecondsAfterFinished" not in str(m)


def test_torchrun_starts_the_worker_by_module(tmp_path: Any) -> None:
    assert torchrun(2, 4, tmp_path / "job.json")[:5] == ("torchrun", "--nnodes=2", "--nproc-per-node=4", "-m", "sluice.training.worker")


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
    with pytest.raises(TrainJobError, match=r"node 1 was killed for memory, its last line: second.*the job's own words"):
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


def test_a_busy_api_is_asked_again_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.train.trainjob.time.sleep", lambda s: None)
    busy = Player("", faults=[503, 429])
    jobs(busy).submit(SPEC)
    assert len(busy.created) == 1
    refused = Player("", faults=[403, 403])
    with pytest.raises(TrainJobError, match="403"):
        jobs(refused).submit(SPEC)
    assert refused.faults == [403]


def test_lines_are_put_together() -> None:
    assert list(lines(iter([b"a", b"b\nc", b"\n\xff"]))) == ["ab", "c", "�"]
