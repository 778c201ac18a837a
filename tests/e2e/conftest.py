"""A real cluster with Sluice on it, as `make kind-up` leaves it; without one every test here skips and says why."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMESPACE = os.environ.get("SLUICE_E2E_ENVIRONMENT", "sluice")
HOST = "digits.example.com"
GROUPS = {"test_access": "digits", "test_kfp_users": "digits", "test_monitoring": "digits", "test_serving": "digits", "test_install": "installations", "test_upgrade": "installations"}


def missing() -> str | None:
    """Why these tests cannot run here, or None."""
    if not shutil.which("kubectl"):
        return "kubectl is not on PATH"
    done = subprocess.run(["kubectl", "--request-timeout=5s", "-n", NAMESPACE, "get", "deployment", "sluice-controller"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    return None if done.returncode == 0 else f"no cluster with Sluice on it: {done.stderr.strip()[:200]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files that share something on the cluster run one after the other, in one of pytest's processes; other folders' tests where there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.partition("::")[0])
            return GROUPS.get(file.stem, file.stem) if file.parent.name == HERE.name else nodeid

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [i for i in items if HERE in Path(i.path).parents]
    why = missing() if mine else None
    for item in mine:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(900))
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


def kubectl(*args: str, stdin: str | bytes | None = None, check: bool = True, namespace: str = NAMESPACE) -> str:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(["kubectl", "-n", namespace, *args], input=data, capture_output=True, timeout=300, check=False)
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout.decode()


def get(kind: str, *names: str, namespace: str = NAMESPACE) -> Any:
    return json.loads(kubectl("get", kind, *names, "-o", "json", namespace=namespace))


class Kube:
    """kubectl and what goes with it, for the tests."""

    namespace = NAMESPACE
    host = HOST
    run = staticmethod(kubectl)
    get = staticmethod(get)
    manifest = staticmethod(lambda digest: rollout_manifest(digest))
    wait = staticmethod(lambda ready, what, seconds=120: wait(ready, what, seconds))


def wait(ready: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while True:
        try:
            found = ready()
        except AssertionError:
            if time.monotonic() > end:
                raise
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not after {seconds:g} s"
        time.sleep(2)


@pytest.fixture(scope="session")
def kube() -> Kube:
    return Kube()


@pytest.fixture(scope="session")
def packages() -> list[str]:
    """Digests of two digits packages, trained by `sluice run`, in the cluster's store. `$SLUICE_E2E_HOME` keeps them."""
    home = Path(os.environ.get("SLUICE_E2E_HOME") or ROOT / "build" / "e2e-home")
    patient = ["--set", "rollout.latency_slo_ms=20000"]  # the cluster shares this machine, and only the packages are wanted
    for more in ([*patient, "--set", "train.epochs=2", "--set", "model.width=8"], patient):
        if len(list(home.glob("store/sha256/*"))) < 2:
            done = subprocess.run([sys.executable, "-m", "sluice", "run", str(ROOT / "examples/digits/sluice.yaml"), "--home", str(home), "--quiet", *more],
                                  capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
            assert done.returncode == 0, done.stderr
    found = sorted((p for p in home.glob("store/sha256/*") if (p / "model.json").exists()), key=lambda p: p.stat().st_mtime)[:2]
    kubectl("apply", "-f", str(HERE / "loader.yaml"))
    kubectl("wait", "--for=condition=Ready", "pod/store-loader", "--timeout=120s")
    there = kubectl("exec", "store-loader", "--", "sh", "-c", "ls /store/sha256 2>/dev/null || true").split()
    for package in found:
        if package.name not in there:
            tar = subprocess.run(
                ["tar", "-C", str(package.parents[1]), "-c", f"sha256/{package.name}"], capture_output=True, check=True
            ).stdout
            kubectl("exec", "-i", "store-loader", "--", "tar", "-x", "--no-same-owner", "--no-same-permissions", "-C", "/store", stdin=tar)
    return [p.name for p in found]


@pytest.fixture(scope="session")
def gateway() -> str:
    """The address requests go to."""
    return kubectl("get", "gateway", "kserve-ingress-gateway", "-o", "jsonpath={.status.addresses[0].value}", namespace="kserve")


def rollout_manifest(digest: str) -> str:
    """The example's ModelRollout, at test pace."""
    import yaml

    found = yaml.safe_load((ROOT / "manifests/examples/digits.yaml").read_text().replace("DIGEST\n", f"{digest}\n"))
    found["spec"]["intervalSeconds"] = 1
    found["spec"]["strategy"] |= {"minimumRequests": 250, "settleSeconds": 3, "warmupSeconds": 1, "verifySeconds": 5, "readySeconds": 120,
                                  "stepDeadlineSeconds": 240, "keepSeconds": 5, "shadow": {"requests": 100}}  # fmt: skip
    return json.dumps(found)


@pytest.fixture(scope="session")
def request_body() -> bytes:
    """One V1 request: the image of a nought."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    out = io.BytesIO()
    Image.fromarray((load_digits().images[0] * 255 / 16).astype(np.uint8)).save(out, "PNG")
    return json.dumps({"instances": [{"b64": base64.b64encode(out.getvalue()).decode()}]}).encode()


@pytest.fixture(scope="session")
def served(packages: list[str]) -> str:
    """The first package, serving at 100 %: its digest."""
    state = get("modelrollout", "--ignore-not-found", "digits") if kubectl("get", "modelrollout", "digits", "--ignore-not-found") else None
    if state and state.get("status", {}).get("stable"):
        kubectl("delete", "modelrollout", "digits", "--timeout=60s")
        kubectl("delete", "inferenceservice,httproute", "-l", "sluice.dev/rollout=digits", "--timeout=60s")
    kubectl("apply", "-f", "-", stdin=rollout_manifest(packages[0]))
    wait(lambda: get("modelrollout", "digits").get("status", {}).get("phase") == "Succeeded", "the first model", 240)
    return packages[0]
