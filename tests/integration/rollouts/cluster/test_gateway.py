"""ModelRollouts on Gateway API, by the controller as a process, under load from outside."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice.rollouts.load_generator import Load

# The helpers of conftest.py, by path: test folders are no packages.
_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest, NAMESPACE, kubectl = helpers.manifest, helpers.digest, helpers.NAMESPACE, helpers.kubectl
wait_until = helpers.wait_until


def promoted(api: Any, name: str, version: str = "one") -> None:
    api.apply(manifest(name, version))
    api.until(name, "Succeeded", version=version)


def test_first_model_then_a_canary_then_a_rollback_with_two_controller_kills_and_no_failed_request(
    operator: Any, api: Any, named: str, load: Callable[..., Load]
):
    promoted(api, named)
    assert api.status(named)["stable"] == digest("one")[:12]
    traffic = load(named, 80)
    wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > 20, what="traffic", seconds=30)
    assert traffic.report()["failed"] == 0, traffic.report()

    api.apply(manifest(named, "two"))
    api.until(named, "Step")
    operator.kill()
    time.sleep(2)
    operator.start()
    wait_until(lambda: api.status(named).get("step") == "2/2", what="the second step", seconds=120)
    operator.kill()
    operator.start()
    status = api.until(named, "Succeeded", version="two")
    assert status["stable"] == digest("two")[:12]
    assert traffic.report()["failed"] == 0, traffic.report()
    said = [h["message"] for h in status["history"]]
    assert len([m for m in said if m.startswith("step 1 of 2")]) == 1
    assert len([m for m in said if "of traffic to the candidate" in m and "last step passed" in m]) == 1, said
    numbers = [h["sequence"] for h in status["history"]]
    assert numbers == sorted(set(numbers))

    api.apply(manifest(named, "three", "slow=0.5"))
    status = api.until(named, "RolledBack")
    assert "slow answers" in status["message"]
    wait_until(
        lambda: (
            not [
                s
                for s in api.kube.list("InferenceService", NAMESPACE, f"sluice.dev/rollout={named}")
                if s["metadata"]["annotations"]["sluice.dev/digest"] == digest("three")
            ]
        ),
        what="the candidate to go",
        seconds=60,
    )
    traffic.stop()
    report = traffic.report()
    assert report["failed"] == 0 and report["sent"] == report["answered"], report


def test_failing_model_is_stopped_in_the_shadow_and_never_answers_a_user(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    promoted(api, named)
    traffic = load(named)
    api.apply(manifest(named, "nan", "errors=1"))
    status = api.until(named, "RolledBack")
    assert "errors" in status["message"]
    traffic.stop()
    assert traffic.report()["failed"] == 0
    assert digest("nan")[:12] not in traffic.report()["by_arm"]
    # A rejected digest does not start again by itself, a retry does.
    time.sleep(3)
    assert api.phase(named) == "RolledBack"
    kubectl("annotate", "modelrollout", "-n", NAMESPACE, named, "sluice.dev/command=retry#1", "--overwrite")
    wait_until(lambda: api.phase(named) in ("Pending", "Shadow"), what="the retry", seconds=30)


def test_candidate_that_crash_loops_or_runs_out_of_memory_is_rolled_back_with_the_reason(
    operator: Any, api: Any, named: str, load: Callable[..., Load]
):
    promoted(api, named)
    traffic = load(named)
    api.apply(manifest(named, "crash", "exit=3", strategy={"readySeconds": 300}))
    assert "CrashLoopBackOff" in api.until(named, "RolledBack")["message"]
    api.apply(manifest(named, "hungry", "eat=8"))
    status = api.until(named, "RolledBack", "Succeeded", version="hungry")
    while digest("hungry") not in api.kube.get("ModelRollout", NAMESPACE, named)["status"]["state"]["rejected"]:
        status = api.until(named, "RolledBack")
        time.sleep(0.5)
    assert "OOMKilled" in status["message"] or "restarted" in status["message"], status["message"]
    traffic.stop()
    assert traffic.report()["failed"] == 0


def test_candidate_never_ready_is_rolled_back_and_stable_is_untouched(operator: Any, api: Any, named: str):
    promoted(api, named)
    api.apply(manifest(named, "never", "never=1", strategy={"readySeconds": 8}))
    said = api.until(named, "RolledBack")["message"]
    waited = re.search(r"not ready after (\d+) s", said)
    assert waited and int(waited[1]) >= 8, said


def test_newer_model_supersedes_mid_canary(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    promoted(api, named)
    traffic = load(named)
    api.apply(manifest(named, "two", strategy={"minimumRequests": 100000}))
    api.until(named, "Step")
    api.apply(manifest(named, "three"))
    status = api.until(named, "Succeeded", version="three")
    assert status["stable"] == digest("three")[:12]
    assert any("superseded" in h["message"] for h in status["history"])
    traffic.stop()
    assert traffic.report()["failed"] == 0


def test_route_edited_by_hand_is_put_back(operator: Any, api: Any, named: str):
    promoted(api, named)
    kubectl(
        "patch",
        "httproute",
        "-n",
        NAMESPACE,
        named,
        "--type=json",
        "-p",
        '[{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 7},'
        '{"op": "add", "path": "/spec/rules/0/backendRefs/-", "value": {"name": "elsewhere", "port": 80, "weight": 93}}]',
    )

    def back() -> bool:
        refs = api.kube.get("HTTPRoute", NAMESPACE, named)["spec"]["rules"][0]["backendRefs"]
        return [(r["name"], r["weight"]) for r in refs] == [(f"{named}-{digest('one')[:8]}-predictor", 100)]

    wait_until(back, what="the route", seconds=30)


def test_resource_deleted_mid_canary_leaves_stable_serving_and_owned_by_nobody(
    operator: Any, api: Any, named: str, load: Callable[..., Load]
):
    promoted(api, named)
    traffic = load(named)
    api.apply(manifest(named, "two", strategy={"minimumRequests": 100000}))
    api.until(named, "Step")
    kubectl("delete", "modelrollout", "-n", NAMESPACE, named, "--timeout=60s")
    time.sleep(8)
    services = api.kube.list("InferenceService", NAMESPACE, f"sluice.dev/rollout={named}")
    assert [s["metadata"]["annotations"]["sluice.dev/digest"] for s in services] == [digest("one")]
    assert not services[0]["metadata"].get("ownerReferences")
    assert not api.kube.get("HTTPRoute", NAMESPACE, named)["metadata"].get("ownerReferences")
    traffic.stop()
    assert traffic.report()["failed"] == 0
    # Made anew, it takes what serves as its stable model.
    api.apply(manifest(named, "one"))
    wait_until(lambda: api.status(named).get("stable") == digest("one")[:12], what="adoption", seconds=30)
    assert api.phase(named) in ("Pending", "Succeeded")


def test_commands_dry_run_events_and_columns(operator: Any, api: Any, named: str, load: Callable[..., Load]):
    promoted(api, named)
    load(named)
    api.apply(manifest(named, "two", dryRun=True))
    status = api.until(named, "Paused")
    assert "dry run: would now send 20 %" in status["history"][-1]["message"]
    line = kubectl("get", "mr", "-n", NAMESPACE, named)
    assert "Paused" in line and "WEIGHT" in line and digest("two")[:12] in line
    kubectl("annotate", "modelrollout", "-n", NAMESPACE, named, "sluice.dev/command=abort#9", "--overwrite")
    assert "aborted by command" in api.until(named, "RolledBack")["message"]
    events = kubectl(
        "get", "events", "-n", NAMESPACE, "--field-selector", f"involvedObject.name={named}", "-o", "jsonpath={.items[*].reason}"
    )
    assert {"Pending", "Shadow", "Succeeded", "RolledBack"} <= set(events.split())
    # What GitOps tools go by: our fields are ours by name, and the generation that was seen is told.
    raw = api.kube.get("ModelRollout", NAMESPACE, named)
    assert raw["status"]["observedGeneration"] == raw["metadata"]["generation"]
    route = api.kube.get("HTTPRoute", NAMESPACE, named)
    assert {m["manager"] for m in route["metadata"]["managedFields"] if m.get("subresource") != "status"} == {"sluice-rollout"}
    conditions = {c["type"]: c["status"] for c in api.status(named)["conditions"]}
    assert conditions == {"Accepted": "True", "Progressing": "False", "Succeeded": "False"}


def test_two_replicas_never_act_twice(operator: Any, api: Any, named: str, load: Callable[..., Load], tmp_path: Path):
    promoted(api, named)
    load(named)
    second = helpers.Operator(tmp_path / "second.log").start()
    try:
        api.apply(manifest(named, "two"))
        api.until(named, "Step")
        operator.kill()
        status = api.until(named, "Succeeded", version="two")
        said = [h["message"] for h in status["history"]]
        assert len([m for m in said if m.startswith("step 1 of 2:")]) == 1
        numbers = [h["sequence"] for h in status["history"]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    finally:
        second.stop()
        operator.start()
