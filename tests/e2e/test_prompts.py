"""Prompts on a cluster: a package that asks an endpoint with a key out of a Secret, a second prompt let in by a canary, a third that fails and goes."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.test_serving import Load
from tests.support import endpoint as played
from tests.support.capitals import CAPITALS

NAME, MODELS, SECRET = "prompts-e2e", "sluice-e2e-models", "prompts-e2e-endpoint"
HOST = f"{NAME}.example.com"
KEY = "sk-e2e-never-told-0123456789"
WORDS = {"first": "Capital", "second": "The capital", "third": "Loudly: capital"}
#: The endpoint in a pod: it knows one key, and fails whoever asks loudly.
SERVER = f"""
import sys, threading
sys.path.insert(0, "/endpoint")
import endpoint
def play(body, n):
    known = server.headers.get("authorization") == "Bearer {KEY}"
    return "400" if not known else "500" if "Loudly" in body["messages"][-1]["content"] else "ok"
server = endpoint.Scripted(script=play, answer=lambda q: "It is a town.", address=("0.0.0.0", 8080))
with server.serving():
    threading.Event().wait()
"""
RESTRICTED = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 65532, "capabilities": {"drop": ["ALL"]}}


def objects() -> list[dict[str, Any]]:
    """The endpoint in a namespace of its own, behind a Service."""
    meta = {"name": "endpoint", "namespace": MODELS}
    server = {
        "name": "endpoint",
        "image": "sluice/controller:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", SERVER],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "code", "mountPath": "/endpoint"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [server],
        "volumes": [{"name": "code", "configMap": {"name": "endpoint"}}],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MODELS}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"endpoint.py": Path(played.__file__).read_text()}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "labels": {"app": "endpoint"}}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "endpoint"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def example_policy() -> dict[str, Any]:
    """The example's, for the endpoint of these tests."""
    import yaml

    text = (Path(__file__).parents[2] / "manifests/examples/prompt.yaml").read_text()
    found: dict[str, Any] = next(d for d in yaml.safe_load_all(text) if d["kind"] == "NetworkPolicy")
    found["metadata"]["name"] = NAME
    found["spec"]["egress"][0]["to"][0]["namespaceSelector"]["matchLabels"] = {"kubernetes.io/metadata.name": MODELS}
    return found


@pytest.fixture(scope="module")
def endpoint(kube: Any) -> Iterator[None]:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"LLM_API_KEY": KEY}}
    with kube.kept(("secret", SECRET), ("networkpolicy", NAME)):
        try:
            for item in objects():
                kube.run("apply", "-f", "-", stdin=json.dumps(item), namespace=item["metadata"].get("namespace", "default"))
            kube.run("apply", "-f", "-", stdin=json.dumps(secret))
            kube.run("apply", "-f", "-", stdin=json.dumps(example_policy()))
            kube.run("wait", "--for=condition=Ready", "pod/endpoint", "--timeout=120s", namespace=MODELS)
            yield
        finally:
            kube.run("delete", "namespace", MODELS, "--ignore-not-found", "--timeout=120s", namespace="default")


