"""PipelineSchedules and PipelineRuns on a real Kubeflow Pipelines, by the controller of this checkout as a process.

Needs Kubeflow Pipelines in namespace `kubeflow`; its runs take half a minute each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from tests.e2e.forward import forwarded
from tests.e2e.two_steps import NAME, two_steps

ROOT = Path(__file__).parents[2]
SPACE, PIPELINES = "sluice-e2e-schedules", "kubeflow"


@pytest.fixture(scope="module")
def kfp(kube: Any) -> Iterator[Api]:
    if not kube.run("get", "service", "ml-pipeline", "--ignore-not-found", namespace=PIPELINES, check=False):
        pytest.skip(f"no Kubeflow Pipelines here: there is no service ml-pipeline in namespace {PIPELINES}")
    with forwarded(PIPELINES, "ml-pipeline", 8888) as url:
        if Api(connect(url)).health().get("multi_user"):
            pytest.skip("this Kubeflow Pipelines has many users: test_kfp_users.py")
        yield Api(connect(url))


@pytest.fixture(scope="module")
def pipeline(kfp: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a fresh version of the test's pipeline."""
    from kfp import compiler

    file = tmp_path_factory.mktemp("pipeline") / "two-steps.yaml"
    compiler.Compiler().compile(two_steps, str(file))
    known = kfp.pipeline(NAME, None) or kfp.create_pipeline(NAME, description="a test's", namespace=None)
    version = f"{NAME}-{uuid.uuid4().hex[:6]}"
    made = kfp.upload_version(known["pipeline_id"], version, file.read_text(), description="a test's")
    yield version
    path = f"pipelines/{known['pipeline_id']}"
    kfp._call("DELETE", f"{path}/versions/{made['pipeline_version_id']}")
    if not list(kfp._items(f"{path}/versions", "pipeline_versions", {})):
        kfp._call("DELETE", path)


