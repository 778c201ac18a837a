"""`sluice doctor`: a whole cluster is found whole, each thing that is missing is named with the command that mends it, and nothing hangs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.cli import main
from sluice.doctor import probes
from sluice.doctor.finding import Finding, Look, look, ok
from tests.unit.cluster.kubernetes_api import Api, kubeconfig, serving
from tests.unit.cluster.test_site import DATA

KFP = "/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy/apis/v2beta1"
REACHED = {"Kubernetes": None, "Kubeflow Pipelines": None, "MLflow": None, "store": None}


def whole(api: Api) -> None:
    """A cluster as `make kind-up` leaves it."""
    put, env = api.objects, "/api/v1/namespaces/sluice"
    put["/version"] = {"gitVersion": "v1.34.4"}
    put["/api/v1/namespaces/sluice"] = {}
    for group, version, names in (
        ("sluice.dev", "v1alpha1", "modelrollouts pipelineruns pipelineschedules modelmonitors"),
        ("serving.kserve.io", "v1beta1", "inferenceservices"),
        ("serving.kserve.io", "v1alpha1", "servingruntimes"),
        ("gateway.networking.k8s.io", "v1", "httproutes"),
        ("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
        ("monitoring.coreos.com", "v1", "podmonitors"),
    ):
        put[f"/apis/{group}/{version}"] = {"resources": [{"name": n} for n in names.split()]}
        put[f"/apis/{group}"] = {"versions": [{"version": version}]}
    api.config_map("sluice", "sluice-cluster", pipeline="sluice-training", **DATA)
    for space, name in (("kubeflow", "pipeline-runner"), ("sluice", "sluice-controller")):
        put[f"/api/v1/namespaces/{space}/serviceaccounts/{name}"] = {"metadata": {"name": name}}
    put[f"{env}/serviceaccounts/sluice-predictor"] = {"metadata": {}, "secrets": [{"name": "sluice-store"}]}
    put[f"{env}/secrets/sluice-store"] = {
        "metadata": {"annotations": {"serving.kserve.io/s3-endpoint": "minio-service.kubeflow:9000"}},
        "data": {},
    }
    put["/api/v1/namespaces/kubeflow/secrets/store"] = {"metadata": {}, "data": {"accesskey": "x", "secretkey": "x"}}
    for name, args in (("sluice-controller", ["--prometheus", "http://prometheus.monitoring:9090"]), ("mlflow", [])):
        container = {"image": f"sluice/{name}:0.1.0", "args": args}
        put[f"/apis/apps/v1/namespaces/sluice/deployments/{name}"] = {
            "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
            "status": {"availableReplicas": 1},
        }
    put["/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/-/ready"] = "Prometheus Server is Ready."
    put["/apis/serving.kserve.io/v1alpha1/namespaces/sluice/servingruntimes/sluice"] = {}
    put["/apis/scheduling.k8s.io/v1/priorityclasses/sluice-serving"] = {}
    put["/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/kserve-ingress-gateway"] = {
        "status": {"conditions": [{"type": "Programmed", "status": "True"}], "addresses": [{"value": "198.18.0.1"}]}
    }
    policies = [
        {"metadata": {"name": n}, "spec": {"podSelector": {"a": n}}}
        for n in ("default-deny", "dns", "predictors", "controller", "mlflow", "steps", "store")
    ]
    put["/apis/networking.k8s.io/v1/namespaces/sluice/networkpolicies"] = {"items": policies}
    put["/apis/networking.k8s.io/v1/namespaces/kubeflow/networkpolicies"] = {"items": []}
    put[f"{KFP}/healthz"] = {"multi_user": False, "tag_name": "2.17.0"}
    put[f"{KFP}/pipelines"] = {"pipelines": [{"pipeline_id": "p", "display_name": "sluice-training"}]}
    pods(api, lambda job: {"phase": "Succeeded"}, lambda job: "a line\n::doctor::" + json.dumps(dict.fromkeys(questions(job))))


def questions(job: dict[str, Any]) -> list[str]:
    return [q[0] for q in json.loads(job["spec"]["template"]["spec"]["containers"][0]["command"][-1])["questions"]]


def pods(api: Api, status: Callable[[Any], Any], log: Callable[[Any], str]) -> None:
    """Each Job's pod, as the cluster would run it."""

    def after(method: str, path: str, body: Any) -> None:
        if method == "POST" and path.endswith("/jobs"):
            space, name = path.split("/")[5], body["metadata"]["name"]
            root = f"/api/v1/namespaces/{space}/pods"
            api.objects[root] = {"items": [{"metadata": {"name": name}, "status": status(body)}]}
            api.objects[f"{root}/{name}/log"] = log(body)

    api.after = after


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Api]:
    found = Api()
    whole(found)
    for name in ("SLUICE_NAMESPACE", "SLUICE_KFP_NAMESPACE", "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "home"))
    with serving(found, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield found


def doctor(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, list[dict[str, str]], dict[str, Any]]:
    """The exit status, what is at fault, and the whole answer."""
    code = main(["doctor", "--json", *args])
    answer = orjson.loads(capsys.readouterr().out)
    return code, [f for f in [*answer["machine"], *answer["cluster"]] if f["state"] == "fault"], answer


def test_a_whole_cluster_is_found_whole_and_no_pod_is_left(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    code, faults, answer = doctor(capsys)
    assert (code, faults) == (0, [])
    said = {f["check"]: f for f in answer["cluster"]}
    assert {
        "resources",
        "configuration",
        "image",
        "your rights",
        "rights of steps",
        "rights of the controller",
        "controller",
        "MLflow",
        "serving",
        "gateway",
        "Prometheus",
        "Kubeflow Pipelines",
        "pipelines",
        "policies",
        "store's keys",
        "from steps",
        "from model servers",
    } <= set(said)
    assert [f["said"] for f in answer["cluster"] if f["check"] == "from steps"] == [f"{q} is reached" for q in REACHED]
    made = {path.split("/")[5]: job for path, job in api.made if path.endswith("/jobs")}
    assert sorted(api.deleted) == sorted(f"/apis/batch/v1/namespaces/{s}/jobs/{j['metadata']['name']}" for s, j in made.items())
    steps, servers = made["kubeflow"]["spec"], made["sluice"]["spec"]
    assert steps["activeDeadlineSeconds"] and steps["ttlSecondsAfterFinished"], "it goes by itself where doctor was killed"
    from components.cluster import LABELS

    assert LABELS.items() <= steps["template"]["metadata"]["labels"].items(), "policies know it as a step"
    pod, server = steps["template"]["spec"], servers["template"]["spec"]
    assert (pod["serviceAccountName"], server["serviceAccountName"], server["automountServiceAccountToken"]) == (
        "pipeline-runner",
        "sluice-predictor",
        False,
    )
    assert "serving.kserve.io/inferenceservice" in servers["template"]["metadata"]["labels"]
    assert pod["containers"][0]["image"] == DATA["image"] and pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def gone(*paths: str) -> Callable[[Api], None]:
    def change(api: Api) -> None:
        for path in paths:
            api.objects.pop(path)

    return change


def lacking(what: dict[str, str], user: str) -> Callable[[Api], None]:
    return lambda api: setattr(api, "allowed", lambda who, asked: not (user in who and all(asked.get(k) == v for k, v in what.items())))


def data(**changed: str) -> Callable[[Api], None]:
    return lambda api: api.config_map("sluice", "sluice-cluster", **{"pipeline": "sluice-training", **DATA, **changed})


def unreached(question: str, why: str) -> Callable[[Api], None]:
    return lambda api: pods(
        api,
        lambda job: {"phase": "Succeeded"},
        lambda job: "::doctor::" + json.dumps({q: why if q == question else None for q in questions(job)}),
    )


def waiting(reason: str) -> Callable[[Api], None]:
    status = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "not found"}}}]}
    return lambda api: pods(api, lambda job: status, lambda job: "")


