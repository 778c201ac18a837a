"""A real cluster with Sluice on it, as `make kind-up` leaves it; without one every test here skips and says why.

What tests make has names of its own, and what was there is put back: at the end the environment is compared with what it was.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMESPACE = os.environ.get("SLUICE_E2E_ENVIRONMENT", "sluice")
ROLLOUT = "digits-e2e"
HOST = f"{ROLLOUT}.example.com"
#: The pod through which this process of pytest's reaches the claim with the packages.
LOADER = "-".join(["sluice-e2e-loader", *filter(None, [os.environ.get("PYTEST_XDIST_WORKER")])])
GROUPS = {
    "test_access": "digits",
    "test_grpc": "digits",
    "test_registry": "digits",
    "test_loop": "test_kfp",
    # doctor's test takes a step's rights away for a while
    "test_roads": "test_kfp",
    "test_train_step": "test_kfp",
    "test_kfp_users": "digits",
    "test_monitoring": "digits",
    "test_serving": "digits",
    "test_prompts": "digits",
    "test_promotion_rights": "installations",
    "test_install": "installations",
    "test_upgrade": "installations",
}


#: How much longer than on an idle machine anything is waited for: what a test holds is that something comes, not when.
PATIENCE = 3


def missing() -> str | None:
    """Why these tests cannot run here, or None."""
    if not shutil.which("kubectl"):
        return "kubectl is not on PATH"
    done = subprocess.run(
        ["kubectl", "--request-timeout=5s", "-n", NAMESPACE, "get", "deployment", "sluice-controller"],
        capture_output=True,
        text=True,
        check=False,
    )
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
        item.add_marker(pytest.mark.timeout(PATIENCE * 900))
        if why:
            item.add_marker(pytest.mark.skip(reason=why))


def kubectl(*args: str, stdin: str | bytes | None = None, check: bool = True, namespace: str = NAMESPACE) -> str:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    patient = [re.sub(r"^--timeout=(\d+)s$", lambda m: f"--timeout={PATIENCE * int(m[1])}s", a) for a in args]
    for again in range(PATIENCE * 4, -1, -1):
        done = subprocess.run(["kubectl", "-n", namespace, *patient], input=data, capture_output=True, timeout=PATIENCE * 300, check=False)
        if b"Unable to connect to the server" not in done.stderr or not again:
            break
        time.sleep(5)
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout.decode()


def get(kind: str, *names: str, namespace: str = NAMESPACE) -> Any:
    return json.loads(kubectl("get", kind, *names, "-o", "json", namespace=namespace))


class Kube:
    """kubectl and what goes with it, for the tests."""

    namespace = NAMESPACE
    host, rollout, loader = HOST, ROLLOUT, LOADER
    run = staticmethod(kubectl)
    get = staticmethod(get)
    manifest = staticmethod(lambda digest: rollout_manifest(digest))
    forget = staticmethod(lambda name: forget(name))
    kept = staticmethod(lambda *objects, namespace=NAMESPACE: kept(*objects, namespace=namespace))
    wait = staticmethod(lambda ready, what, seconds=120: wait(ready, what, seconds))


@contextlib.contextmanager
def kept(*objects: tuple[str, str], namespace: str = NAMESPACE) -> Iterator[None]:
    """Objects by kind and name that a test changes or makes: afterwards they are as they were, or gone."""
    before = {o: kubectl("get", *o, "-o", "json", "--ignore-not-found", namespace=namespace).strip() for o in objects}
    try:
        yield
    finally:
        for (kind, name), text in before.items():
            if not text:
                kubectl("delete", kind, name, "--ignore-not-found", "--timeout=120s", namespace=namespace)
                continue
            found = json.loads(text)
            found["metadata"] = {
                k: v
                for k, v in found["metadata"].items()
                if k not in ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields")
            }
            there = kubectl("get", kind, name, "-o", "name", "--ignore-not-found", namespace=namespace).strip()
            text = json.dumps({k: v for k, v in found.items() if k != "status"})
            kubectl("replace" if there else "create", "-f", "-", stdin=text, namespace=namespace)


#: What a person's environment consists of; what KServe and Deployments make of it follows by itself.
_KINDS = (
    "secrets,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,resourcequotas,limitranges,services,persistentvolumeclaims,deployments,pods,"
    "servingruntimes,inferenceservices,httproutes,modelrollouts,pipelineruns,pipelineschedules,modelmonitors"
)


def inventory() -> dict[str, str]:
    """A digest of what each object of the environment asks for, by kind and name; of pods only those that nobody made."""
    found = {}
    for item in [*get(_KINDS)["items"], *(c for c in get("crd")["items"] if c["spec"]["group"] == "sluice.dev")]:
        meta = item["metadata"]
        if meta.get("ownerReferences") or meta.get("deletionTimestamp"):
            continue
        asks = [{k: v for k, v in item.items() if k not in ("metadata", "status")}, meta.get("labels")]
        if item["kind"] == "Deployment":
            asks = [item["spec"]["template"]["spec"]]
        found[f"{item['kind']}/{meta['name']}"] = hashlib.sha256(json.dumps(asks, sort_keys=True).encode()).hexdigest()
    return found


def pytest_sessionstart(session: pytest.Session) -> None:
    """Only in the process that starts the others."""
    if os.environ.get("SLUICE_E2E") and not hasattr(session.config, "workerinput") and missing() is None:
        session.config.stash[_BEFORE] = inventory()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    before = session.config.stash.get(_BEFORE, None)
    if before is None:
        return
    end = time.monotonic() + 90
    while (after := inventory()) != before and time.monotonic() < end:
        time.sleep(3)
    traces = [
        f"{what} {word}"
        for word, names in (
            ("is left behind", after.keys() - before.keys()),
            ("is gone", before.keys() - after.keys()),
            ("is not as it was", {k for k in before.keys() & after.keys() if before[k] != after[k]}),
        )
        for what in sorted(names)
    ]
    if traces:
        print(f"\nnamespace {NAMESPACE} is not as it was before these tests:\n  " + "\n  ".join(traces))
        session.exitstatus = exitstatus or 1


_BEFORE = pytest.StashKey[dict[str, str]]()


def wait(ready: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    end = time.monotonic() + PATIENCE * seconds
    while True:
        try:
            found = ready()
        except AssertionError:
            if time.monotonic() > end:
                raise
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not after {PATIENCE * seconds:g} s"
        time.sleep(2)


@pytest.fixture(scope="session")
def kube() -> Kube:
    return Kube()


@pytest.fixture(scope="session")
def loader() -> Iterator[Callable[..., str]]:
    """Runs a command beside the claim with the packages."""
    kubectl("delete", "pod", LOADER, "--ignore-not-found", "--timeout=60s")
    kubectl("apply", "-f", "-", stdin=(HERE / "loader.yaml").read_text().replace("$(NAME)", LOADER))
    kubectl("wait", "--for=condition=Ready", f"pod/{LOADER}", "--timeout=120s")
    yield lambda *command, stdin=None: kubectl("exec", *(["-i"] if stdin else []), LOADER, "--", *command, stdin=stdin)
    kubectl("delete", "pod", LOADER, "--timeout=60s")


@pytest.fixture(scope="session")
def packages(loader: Callable[..., str]) -> Iterator[list[str]]:
    """Digests of two digits packages, trained by `sluice run`, in the cluster's store. `$SLUICE_E2E_HOME` keeps them."""
    home = Path(os.environ.get("SLUICE_E2E_HOME") or ROOT / "build" / "e2e-home")
    patient = ["--set", "rollout.latency_slo_ms=20000"]  # the cluster shares this machine, and only the packages are wanted
    for epochs, width in ((2, 8), (4, 16)):
        more = [*patient, "--set", f"train.epochs={epochs}", "--set", f"model.width={width}"]
        if len(list(home.glob("store/sha256/*"))) < 2:
            done = subprocess.run(
                [sys.executable, "-m", "sluice", "run", str(ROOT / "examples/digits/sluice.yaml"), "--home", str(home), "--quiet", *more],
                capture_output=True,
                text=True,
                timeout=PATIENCE * 600,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    found = sorted((p for p in home.glob("store/sha256/*") if (p / "model.json").exists()), key=lambda p: p.stat().st_mtime)[:2]
    there = loader("sh", "-c", "ls /store/sha256 2>/dev/null || true").split()
    for package in found:
        if package.name not in there:
            tar = subprocess.run(
                ["tar", "-C", str(package.parents[1]), "-c", f"sha256/{package.name}"], capture_output=True, check=True
            ).stdout
            loader("tar", "-x", "--no-same-owner", "--no-same-permissions", "-C", "/store", stdin=tar)
    yield [p.name for p in found]
    brought = [p.name for p in found if p.name not in there]
    if brought:
        loader("sh", "-c", 'cd /store/sha256 && chmod -R u+w "$@" && rm -rf "$@"', "sh", *brought)


@pytest.fixture(scope="session")
def gateway() -> str:
    """The address requests go to."""
    return kubectl("get", "gateway", "kserve-ingress-gateway", "-o", "jsonpath={.status.addresses[0].value}", namespace="kserve")


def rollout_manifest(digest: str) -> str:
    """The example's ModelRollout under another name and host, at test pace."""
    import yaml

    found = yaml.safe_load((ROOT / "manifests/examples/digits.yaml").read_text().replace("DIGEST\n", f"{digest}\n"))
    found["metadata"]["name"], found["spec"]["traffic"]["hostname"] = ROLLOUT, HOST
    # Packages are in the claim, wherever this environment keeps its own.
    found["spec"]["model"]["uri"] = f"pvc://sluice-store/sha256/{digest}"
    # Nobody's champion is a test's.
    found["spec"]["registry"] = {"follow": False}
    found["spec"]["intervalSeconds"] = 1
    found["spec"]["strategy"] |= {
        "minimumRequests": 250,
        "troubleSeconds": 2,
        "settleSeconds": 3,
        "warmupSeconds": 1,
        "verifySeconds": 5,
        "readySeconds": PATIENCE * 120,
        "stepDeadlineSeconds": PATIENCE * 240,
        "keepSeconds": 5,
        "shadow": {"requests": 100},
    }
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


def forget(name: str = ROLLOUT) -> None:
    """No rollout of this name and nothing that it left serving."""
    kubectl("delete", "modelrollout", name, "--ignore-not-found", "--timeout=60s")
    kubectl("delete", "inferenceservice,httproute", "-l", f"sluice.dev/rollout={name}", "--timeout=60s")


@pytest.fixture(scope="module")
def served(packages: list[str]) -> Iterator[str]:
    """The first package, serving at 100 %: its digest. Anew for each file: some take the rollout away, or another package into it."""
    forget()
    kubectl("apply", "-f", "-", stdin=rollout_manifest(packages[0]))
    wait(lambda: get("modelrollout", ROLLOUT).get("status", {}).get("phase") == "Succeeded", "the first model", 240)
    yield packages[0]
    forget()
