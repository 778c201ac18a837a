"""`sluice-cluster`: what a cluster says of itself, a project's own section over it, and everything that is missing told at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sluice.cli import main
from sluice.core.errors import ProjectError
from sluice.kfp import needs, site
from sluice.kfp.config import ClusterConfig
from sluice.kfp.site import Site, Told
from sluice.project import parse
from tests.unit.cluster.kubernetes_api import Api, kubeconfig, serving

IMAGE = "registry.example/sluice/pipeline@sha256:" + "a" * 64
OTHER = "registry.example/sluice/pipeline@sha256:" + "b" * 64
SECRET = "[{name: store, env: {accesskey: AWS_ACCESS_KEY_ID, secretkey: AWS_SECRET_ACCESS_KEY}}]"
DATA = {
    "image": IMAGE,
    "MLFLOW_TRACKING_URI": "http://mlflow.sluice:5000",
    "SLUICE_STORE": "s3://models/sluice",
    "SLUICE_NAMESPACE": "sluice",
    "AWS_ENDPOINT_URL_S3": "http://minio-service.kubeflow:9000",
    "AWS_REGION": "minio",
    "cluster": f"{{service_account: pipeline-runner, defaults: {{secrets: {SECRET}, resources: {{requests: {{cpu: 10m}}}}}}, steps: {{train: {{timeout: 3h}}}}}}",
}
RAW = {"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8]}}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for name in ("SLUICE_PIPELINE_IMAGE", "SLUICE_NAMESPACE", "SLUICE_KFP_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Api]:
    found = Api()
    for name in ("store", "mlpipeline-minio-artifact"):
        found.objects[f"/api/v1/namespaces/kubeflow/secrets/{name}"] = {"metadata": {"name": name}}
    found.objects["/api/v1/namespaces/kubeflow/serviceaccounts/pipeline-runner"] = {"metadata": {"name": "pipeline-runner"}}
    with serving(found, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield found


def project(cluster: str = "{}", **more: Any) -> Any:
    return parse({**RAW, "cluster": yaml.safe_load(cluster), **more})


def over(cluster: str) -> ClusterConfig:
    return Site.parse("sluice", DATA).under(ClusterConfig.model_validate(yaml.safe_load(cluster)))


def test_the_report_has_neither_secrets_nor_resources_of_any_step_and_knows_the_page() -> None:
    for own in ("{}", "{steps: {report: {env: {X: '1'}}}}"):
        found = (
            Site.parse("sluice", {**DATA, "ui": "https://kubeflow.example/pipeline"})
            .under(ClusterConfig.model_validate(yaml.safe_load(own)))
            .of("report")
        )
        assert found.secrets == [] and found.volumes == [] and found.resources.requests.cpu == "50m"
        assert (
            found.env["KF_PIPELINES_UI_ENDPOINT"] == "https://kubeflow.example/pipeline"
            and found.env["SLUICE_STORE"] == "s3://models/sluice"
        )
    assert found.env["X"] == "1"


def test_a_projects_own_key_goes_before_the_clusters_before_the_bounds() -> None:
    found = over(
        "{defaults: {env: {SLUICE_STORE: 's3://mine/x'}, resources: {requests: {memory: 1Gi}}}, steps: {train: {resources: {limits: {cpu: 8}}}}}"
    )
    train, register = found.of("train"), found.of("register")
    assert found.service_account == "pipeline-runner"
    assert train.env["SLUICE_STORE"] == register.env["SLUICE_STORE"] == "s3://mine/x" and train.env["AWS_REGION"] == "minio"
    assert (register.resources.requests.cpu, register.resources.requests.memory, register.resources.limits.memory) == ("10m", "1Gi", "2Gi")
    assert (train.timeout, train.resources.limits.cpu, register.timeout) == ("3h", "8", "2h")
    assert over("{defaults: {timeout: 5h}}").of("train").timeout == "5h", (
        "what the project says of every step goes before what the cluster says of one"
    )
    assert over("{service_account: mine}").service_account == "mine"


def test_a_projects_secrets_stand_beside_the_clusters_and_take_their_variables() -> None:
    found = over("{defaults: {secrets: [{name: hub, env: {token: HF_TOKEN}}]}}").of("train")
    assert [s.name for s in found.secrets] == ["store", "hub"]
    found = over("{steps: {train: {secrets: [{name: hub, env: {token: HF_TOKEN}}]}}}").of("train")
    assert [s.name for s in found.secrets] == ["store", "hub"], "said of one step too"
    own = over("{defaults: {secrets: [{name: mine, env: {id: AWS_ACCESS_KEY_ID}}], env: {AWS_SECRET_ACCESS_KEY: x}}}").of("train")
    assert [s.name for s in own.secrets] == ["mine"] and own.env["AWS_SECRET_ACCESS_KEY"] == "x"
    assert "AWS_REGION" not in over("{defaults: {secrets: [{name: mine, env: {region: AWS_REGION}}]}}").of("train").env
    again = over("{defaults: {secrets: [{name: store, mount: /keys}]}}").of("train")
    assert [(s.name, s.mount) for s in again.secrets] == [("store", "/keys")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"imag": IMAGE}, "neither a variable of the steps"),
        ({"cluster": "[1]"}, "is no mapping"),
        ({"cluster": "{defaults: {timeout: soon}}"}, "is no duration"),
        ({"cluster": "{steps: {trian: {}}}"}, "did you mean 'train'"),
        ({"KFP_X": "1"}, "the platform's own"),
    ],
)
def test_a_wrong_configmap_is_named_with_its_key(data: dict[str, str], said: str) -> None:
    with pytest.raises(ProjectError, match=said) as e:
        Site.parse("sluice", data)
    assert "ConfigMap sluice/sluice-cluster" in str(e.value.field)


def test_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(ProjectError) as e:
        needs.prepare(project(), Told(why="no cluster is configured"))
    said = str(e.value)
    assert "4 things" in said and e.value.exit_code == 2
    for line in (
        "--image REGISTRY",
        "MLFLOW_TRACKING_URI: http://mlflow.sluice:5000",
        "SLUICE_STORE: s3://bucket/prefix",
        "SLUICE_NAMESPACE: sluice",
        "no cluster is configured",
    ):
        assert line in said, line


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (
            "{defaults: {env: {AWS_ENDPOINT_URL_S3: 'http://s3', SLUICE_STORE: 's3://b/p'}}}",
            "give the steps no AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        ),
        ("{defaults: {env: {SLUICE_STORE: 'pvc://sluice-store'}}}", "volumes: [{claim: sluice-store, mount: /store}]"),
        ("{defaults: {env: {SLUICE_STORE: /store}}}", "names no store"),
        ("{defaults: {env: {SLUICE_HOME: /home/me}}}", "is on no volume"),
        ("{steps: {rollout: {env: {SLUICE_STORE: 'file:///x'}}}, defaults: {env: {SLUICE_STORE: 's3://b/p'}}}", "(steps rollout)"),
    ],
)
def test_each_lack_says_the_line_that_mends_it(cluster: str, said: str) -> None:
    with pytest.raises(ProjectError) as e:
        needs.prepare(project(cluster), Told(why=""), image=IMAGE)
    assert said in str(e.value)


def test_a_project_that_says_everything_needs_no_cluster() -> None:
    env = "env: {MLFLOW_TRACKING_URI: 'http://m:5000', SLUICE_NAMESPACE: sluice"
    for store in (
        "SLUICE_STORE: 's3://b/p'}",
        "SLUICE_STORE: 'pvc://c/x'}, volumes: [{claim: c, mount: /store}]",
        "X: y}, secrets: [{name: s, env: {u: SLUICE_STORE}}]",
    ):
        assert needs.prepare(project(f"{{defaults: {{{env}, {store}}}}}"), Told(why="away"), image=IMAGE).image == IMAGE
    assert needs.prepare(project("{}", name="d" * 45), Told(), image=IMAGE, unchecked=True).missing[-1].field == "name"


def run(*args: str, folder: Path) -> int:
    path = folder / "sluice.yaml"
    if not path.exists():
        path.write_text(yaml.safe_dump(RAW))
    return main(["compile", str(path), "-o", str(folder / "p.yaml"), "--json", *args])


def test_compile_takes_image_store_and_secret_from_the_cluster(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.config_map("sluice", "sluice-cluster", **DATA)
    assert run(folder=tmp_path) == 0
    assert "ConfigMap sluice/sluice-cluster (context here)" in capsys.readouterr().err
    spec, platform = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    train = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert train["image"] == IMAGE and {"name": "SLUICE_STORE", "value": "s3://models/sluice"} in train["env"]
    keys = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]["secretAsEnv"][0]
    assert keys["secretName"] == "store"
    assert run("--image", OTHER, folder=tmp_path) == 0
    assert OTHER in (tmp_path / "p.yaml").read_text(), "what is given goes before the cluster's"


def test_what_the_cluster_does_not_hold_is_told_with_the_rest(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.config_map("sluice", "sluice-cluster", **{**DATA, "image": "sluice/pipeline:0.1.0", "SLUICE_STORE": ""})
    del api.objects["/api/v1/namespaces/kubeflow/secrets/store"], api.objects["/api/v1/namespaces/kubeflow/serviceaccounts/pipeline-runner"]
    assert run(folder=tmp_path) == 2
    said = orjson.loads(capsys.readouterr().out)["message"]
    assert "4 things" in said
    for part in (
        "is a tag",
        "Secret kubeflow/store: is not there\n      kubectl -n kubeflow create secret generic store --from-literal=accesskey=...",
        "service account kubeflow/pipeline-runner: is not there",
        'patch configmap sluice-cluster --type merge -p \'{"data": {"SLUICE_STORE"',
    ):
        assert part in said, part


def test_what_may_not_be_looked_up_is_not_missed(api: Api, tmp_path: Path) -> None:
    api.config_map("sluice", "sluice-cluster", **DATA)
    api.objects["/api/v1/namespaces/kubeflow/secrets/store"] = 403
    assert run(folder=tmp_path) == 0


def test_another_environment_is_asked_where_it_is_named(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.config_map("team", "sluice-cluster", **DATA)
    assert run(folder=tmp_path) == 2
    assert (
        "there is no ConfigMap sluice-cluster in namespace sluice (context here); name Sluice's: --environment NS"
        in capsys.readouterr().err
    )
    assert run("--environment", "team", folder=tmp_path) == 0


def test_a_cluster_that_is_away_is_said_and_offline_asks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "http://127.0.0.1:9")))
    assert run(folder=tmp_path) == 2
    assert "the API server does not answer" in capsys.readouterr().err
    monkeypatch.setattr(site, "Kube", None)
    assert run("--offline", folder=tmp_path) == 2
    assert "--offline: no cluster was asked" in capsys.readouterr().err
    assert run("--offline", "--unchecked", "--image", IMAGE, folder=tmp_path) == 0
    assert "note: cluster.defaults.env.SLUICE_STORE" in capsys.readouterr().err


def kfp(api: Api) -> list[tuple[str, str]]:
    """Kubeflow Pipelines behind the API server's proxy, with nothing in it; gives the versions put there: (name, IR)."""
    root, put = "/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy/apis/v2beta1", []

    def route(method: str, path: str, body: Any) -> tuple[int, Any] | None:
        if not path.startswith(root):
            return None
        what = path.removeprefix(root)
        if method == "POST" and what == "/pipelines":
            return 200, {"pipeline_id": body["name"]}
        if method == "POST" and what == "/pipelines/upload_version":
            put.append((str(body).partition('filename="')[2].partition(".yaml")[0], str(body)))
            return 200, {"pipeline_version_id": "v"}
        return 200, {}

    api.route = route
    return put


def test_upload_puts_the_pipeline_for_any_project_there_as_the_cluster_names_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.config_map("sluice", "sluice-cluster", pipeline="sluice-training", **DATA)
    put = kfp(api)
    assert main(["upload", "--json"]) == 0
    made = orjson.loads(capsys.readouterr().out)
    assert made == {"pipeline": "sluice-training", "version": put[0][0], "reused": False}
    assert made["version"].startswith("sluice-training-") and IMAGE in put[0][1] and "s3://models/sluice" in put[0][1]