@pytest.mark.parametrize(
    ("change", "check", "said", "fix"),
    [
        (
            gone("/apis/sluice.dev/v1alpha1"),
            "resources",
            "modelrollouts.sluice.dev/v1alpha1",
            "kubectl apply --server-side --force-conflicts -k manifests/crds",
        ),
        (gone("/api/v1/namespaces/sluice/configmaps/sluice-cluster"), "configuration", "is not there", "--environment NS"),
        (data(imag="x"), "configuration", "neither a variable", ""),
        (data(SLUICE_STORE=""), "configuration", "names no store", "patch configmap sluice-cluster"),
        (data(image="sluice/pipeline:0.1.0"), "image", "is a tag", "make kind-up"),
        (
            lacking({"verb": "create", "resource": "pipelineruns"}, ""),
            "your rights",
            "you may not create pipelineruns",
            "--resource=modelrollouts.sluice.dev",
        ),
        (
            lacking({"verb": "create", "resource": "modelrollouts"}, "kubeflow:pipeline-runner"),
            "rights of steps",
            "kubeflow/pipeline-runner may not create modelrollouts",
            "kubectl -n sluice create rolebinding sluice-steps-kubeflow --role=sluice-pipeline --serviceaccount=kubeflow:pipeline-runner",
        ),
        (
            gone("/api/v1/namespaces/kubeflow/serviceaccounts/pipeline-runner"),
            "rights of steps",
            "no service account pipeline-runner",
            "create serviceaccount pipeline-runner",
        ),
        (
            lacking({"resource": "httproutes"}, "sluice:sluice-controller"),
            "rights of the controller",
            "may not patch httproutes",
            "kubectl apply",
        ),
        (gone("/apis/apps/v1/namespaces/sluice/deployments/sluice-controller"), "controller", "no Deployment", "kubectl apply"),
        (
            lambda api: api.objects["/apis/apps/v1/namespaces/sluice/deployments/mlflow"].update(status={}),
            "MLflow",
            "none of 1 is available",
            "describe deployment/mlflow",
        ),
        (
            gone("/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/kserve-ingress-gateway"),
            "gateway",
            "no Gateway",
            "make platform",
        ),
        (
            gone("/apis/serving.kserve.io/v1alpha1/namespaces/sluice/servingruntimes/sluice"),
            "serving",
            "no ServingRuntime sluice",
            "kubectl apply",
        ),
        (
            lambda api: api.objects["/apis/networking.k8s.io/v1/namespaces/sluice/networkpolicies"]["items"].pop(),
            "policies",
            "lacks store",
            "kubectl apply",
        ),
        (
            lambda api: api.objects["/apis/networking.k8s.io/v1/namespaces/kubeflow/networkpolicies"]["items"].append(
                {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}
            ),
            "policies",
            "kubeflow denies by default",
            "manifests/runs",
        ),
        (
            gone("/api/v1/namespaces/kubeflow/secrets/store"),
            "store's keys",
            "no Secret store in namespace kubeflow",
            "create secret generic store --from-literal=accesskey=",
        ),
        (
            gone("/api/v1/namespaces/sluice/secrets/sluice-store"),
            "store's keys",
            "no Secret sluice-store in namespace sluice",
            'AWS_ACCESS_KEY_ID="$(kubectl -n kubeflow get secret store -o jsonpath={.data.accesskey} | base64 -d)"',
        ),
        (gone(f"{KFP}/healthz"), "Kubeflow Pipelines", "has no such thing", ""),
        (
            lambda api: api.objects.update({f"{KFP}/pipelines": {}}),
            "pipelines",
            "sluice-training, the pipeline for any project, is not there",
            "sluice upload",
        ),
        (
            unreached("store", "ConnectTimeoutError: x"),
            "from model servers",
            "store is not: ConnectTimeoutError",
            "NetworkPolicy store of namespace sluice",
        ),
        (unreached("MLflow", "TimeoutError: x"), "from steps", "MLflow is not", "NetworkPolicy mlflow"),
        (waiting("ErrImagePull"), "from steps", "ErrImagePull: not found", "PARTS='images sluice' make kind-up"),
        (waiting("CreateContainerError"), "from model servers", "CreateContainerError: not found", "get events"),
        (
            lambda api: pods(api, lambda job: {"phase": "Failed"}, lambda job: "Traceback: no python"),
            "from steps",
            "ended as Failed: Traceback: no python",
            "get events",
        ),
    ],
)
def test_each_thing_that_is_missing_is_named_with_what_mends_it(
    api: Api, capsys: pytest.CaptureFixture[str], change: Callable[[Api], None], check: str, said: str, fix: str
) -> None:
    change(api)
    code, faults, answer = doctor(capsys)
    assert code == 2
    mine = [f for f in faults if f["check"] == check]
    assert mine, answer
    assert any(said in f["said"] and fix in f["fix"] for f in mine), mine
    assert len({p.rpartition("/")[0] for p in api.deleted}) == len([p for p, _ in api.made if p.endswith("/jobs")]), "no pod is left"