@pytest.fixture(scope="module")
def prompts(loader: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The digests of three prompts, in the cluster's store."""
    made = {}
    with pytest.MonkeyPatch.context() as patched, played.Scripted().serving() as here:
        patched.setenv("LLM_API_KEY", KEY)
        for name, word in WORDS.items():
            made[name] = package(tmp_path_factory.mktemp(name), here.url, word)
    for path in made.values():
        tar = subprocess.run(["tar", "-C", str(path.parent), "-c", path.name], capture_output=True, check=True).stdout
        loader("mkdir", "-p", "/store/sha256")
        loader("tar", "-x", "--no-same-owner", "--no-same-permissions", "-C", "/store/sha256", stdin=tar)
    names = [p.name for p in made.values()]
    yield {name: path.name for name, path in made.items()}
    loader("sh", "-c", 'cd /store/sha256 && chmod -R u+w "$@" && rm -rf "$@"', "sh", *names)


def package(folder: Path, url: str, word: str) -> Path:
    """A prompt's package, in a folder named by its digest."""
    from sluice.data.prepare import prepare
    from sluice.formats.export import export_package
    from sluice.learners.base import Job
    from sluice.project import load
    from sluice.tasks import load_task

    model = {"endpoint": {"url": url, "model": "played", "key_env": "LLM_API_KEY", "retries": 0}}
    data = {"source": "golden.jsonl", "columns": {"label": "answer"}}
    (folder / "sluice.yaml").write_bytes(orjson.dumps({"name": "capitals", "task": "llm", "data": data, "model": model}))
    (folder / "prompt.yaml").write_text(
        f"user: '{word} of {{{{ country }}}}?'\nvariables: {{country: {{}}}}\nparameters: {{max_tokens: 8}}\n"
    )
    items = [{"country": c + ask, "answer": v} for c, v in CAPITALS.items() for ask in ("", ", please", ", quickly")]
    (folder / "golden.jsonl").write_bytes(b"\n".join(map(orjson.dumps, items)))
    project = load(folder / "sluice.yaml")
    task = load_task(project, folder)
    dataset = prepare(project, folder, task, folder / "dataset")
    task.learner().fit(Job(dataset, folder / "model"))
    result = export_package(project, folder / "model", dataset, folder / "package", base_dir=folder)
    assert result.package is not None
    return result.package.root.rename(folder / result.package.digest)


def manifest(kube: Any, digest: str) -> str:
    found = json.loads(kube.manifest(digest))
    found["metadata"]["name"], found["spec"]["traffic"]["hostname"] = NAME, HOST
    found["spec"]["model"]["name"] = "capitals"
    found["spec"]["strategy"] |= {"minimumRequests": 150, "shadow": {"requests": 60}}
    predictor = found["spec"]["serving"]["predictor"]
    predictor |= {"minReplicas": 1, "maxReplicas": 1, "labels": {"sluice.dev/asks": "endpoint"}}
    predictor["model"]["env"] = [
        {"name": "LLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "LLM_API_KEY"}}},
        {"name": "SLUICE_LLM_URL", "value": f"http://endpoint.{MODELS}.svc.cluster.local/v1"},
    ]
    return json.dumps(found)


def status(kube: Any) -> dict[str, Any]:
    return dict(kube.get("modelrollout", NAME).get("status") or {})


def ended(kube: Any, phase: str) -> bool:
    """Whether what was applied last came to this."""
    found = kube.get("modelrollout", NAME)
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"] and found["status"].get("phase") == phase)


@pytest.fixture(scope="module")
def stable(kube: Any, endpoint: None, prompts: dict[str, str]) -> Iterator[str]:
    kube.forget(NAME)
    kube.run("apply", "-f", "-", stdin=manifest(kube, prompts["first"]))
    kube.wait(lambda: status(kube).get("phase") == "Succeeded", "the first prompt", 300)
    yield prompts["first"]
    kube.forget(NAME)


def asked(gateway: str, path: str, body: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    connection = http.client.HTTPConnection(gateway, 80, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"host": HOST, "content-type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        return answer.status, answer.getheader("x-sluice-version") or "", json.loads(said or b"{}")
    finally:
        connection.close()


def test_a_prompt_answers_by_openais_protocol_and_by_v1_and_its_key_is_a_secrets_alone(kube: Any, gateway: str, stable: str) -> None:
    body = {"model": "capitals", "messages": [{"role": "user", "content": "Peru"}]}
    kube.wait(lambda: asked(gateway, "/v1/chat/completions", body)[0] == 200, "an answer", 60)
    _, version, said = asked(gateway, "/v1/chat/completions", body)
    assert version == stable and said["choices"][0]["message"]["content"] == "It is a town."
    assert asked(gateway, "/v1/models/capitals:predict", {"instances": [{"country": "Peru"}]})[0] == 200
    pods = f"serving.kserve.io/inferenceservice={NAME}-{stable[:8]}"
    told = kube.run("get", "pods", "-l", pods, "-o", "json") + kube.run("logs", "-l", pods, "--tail=-1", "--all-containers")
    assert '"kind": "Pod"' in told and KEY not in told + json.dumps(status(kube))


def test_a_second_prompt_takes_over_by_evidence_and_a_third_whose_calls_fail_goes_again(
    kube: Any, gateway: str, stable: str, prompts: dict[str, str]
) -> None:
    body = json.dumps({"instances": [{"country": "Peru"}]}).encode()
    for name, phase, serves in (("second", "Succeeded", "second"), ("third", "RolledBack", "second")):
        with Load(gateway, HOST, body, path="/v1/models/capitals:predict") as load:
            time.sleep(3)
            kube.run("apply", "-f", "-", stdin=manifest(kube, prompts[name]))
            kube.wait(lambda end=phase: ended(kube, end), f"the {name} prompt: {phase}", 600)
            time.sleep(2)
        assert status(kube)["stable"][:12] == prompts[serves][:12]
        failed = {k: n for k, n in load.seen.items() if k[0] != 200}
        total = sum(load.seen.values())
        print(f"\n{name}: {total} requests, failed {failed}")
        if name == "second":
            assert not failed
            assert {v for _, v in load.seen} == {prompts["first"][:12], prompts["second"][:12]}
        else:
            assert sum(failed.values()) <= 0.05 * total, "it was seen in the shadow, before anybody was asked by it"
