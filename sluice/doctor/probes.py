"""Pods that stand where steps and model servers stand, for a minute: what they reach from there, under the same labels, accounts and policies."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from typing import Any

from sluice.core.errors import SluiceError
from sluice.doctor.finding import Finding, fault, note, ok
from sluice.doctor.place import APPLY, Place
from sluice.kfp import site
from sluice.kube.client import KubeFault, Object

#: Seconds each question has for its answer, once the pod runs.
_EACH = 8
#: Of a step's pod (components.cluster puts them there), and of a model server's.
_STEP = {"app.kubernetes.io/component": "step", "app.kubernetes.io/part-of": "sluice"}
_SERVER = {"serving.kserve.io/inferenceservice": "sluice-doctor", "app.kubernetes.io/part-of": "sluice"}
_MARK = "::doctor::"
#: Seconds until a network's policies hold for a new pod.
_SETTLE = 5
#: Runs in the pod, with nothing but what the image holds: {question: null, or what went wrong}.
SCRIPT = r"""
import json, os, pathlib, sys, threading, time, urllib.request
each, asked = float(sys.argv[1]), json.loads(sys.argv[2])
answers = {}
# Many networks let a new pod through until they have heard of it: what is asked at once is no answer.
time.sleep(asked.get("settle", 0))

def http(url):
    urllib.request.urlopen(url, timeout=each).read(64)

def s3(uri):
    from sluice.core.s3 import client
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = client("SLUICE_STORE", connect=each / 2, read=each / 2, attempts=1)
    s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    if asked.get("write"):
        key = prefix.rstrip("/") + "/.doctor/" + asked["name"]
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        s3.delete_object(Bucket=bucket, Key=key)

def claim(folder):
    os.listdir(folder)
    if asked.get("write"):
        probe = pathlib.Path(folder, ".doctor-" + asked["name"])
        probe.write_text("x")
        probe.unlink()

def kubernetes(path):
    from sluice.kube.client import Kube
    Kube(connect=each / 2, read=each / 2).request("GET", path)

ways = {"http": http, "s3": s3, "claim": claim, "kubernetes": kubernetes}

def ask(name, way, what):
    try:
        ways[way](what)
        answers[name] = None
    except BaseException as e:
        answers[name] = (type(e).__name__ + ": " + " ".join(str(e).split()))[:300]