def test_where_sluice_is_not_installed_that_is_the_one_thing_said_of_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    gone("/api/v1/namespaces/sluice/configmaps/sluice-cluster", "/api/v1/namespaces/sluice")(api)
    code, faults, answer = doctor(capsys)
    assert (code, [f["check"] for f in faults]) == (2, ["environment"]) and "--environment NS" in faults[0]["fix"]
    assert {"resources", "gateway", "Kubeflow Pipelines"} <= {f["check"] for f in answer["cluster"]} and not api.made


def test_what_may_not_be_asked_is_a_note(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("/api/v1/namespaces/kubeflow/secrets/store", "/api/v1/namespaces/sluice/secrets/sluice-store"):
        api.objects[path] = 403
    api.route = lambda method, path, body: (
        (403, {"message": "no"}) if method == "POST" and path.endswith(("/jobs", "/subjectaccessreviews")) else None
    )
    code, faults, answer = doctor(capsys)
    assert (code, faults) == (0, [])
    notes = {f["check"] for f in answer["cluster"] if f["state"] == "note"}
    assert {"rights of steps", "rights of the controller", "store's keys", "from steps", "from model servers"} <= notes


def test_without_a_cluster_it_looks_here_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, faults, answer = doctor(capsys, "--home", str(tmp_path / "h"))
    assert (code, faults) == (0, []) and answer["cluster"][0]["said"].startswith("no cluster is configured")
    (tmp_path / "file").write_text("")
    code, faults, _ = doctor(capsys, "--home", str(tmp_path / "file"), "--local")
    assert code == 2 and faults[0]["check"] == "home" and "--home DIR" in faults[0]["fix"]


def test_a_cluster_that_is_away_or_never_answers_is_told_in_time(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api.delay = 30
    begun = time.monotonic()
    code, faults, _ = doctor(capsys, "--timeout", "1")
    assert code == 2 and [f["check"] for f in faults] == ["cluster"] and time.monotonic() - begun < 10
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "http://127.0.0.1:9")))
    code, faults, _ = doctor(capsys, "--timeout", "1")
    assert code == 2 and "does not answer" in faults[0]["said"] and "kubectl cluster-info" in faults[0]["fix"]