class Process:
    """The controller, which can be killed and started again."""

    def __init__(self, endpoint: str, log: Path) -> None:
        self.command = [
            sys.executable,
            "-m",
            "serving.controller",
            "--namespace",
            SPACE,
            "--lease",
            "",
            "--metrics-port",
            "0",
            "--kfp-endpoint",
            endpoint,
            "--kfp-ui",
            "http://dashboard.example.com",
        ]
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.running = subprocess.Popen(self.command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.running.send_signal(signal.SIGKILL)
        self.running.wait(20)


@pytest.fixture(scope="module")
def controller(kube: Any, kfp: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    kube.run("create", "namespace", SPACE, check=False)
    process = Process(kfp.connection.url, tmp_path_factory.mktemp("controller") / "log")
    yield process
    kube.run("delete", "pipelineschedules,pipelineruns", "--all", "--wait=false", namespace=SPACE)
    kube.wait(lambda: not kube.get("pipelineschedules,pipelineruns", namespace=SPACE)["items"], "the finalizers", 90)
    process.kill()
    kube.run("delete", "namespace", SPACE, "--wait=false")
    for experiment in kfp._items("experiments", "experiments", {}):
        # named after the schedules, and the namespace
        if experiment["display_name"].partition("/")[2] == SPACE or experiment["display_name"] == SPACE:
            for run in kfp.runs_of(experiment["experiment_id"], archived=True):
                kfp.end_run(run["run_id"], "remove")
            kfp._call("DELETE", f"experiments/{experiment['experiment_id']}")


def apply(kube: Any, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    kube.run("apply", "-f", "-", stdin=json.dumps(body), namespace=SPACE)


def status(kube: Any, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.get(kind, name, namespace=SPACE).get("status") or {}
    return found


def recurring(kfp: Api, name: str) -> list[dict[str, Any]]:
    experiment = kfp.experiment_id(f"{name}/{SPACE}", None, create=False)
    return kfp.recurring(experiment) if experiment else []


def test_a_schedule_fires_is_changed_outlives_its_controller_is_suspended_and_goes(
    kube: Any, kfp: Api, pipeline: str, controller: Process
) -> None:
    name = "each-minute"
    spec = {"schedule": "* * * * *", "timeZone": "Asia/Kolkata", "pipeline": {"name": NAME, "version": pipeline}, "history": {}}
    apply(kube, "PipelineSchedule", name, spec)
    kube.wait(lambda: status(kube, "pipelineschedule", name).get("phase") == "Active", "the recurring run", 180)
    assert [r["status"] for r in recurring(kfp, name)] == ["ENABLED"]
    kube.wait(lambda: status(kube, "pipelineschedule", name).get("lastState") == "Succeeded", "a run by the clock", 480)
    first = recurring(kfp, name)[0]["recurring_run_id"]

    # a change while the process is killed in the middle: one enabled recurring run is left, of the new kind
    apply(kube, "PipelineSchedule", name, {**spec, "parameters": {"seconds": 1}})
    controller.kill()
    controller.start()
    kube.wait(
        lambda: [(r["recurring_run_id"] != first, r["status"]) for r in recurring(kfp, name)] == [(True, "ENABLED")], "the hand-over", 480
    )
    assert recurring(kfp, name)[0]["runtime_config"]["parameters"] == {"seconds": 1}

    apply(kube, "PipelineSchedule", name, {**spec, "parameters": {"seconds": 1}, "suspend": True})
    kube.wait(lambda: status(kube, "pipelineschedule", name).get("phase") == "Suspended", "the suspension", 180)
    assert [r["status"] for r in recurring(kfp, name)] == ["DISABLED"]
    # what a person sees
    assert "Suspended" in kube.run("get", "pipelineschedules", namespace=SPACE)
    assert {"Active", "Suspended"} <= {e["reason"] for e in kube.get("events", namespace=SPACE)["items"]}
    # no tick twice: every run of a recurring run has its own minute
    experiment = kfp.experiment_id(f"{name}/{SPACE}", None, create=False)
    assert experiment
    # By the minute it was due in: on a busy node one may begin in the minute of the next.
    minutes = [(r.get("scheduled_at") or r["created_at"])[:16] for r in kfp.runs_of(experiment)]
    assert len(minutes) == len(set(minutes)), minutes

    kube.run("delete", "pipelineschedule", name, "--timeout=120s", namespace=SPACE)
    assert recurring(kfp, name) == []


def test_a_run_by_kubectl_tells_its_steps_and_its_end(kube: Any, kfp: Api, pipeline: str, controller: Process) -> None:
    apply(kube, "PipelineRun", "once", {"pipeline": {"name": NAME}})
    apply(kube, "PipelineRun", "fails", {"pipeline": {"name": NAME}, "parameters": {"status": 3}, "retries": 1})
    apply(kube, "PipelineRun", "long", {"pipeline": {"name": NAME}, "parameters": {"seconds": 600}})
    apply(kube, "PipelineRun", "wrong", {"pipeline": {"name": "no-such-pipeline"}})
    kube.wait(lambda: status(kube, "pipelinerun", "once").get("phase") in ("Succeeded", "Failed"), "the run", 480)
    once = status(kube, "pipelinerun", "once")
    assert (once["phase"], once["outcome"], once["progress"]) == ("Succeeded", "Completed", "2/2"), once
    assert [s["name"] for s in once["steps"]] == ["fetch", "count"] and once["url"].startswith(
        "http://dashboard.example.com/#/runs/details/"
    )

    kube.wait(lambda: status(kube, "pipelinerun", "fails").get("phase") == "Failed", "two attempts", 600)
    fails = status(kube, "pipelinerun", "fails")
    assert fails["attempt"] == 2 and [a["state"] for a in fails["attempts"]] == ["FAILED", "FAILED"] and "count" in fails["message"], fails
    assert len(kfp.runs_of(kfp.experiment_id(SPACE, None, create=False) or "", archived=True)) >= 4

    long = status(kube, "pipelinerun", "long")
    assert long["phase"] == "Running", long
    kube.run("delete", "pipelinerun", "long", "--timeout=120s", namespace=SPACE)
    ended = kfp.run(long["runId"])
    assert ended and ended["state"] in ("FAILED", "CANCELED")

    wrong = status(kube, "pipelinerun", "wrong")
    synced = next(c for c in wrong["conditions"] if c["type"] == "Synced")
    assert (wrong["phase"], synced["status"], synced["reason"]) == ("Pending", "False", "NotFound") and "no-such-pipeline" in wrong[
        "message"
    ]


def test_the_installed_controller_has_the_rights_and_the_way(kube: Any, kfp: Api, pipeline: str) -> None:
    """As it stands on the cluster: its role, its NetworkPolicy, its lease."""
    pod = kube.get("deployment", "sluice-controller")["spec"]["template"]["spec"]
    if "--kfp-endpoint" not in pod["containers"][0]["args"]:
        pytest.skip("the installed controller has no --kfp-endpoint: kubectl apply -k manifests/overlays/kind")
    body = {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "PipelineRun",
        "metadata": {"name": "e2e-installed"},
        "spec": {"pipeline": {"name": NAME}},
    }
    kube.run("delete", "pipelinerun", "e2e-installed", "--ignore-not-found", "--timeout=120s")
    kube.run("apply", "-f", "-", stdin=json.dumps(body))
    found = kube.wait(
        lambda: kube.get("pipelinerun", "e2e-installed").get("status", {}).get("endTime"), "the run by the installed controller", 240
    )
    assert found
    status = kube.get("pipelinerun", "e2e-installed")["status"]
    assert (status["phase"], status["progress"]) == ("Succeeded", "2/2"), status
    kube.run("delete", "pipelinerun", "e2e-installed", "--timeout=120s")
    kfp.end_run(status["runId"], "remove")