threads = [threading.Thread(target=ask, args=q, daemon=True) for q in asked["questions"]]
[t.start() for t in threads]
[t.join(each * 3) for t in threads]
print("::doctor::" + json.dumps({q[0]: answers.get(q[0], "no answer within %g s" % (each * 3)) for q in asked["questions"]}), flush=True)
os._exit(0)
"""


def from_steps(place: Place, seconds: float) -> list[Finding]:
    """The registry, the store, the API server and Kubeflow Pipelines, as a step reaches them."""
    settings = place.step()
    questions = [
        ["Kubernetes", "kubernetes", f"/api/v1/namespaces/{place.environment}/configmaps/{site.NAME}"],
        ["Kubeflow Pipelines", "http", f"http://ml-pipeline.{place.installation}:8888/apis/v2beta1/healthz"],
    ]
    tracking = settings.env.get(site.TRACKING_ENV, "")
    if tracking.startswith("http"):
        questions.append(["MLflow", "http", f"{tracking.rstrip('/')}/health"])
    env: list[Object] = [{"name": k, "value": v} for k, v in sorted(settings.env.items())]
    env += [
        {"name": v, "valueFrom": {"secretKeyRef": {"name": s.name, "key": k, "optional": s.optional}}}
        for s in settings.secrets
        for k, v in s.env.items()
    ]
    volumes = [(v.claim, v.mount, v.sub_path) for v in settings.volumes]
    mend = {
        "MLflow": f"let namespace {place.runs} in: NetworkPolicy mlflow of {place.environment} (chart: pipelines.runners); and out: kubectl apply --server-side -k manifests/runs",
        "Kubernetes": f"kubectl -n {place.environment} create rolebinding sluice-steps-{place.runs} --role=sluice-pipeline --serviceaccount={place.runs}:{place.account}",
        "Kubeflow Pipelines": "kubectl apply --server-side -k manifests/runs",
    }
    labels = {**_STEP, site.ENVIRONMENT_LABEL: settings.env.get(site.NAMESPACE_ENV) or place.environment}
    pod = _pod(place, place.runs, place.account, labels, env, volumes, questions, write=True, token=True)
    return _answers("steps", place, place.runs, pod, seconds, mend)


def from_servers(place: Place, seconds: float) -> list[Finding]:
    """The store, as a model server's fetching reaches it."""
    env: list[Object] = [
        {"name": k, "value": v}
        for k, v in sorted(place.step().env.items())
        if k in (site.STORE_ENV, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION")
    ]
    account = place.kube.get(place.namespaced("serviceaccounts/sluice-predictor")) or {}
    for secret in account.get("secrets") or []:
        env += [
            {"name": k, "valueFrom": {"secretKeyRef": {"name": secret["name"], "key": k, "optional": True}}}
            for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
    volumes = [
        (v.claim, v.mount, v.sub_path)
        for v in place.step().volumes
        if place.step().env.get(site.STORE_ENV, "").startswith(f"pvc://{v.claim}")
    ]
    pod = _pod(place, place.environment, "sluice-predictor", _SERVER, env, volumes, [], write=False, token=False)
    return _answers("model servers", place, place.environment, pod, seconds, {})


def _pod(
    place: Place,
    namespace: str,
    account: str,
    labels: dict[str, str],
    env: list[Object],
    volumes: list[tuple[str, str, str]],
    questions: list[list[str]],
    *,
    write: bool,
    token: bool,
) -> Object:
    name = f"sluice-doctor-{secrets.token_hex(3)}"
    store = place.step().env.get(site.STORE_ENV, "")
    if store.startswith("s3://"):
        questions = [*questions, ["store", "s3", store]]
    elif store.startswith("pvc://"):
        questions = [*questions, ["store", "claim", place.step().env.get("SLUICE_STORE_MOUNT") or "/store"]]
    asked = json.dumps({"questions": questions, "write": write, "name": name, "settle": _SETTLE})
    restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "doctor",
        "image": place.site.image if place.site else "",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", SCRIPT, str(_EACH), asked],
        "env": env,
        "securityContext": restricted,
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            *({"name": f"v{i}", "mountPath": mount, **({"subPath": sub} if sub else {})} for i, (_, mount, sub) in enumerate(volumes)),
        ],
    }
    spec = {
        "serviceAccountName": account,
        "automountServiceAccountToken": token,
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "imagePullSecrets": [{"name": n} for n in place.step().image_pull_secrets],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *({"name": f"v{i}", "persistentVolumeClaim": {"claimName": claim}} for i, (claim, _, _) in enumerate(volumes)),
        ],
    }
    # A Job: it takes its pod along, and goes by itself where nobody is left to remove it.
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "sluice-doctor"}},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 300,
            "ttlSecondsAfterFinished": 60,
            "template": {"metadata": {"labels": {**labels, "app.kubernetes.io/name": "sluice-doctor"}}, "spec": spec},
        },
    }