def test_looks_go_side_by_side_and_none_is_waited_for_beyond_its_time() -> None:
    begun = time.monotonic()
    found = look(
        [
            Look("slow", lambda: time.sleep(30) or ok("slow", ""), 0.5),
            *(Look(str(i), lambda: time.sleep(0.3) or ok("quick", "x"), 5) for i in range(5)),
            Look("breaks", lambda: 1 // 0),
        ]
    )  # type: ignore[arg-type, return-value]
    assert time.monotonic() - begun < 3
    assert found[0] == Finding("slow", "fault", "no answer within 0.5 s", found[0].fix) and [f.state for f in found[1:6]] == ["ok"] * 5
    assert "ZeroDivisionError" in found[6].said


def test_what_a_pod_runs_asks_and_answers_within_its_time(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = json.loads(Path(tmp_path / "kubeconfig.json").read_text())["clusters"][0]["cluster"]["server"]
    asked = {
        "name": "x",
        "write": True,
        "questions": [
            ["there", "http", f"{server}/version"],
            ["not there", "http", f"{server}/nothing"],
            ["away", "http", "http://127.0.0.1:9/"],
            ["claim", "claim", str(tmp_path)],
            ["no claim", "claim", str(tmp_path / "none")],
            ["Kubernetes", "kubernetes", "/version"],
            ["store", "s3", "s3://bucket/x"],
        ],
    }
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    done = subprocess.run(
        [sys.executable, "-c", probes.SCRIPT, "6", json.dumps(asked)], capture_output=True, text=True, timeout=60, check=False
    )
    answers = json.loads(done.stdout.removeprefix("::doctor::"))
    assert [q for q, wrong in answers.items() if wrong is None] == ["there", "claim", "Kubernetes"], answers
    assert (
        "404" in answers["not there"] and "refused" in answers["away"] and "FileNotFoundError" in answers["no claim"] and answers["store"]
    )
    assert not list(tmp_path.glob(".doctor*"))
