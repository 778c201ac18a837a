"""Why a candidate does not start, from pod statuses as the kubelet, the scheduler and KServe's storage initializer write them."""

from __future__ import annotations

from typing import Any

import pytest

from serving.controller.rollouts.faults import KEPT, Fault, last_lines, of_events, of_pod, of_pods, of_service

Object = dict[str, Any]
MAIN, INIT = "kserve-container", "storage-initializer"


def pod(*, main: Object | None = None, init: Object | None = None, name: str = "m-2-predictor-x", **status: Any) -> Object:
    """A pod with these container states, and the conditions a kubelet sets."""
    waiting = {"waiting": {"reason": "PodInitializing"}}
    found: Object = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Initialized", "status": "False" if init else "True", "reason": "ContainersNotInitialized"},
            {
                "type": "Ready",
                "status": "False",
                "reason": "ContainersNotReady",
                "message": "containers with unready status: [kserve-container]",
            },
        ],
        "containerStatuses": [
            {
                "name": MAIN,
                "ready": False,
                "restartCount": 0,
                "image": "sluice/runtime:0.1.0",
                "imageID": "",
                "started": False,
                "lastState": {},
                "state": waiting,
                **(main or {}),
            }
        ],
    }
    if init is not None:
        found["initContainerStatuses"] = [
            {"name": INIT, "ready": False, "restartCount": 3, "image": "kserve/storage-initializer:v0.20.0", "lastState": {}, **init}
        ]
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {}, "status": found | status}


def crashed(message: str, *, reason: str = "Error", code: int = 1, loop: bool = True) -> Object:
    ended = {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": "2026-11-29T15:00:00Z",
            "finishedAt": "2026-11-29T15:00:02Z",
            "containerID": "containerd://1",
        }
    }
    back_off = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=x pod=y"}}
    return {"state": back_off, "lastState": ended, "restartCount": 3} if loop else {"state": ended}


def wait(reason: str, message: str) -> Object:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


NO_CREDENTIALS = """\
2026-11-29 15:00:01 1 INFO [storage.storage:download():60] Copying contents of s3://models/sha256/22 to local
Traceback (most recent call last):
  File "/storage-initializer/scripts/initializer-entrypoint", line 17, in <module>
    Storage.download(src_uri, dest_path)
  File "/prod_venv/lib/python3.11/site-packages/botocore/auth.py", line 418, in add_auth
    raise NoCredentialsError()
botocore.exceptions.NoCredentialsError: Unable to locate credentials
"""
NO_BUCKET = "botocore.errorfactory.NoSuchBucket: An error occurred (NoSuchBucket) when calling the ListObjects operation: The specified bucket does not exist\n"
NOTHING_THERE = "RuntimeError: Failed to fetch model. No model found in s3://models/sha256/22.\n"
LOGGED = """\
2026-11-29 17:47:52.860 1 storage.initializer ERROR [storage_errors.py:raise_storage_error():42] S3 error for s3://nowhere/sha256/3a: Unable to locate credentials
2026-11-29 17:47:52.860 1 storage.initializer ERROR [initializer-entrypoint:<module>():28] Storage initialization failed: S3 authentication failed.
"""
FORBIDDEN = "botocore.exceptions.ClientError: An error occurred (403) when calling the HeadObject operation: Forbidden\n"
UNREACHABLE = 'botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "http://seaweedfs.kubeflow:9000/models?list-type=2"\n'
ODD = "ValueError: something else entirely\n"
TRACE = "Error: model.onnx: is not what the manifest says (got sha256:00)\n  fix: fetch the package anew\n"