def _answers(who: str, place: Place, namespace: str, job: Object, seconds: float, mend: dict[str, str]) -> list[Finding]:
    """What the pod said, or why it could not; it is removed in any case."""
    check = f"from {who}"
    if not place.site or not place.site.image:
        return [note(check, "not asked: the environment names no image to ask with", "see `image`")]
    jobs, name = place.namespaced("batch/v1:jobs", namespace), job["metadata"]["name"]
    try:
        place.kube.request("POST", jobs, job)
    except KubeFault as e:
        if e.status == 403 and "exceeded quota" not in e.message:
            return [note(check, f"not asked: you may not make a pod in namespace {namespace}: {e.message[:160]}")]
        return [fault(check, f"a pod like theirs is refused: {e.message}", APPLY)]
    try:
        found, why = _wait(place, namespace, name, seconds)
    finally:
        with contextlib.suppress(SluiceError):  # its time to live removes it
            place.kube.request("DELETE", f"{jobs}/{name}", {"propagationPolicy": "Background", "gracePeriodSeconds": 0})
    if found is None:
        fix = f"kubectl -n {namespace} get events --field-selector involvedObject.kind=Pod"
        if "mage" in why:
            fix = f"is {place.site.image} where nodes pull from? on kind: PARTS='images sluice' make kind-up; {fix}"
        return [fault(check, why, fix)]
    lines = []
    for question, wrong in found.items():
        if wrong is None:
            lines.append(ok(check, f"{question} is reached"))
        else:
            fix = mend.get(question) or _store_fix(place, who, wrong)
            lines.append(fault(check, f"{question} is not: {wrong}", fix))
    return lines or [note(check, "nothing to ask: the environment names no store")]


def _store_fix(place: Place, who: str, wrong: str) -> str:
    if any(word in wrong for word in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoCredentials")):
        return "the keys do not open it: see `store's keys`"
    if "NoSuchBucket" in wrong:
        return f"make the bucket of {place.step().env.get(site.STORE_ENV)}, or name another in {site.NAME}"
    if "Permission" in wrong or "Read-only" in wrong:
        return "the volume must be writable for user 65532: chmod 1777 its folder"
    if who == "steps":
        return f"kubectl apply --server-side -k manifests/runs; is AWS_ENDPOINT_URL_S3 of {site.NAME} right?"
    return (
        f"NetworkPolicy store of namespace {place.environment} names the store's namespace and ports (manifests/components/kfp-store, chart: store.namespace, store.ports); "
        "and where a policy guards the store: kubectl apply --server-side -k manifests/runs/store"
    )


def _wait(place: Place, namespace: str, job: str, seconds: float) -> tuple[dict[str, Any] | None, str]:
    """The pod's answers, or None and why there are none."""
    end, why = time.monotonic() + seconds, "no pod was made"
    while time.monotonic() < end:
        time.sleep(0.5)
        pods = place.kube.request("GET", place.namespaced("pods", namespace), query={"labelSelector": f"job-name={job}"})["items"]
        if not pods:
            found = place.kube.get(place.namespaced(f"batch/v1:jobs/{job}", namespace)) or {}
            why = next((c["message"] for c in (found.get("status") or {}).get("conditions") or [] if c.get("message")), why)
            continue
        pod = pods[0]
        phase = pod.get("status", {}).get("phase", "Pending")
        if phase in ("Succeeded", "Failed"):
            log = str(place.kube.request("GET", place.namespaced(f"pods/{pod['metadata']['name']}/log", namespace)))
            said = [line for line in log.splitlines() if line.startswith(_MARK)]
            if said:
                return dict(json.loads(said[0].removeprefix(_MARK))), ""
            return None, f"the pod ended as {phase}: {' '.join(log.split())[-300:] or pod['status'].get('message', 'without a word')}"
        why = _waits(pod)
        if any(word in why for word in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainer")):
            return None, why
    return None, f"{why} (after {seconds:g} s)"


def _waits(pod: Object) -> str:
    """What a pod that has not ended waits for."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or []:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") != "ContainerCreating":
            return f"{waiting.get('reason')}: {waiting.get('message', '')[:200]}"
    scheduled = next((c for c in status.get("conditions") or [] if c["type"] == "PodScheduled" and c["status"] == "False"), None)
    return f"no node takes it: {scheduled.get('message', '')[:200]}" if scheduled else f"it is {status.get('phase', 'Pending')} still"
