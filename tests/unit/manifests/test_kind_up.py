"""`make kind-up`, the part `sluice`: what it applies with and without Kubeflow Pipelines, and that it prints what answers. Its tools note what they are asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SHA = "sha256:" + "a" * 64
DIGEST = f"docker.io/sluice/pipeline@{SHA}"
KUBECTL = r"""#!/bin/bash
echo "kubectl $*" >> "$NOTES/asked"
case "$*" in
  kustomize*) exec "$REAL" "$@" ;;
  *"get networkpolicy seaweedfs"*) [ -n "$GUARDED" ] ;;
  *"get service ml-pipeline-ui"*targetPort*) echo 3000 ;;
  *"get service ml-pipeline-ui-port"*) exit 1 ;;
  *"get service ml-pipeline"*) [ -n "$THERE" ] ;;
  *"get secret mlpipeline-minio-artifact"*) printf key | base64 ;;
  "apply --server-side --force-conflicts -f -") cat > "$NOTES/stdin" ;;
  "apply --server-side --force-conflicts -f "*) cp "${@: -1}" "$NOTES/applied.yaml" ;;
  *"create secret generic"*) exec "$REAL" "$@" ;;
  annotate*) exec "$REAL" "$@" ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    real = shutil.which("kubectl")
    if not real:
        pytest.skip("kubectl is not on PATH: it builds the overlay")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "kubectl": KUBECTL,
        "kind": "#!/bin/bash\n",
        "docker": f"#!/bin/bash\n[[ $* == *'images ls'* ]] && printf 'REF TYPE DIGEST\\n%s x {SHA}\\n' docker.io/sluice/pipeline:0.1.0\n[[ $1 == port && $3 != 30090/tcp ]] && echo 127.0.0.1:${{3%/tcp}}; [[ $1 == inspect ]] && printf 172.18.0.2; exit 0\n",
        "curl": "#!/bin/bash\n[[ $* == *:30500/* || ($* == *:30888/* && -n $THERE) ]] && printf 200 || printf 503\n",
        "sleep": "#!/bin/bash\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for name in ("GUARDED", "THERE", "LAB_DIR"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("REAL", real)
    monkeypatch.setenv("NOTES", str(tmp_path))
    return tmp_path


def kind_up(notes: Path) -> tuple[str, list[str], set[str]]:
    """What it printed, what it asked kubectl, and the kinds it applied of the overlay."""
    done = subprocess.run(
        ["make/kind-up"], cwd=ROOT, env={**os.environ, "PARTS": "sluice"}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    applied = [d for d in yaml.safe_load_all((notes / "applied.yaml").read_text()) if d]
    return done.stdout, (notes / "asked").read_text().splitlines(), {d["kind"] for d in applied}


def test_without_kubeflow_pipelines_nothing_of_it_is_applied_and_the_next_command_is_named(tools: Path) -> None:
    said, asked, kinds = kind_up(tools)
    assert "Deployment" in kinds and "Job" not in kinds
    assert not [a for a in asked if "manifests/runs" in a or "secret" in a]
    assert "KFP_MANIFEST=... make platform && PARTS=sluice make kind-up" in said
    assert "MLflow             http://127.0.0.1:30500/" in said
    assert "Prometheus         does not answer at http://172.18.0.2:30090/alerts (503): sluice doctor says why" in said


def test_with_it_the_runs_have_what_they_need_and_the_image_is_named_by_digest(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "1")
    said, asked, kinds = kind_up(tools)
    assert "Job" in kinds
    deleted, applied, waited = (
        next(i for i, a in enumerate(asked) if text in a) for text in ("delete job", "/now.yaml", "wait --for=condition=Complete")
    )
    assert deleted < applied < waited, "a Job cannot be changed: the old one goes first"
    assert any(f'patch configmap sluice-cluster --type merge -p {{"data": {{"image": "{DIGEST}"}}}}' in a for a in asked)
    assert [a for a in asked if "manifests/runs" in a] == ["kubectl apply --server-side --force-conflicts -k manifests/runs"]
    secret = yaml.safe_load((tools / "stdin").read_text())
    assert secret["metadata"]["name"] == "sluice-store" and set(secret["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert secret["metadata"]["annotations"]["serving.kserve.io/s3-endpoint"] == "minio-service.kubeflow:9000"
    assert any('nodePort": 30888' in a for a in asked) and any('{"data": {"ui": "http://127.0.0.1:30888"}}' in a for a in asked)
    for line in (
        "sluice submit examples/digits/sluice.yaml --wait",
        "kubectl apply -k manifests/examples",
        "Kubeflow Pipelines http://127.0.0.1:30888/",
    ):
        assert line in said, said


def test_a_guarded_store_is_opened_and_a_claim_takes_the_stores_place(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "1")
    monkeypatch.setenv("GUARDED", "1")
    monkeypatch.setenv("OVERLAY", "kind-claim")
    _, asked, kinds = kind_up(tools)
    assert [a.rpartition(" ")[2] for a in asked if "-k manifests/runs" in a] == [
        "manifests/runs",
        "manifests/runs/store",
        "manifests/runs/claim",
    ]
    assert "PersistentVolume" in kinds and not [a for a in asked if "create secret" in a]