TABLE: dict[str, tuple[Object, bool, bool, str, str]] = {
    # name: (pod, the package's own, patient, words of the reason, words of what mends it)
    "no node": (
        pod(
            conditions=[
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: "
                    "0/1 nodes are available: 1 No preemption victims found for incoming pod.",
                }
            ],
            containerStatuses=[],
        ),
        False,
        True,
        "0/1 nodes are available: 1 Insufficient cpu",
        "resources",
    ),
    "no image": (
        pod(
            main=wait(
                "ErrImagePull", 'rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/sluice/runtime:9": not found'
            )
        ),
        False,
        False,
        "image of kserve-container cannot be pulled (ErrImagePull): rpc error: code = NotFound",
        "pull secret",
    ),
    "no image, backing off": (
        pod(main=wait("ImagePullBackOff", 'Back-off pulling image "sluice/runtime:9": ErrImagePull: unauthorized')),
        False,
        False,
        "ImagePullBackOff",
        "registry answers",
    ),
    "no initializer's image": (
        pod(init=wait("ImagePullBackOff", 'Back-off pulling image "kserve/storage-initializer:v9"')),
        False,
        False,
        "image of storage-initializer",
        "registry",
    ),
    "no secret": (
        pod(main=wait("CreateContainerConfigError", 'secret "sluice-store" not found')),
        False,
        False,
        'CreateContainerConfigError: secret "sluice-store" not found',
        "make what it names",
    ),
    "runs as root": (
        pod(
            main=wait(
                "CreateContainerConfigError",
                'container has runAsNonRoot and image will run as root (pod: "m", container: kserve-container)',
            )
        ),
        False,
        False,
        "runAsNonRoot",
        "spec.serving.predictor",
    ),
    "no command": (
        pod(
            main=crashed(
                'failed to create containerd task: OCI runtime create failed: exec: "serve": executable file not found in $PATH',
                reason="StartError",
                code=128,
            )
        ),
        False,
        False,
        "could not be started (StartError)",
        "command",
    ),
    "store without credentials": (
        pod(init=crashed(NO_CREDENTIALS)),
        False,
        False,
        "the store lets it not in: botocore.exceptions.NoCredentialsError: Unable to locate credentials",
        "service account a Secret",
    ),
    "store without credentials, as KServe 0.20 logs it": (
        pod(init=crashed(LOGGED)),
        False,
        False,
        "the store lets it not in: Storage initialization failed: S3 authentication failed.",
        "Secret",
    ),
    "store forbids": (pod(init=crashed(FORBIDDEN, loop=False)), False, False, "the store lets it not in", "Secret"),
    "no bucket": (pod(init=crashed(NO_BUCKET)), False, False, "there is no such package in the store", "spec.model.uri"),
    "no package": (
        pod(init=crashed(NOTHING_THERE)),
        False,
        False,
        "there is no such package in the store: RuntimeError: Failed to fetch model",
        "spec.model.uri",
    ),
    "store away": (pod(init=crashed(UNREACHABLE)), False, False, "the store does not answer", "NetworkPolicy"),
    "initializer of another kind": (
        pod(init=crashed(ODD)),
        False,
        False,
        "storage-initializer fails: ValueError: something else entirely",
        "kubectl logs",
    ),
    "initializer's memory": (
        pod(init=crashed("", reason="OOMKilled", code=137)),
        False,
        False,
        "storage-initializer was ended by OOMKilled",
        "inferenceservice-config",
    ),
    "evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.", containerStatuses=[]),
        False,
        True,
        "Evicted: The node was low on",
        "by itself",
    ),
    "sidecar": (
        pod(main={"name": "queue-proxy", **crashed("cannot bind\n")}),
        False,
        False,
        "queue-proxy, beside the model's own container, fails: cannot bind",
        "queue-proxy",
    ),
    "an empty folder of a claim": (
        pod(
            main=crashed(
                '{"level":"error","message":"cannot load: /mnt/models: is no package and no ONNX model"}\n'
                "error: /mnt/models: is no package and no ONNX model (got [])\n  fix: name a directory with model.json, or one .onnx file\n",
                code=2,
            )
        ),
        False,
        False,
        "there is no such package in the store: error: /mnt/models",
        "spec.model.uri",
    ),
    "a store the server reads itself": (
        pod(main=crashed("error: s3://b/p: the store cannot be reached: Could not connect to the endpoint\n  fix: look\n", code=2)),
        False,
        False,
        "does not give it the package",
        "NetworkPolicy",
    ),
    "crash": (pod(main=crashed(TRACE)), True, False, "kserve-container is in CrashLoopBackOff, last ended by Error with status 1", ""),
    "memory, in the loop": (
        pod(main=crashed("", reason="OOMKilled", code=137)),
        True,
        False,
        "last ended by OOMKilled with status 137",
        "limits.memory",
    ),
    "memory": (
        pod(main=crashed("", reason="OOMKilled", code=137, loop=False)),
        True,
        False,
        "was ended: OOMKilled with status 137",
        "limits.memory",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_pod_that_does_not_serve_says_why_whose_fault_it_is_and_what_mends_it(case: str) -> None:
    found = of_pod(TABLE[case][0])
    _, package, patient, why, mend = TABLE[case]
    assert found is not None and (found.package, found.patient) == (package, patient)
    assert why in found.why and mend in found.mend
    assert package or found.mend


@pytest.mark.parametrize(
    "case",
    [
        pod(),
        pod(main={"state": {"running": {"startedAt": "2026-11-29T15:00:00Z"}}}),
        pod(main=crashed("first try\n", loop=False)),
        pod(init={"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
        pod(init={"state": {"running": {}}}),
        pod(main={"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}),
        {"metadata": {"name": "p"}, "spec": {}},
    ],
)
def test_a_pod_on_its_way_has_no_fault(case: Object) -> None:
    assert of_pod(case) is None


def test_the_last_lines_of_the_container_are_kept_whole_plain_and_in_bounds() -> None:
    found = of_pod(pod(main=crashed(TRACE)))
    assert found is not None and found.said == TRACE.strip()
    said = last_lines("\x1b[31mred\x1b[0m\r\n\n" + "".join(f"line {i} {'x' * 90}\n" for i in range(200)) + "the end\n")
    assert said.endswith("\nthe end") and len(said.encode()) <= KEPT and said.startswith("line ") and "\x1b" not in said
    assert last_lines("\x1b[31mred\x1b[0m\r\n") == "red"
    assert len(last_lines("ß" * 5000).encode()) <= KEPT


def test_a_fault_of_the_package_outranks_its_surroundings_and_pods_of_before_say_nothing() -> None:
    broken, waiting = (
        pod(main=crashed(TRACE)),
        pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no"}]),
    )
    assert (of_pods([waiting, broken]) or Fault("")).package
    evicted = TABLE["evicted"][0]
    assert of_pods([evicted, pod(main={"state": {"running": {}}})]) is None
    assert "Evicted" in (of_pods([evicted]) or Fault("")).why


@pytest.mark.parametrize(
    ("reason", "message", "why", "mend"),
    [
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "store" : secret "sluice-store" not found',
            'secret "sluice-store" not found',
            "Secret",
        ),
        ("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) x', "Multi-Attach", "claim"),
        ("FailedCreatePodSandBox", 'failed to setup network for sandbox: plugin type="kindnet" failed', "cannot be set up", "network"),
        (
            "FailedCreate",
            'Error creating: pods "m-22222222-predictor-6d" is forbidden: exceeded quota: sluice, requested: requests.cpu=9',
            "quota is used up",
            "ResourceQuota",
        ),
        (
            "FailedCreate",
            'Error creating: pods "m" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "not let in",
            "policies",
        ),
    ],
)
def test_events_say_what_a_pods_status_does_not(reason: str, message: str, why: str, mend: str) -> None:
    old = {"reason": "BackOff", "message": "x", "lastTimestamp": "2026-11-29T15:00:09Z"}
    found = of_events([old, {"reason": reason, "message": message, "lastTimestamp": "2026-11-29T15:00:01Z"}])
    assert found is not None and not found.package and why in found.why and mend in found.mend
    assert of_events([old]) is None


def test_a_service_that_kserve_makes_no_pods_for_says_so() -> None:
    why = {"reason": "NoSupportingRuntime", "message": "No runtime found to support specified framework/version", "modelRevisionName": ""}
    found = of_service({"status": {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": why}}})
    assert found is not None and "NoSupportingRuntime: No runtime found" in found.why and "ServingRuntime" in found.mend
    assert of_service({"status": {"modelStatus": {"lastFailureInfo": {"reason": "ModelLoadFailed", "exitCode": 1}}}}) is None
    assert of_service({}) is None
