"""Every `kubectl` and `helm` command of the documentation, run against the cluster.

What reads is run as it stands; what writes is run with `--dry-run=server`: the API server takes the whole request, and changes nothing. Names
that stand for something of the reader's are stood in for by objects in a namespace of their own, that no controller looks after.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import PATIENCE
from tests.unit.docs.test_commands import CHOICE, PAGES, REPO, blocks

SPACE = f"sluice-e2e-docs-{uuid.uuid4().hex[:6]}"
#: In a page, and here. Longer ones first.
STAND_INS = {
    "NAMESPACE": SPACE,
    "SECRET": "mine",
    "NODE": "",
    "RUN": "digits-1",
    "team-a": SPACE,
    "default-editor": "default",
    "NAME": "digits",
    "cancer": "digits",
    "intents": "digits",
}
READS = ("get", "describe", "logs", "top", "auth", "explain", "exec", "kustomize", "wait")
WRITES = ("apply", "create", "annotate", "label", "delete", "patch", "scale", "drain")
#: Kinds of what stands in for the reader's own, and what a command may ask of it.
KINDS = ("modelrollout", "mr", "modelmonitor", "pipelinerun", "pipelineschedule", "certificate", "secret")


def typed(text: str) -> list[str]:
    """Lines of code, and what stands between backquotes in running text, where more than the command's name is said."""
    lines = "\n".join(line.removeprefix("$ ") for line in blocks(text)).replace("\\\n", " ").splitlines()
    prose = re.findall(r"`((?:kubectl|helm) [^`]*)`", re.sub(r"(?ms)^ *(`{3,}).*?\1", "", text))
    # "or: helm install ..." in a remark, and "then: kubectl ..."
    found = [m[0] for line in (*lines, *prose) for m in re.finditer(r"(?:^|(?<=# or: ))(kubectl|helm) .*", line)]
    return [c for c in found if len(words(c)) > 2 and _whole(words(c)) and "..." not in c.split("  #")[0].replace("sha256:...", "")]


def _whole(argv: list[str]) -> bool:
    """`kubectl apply -k` in running text is the way, not a command."""
    return "apply" not in argv or any(w in ("-f", "-k") for w in argv[:-1])


def words(command: str) -> list[str]:
    """As a shell would split it, without what follows a pipe, a redirection or a remark."""
    command = re.sub(r"\$\([^)]*\)", "secret", CHOICE.sub(r"\1", command) if "{'" not in command and '{"' not in command else command)
    command = re.split(r"\s(?:#|> |\| )", command.split(", the dashboard")[0])[0].replace("sha256:...", "sha256:" + 64 * "a")
    return shlex.split(command)


def objects() -> list[dict[str, Any]]:
    """What the pages' commands name: a rollout, a monitor, a run, a schedule, a secret."""

    def made(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    digest = 64 * "a"
    rollout = yaml.safe_load((REPO / "manifests/examples/digits.yaml").read_text().replace("DIGEST\n", f"{digest}\n"))
    rollout["metadata"] = {"name": "digits"}
    monitor = next(o for o in yaml.safe_load_all((REPO / "manifests/examples/monitor.yaml").read_text()) if o["kind"] == "ModelMonitor")
    monitor["metadata"] = {"name": "digits"}
    return [
        rollout,
        monitor,
        made("PipelineRun", "digits-1", {"pipeline": {"name": "digits"}}),
        made("PipelineSchedule", "digits", {"schedule": "0 2 * * *", "pipeline": {"name": "digits"}}),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"a": "b"}},
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "digits"},
            "spec": {"secretName": "digits", "issuerRef": {"name": "nobody"}, "dnsNames": ["digits.example.com"]},
        },
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "sluice-rollout"}},
    ]


@pytest.fixture(scope="module")
def space(kube: Any) -> Iterator[str]:
    """A namespace with the reader's objects, and a release by the name the pages give it."""
    kube.run("create", "namespace", SPACE)
    try:
        kube.run("apply", "-f", "-", stdin=yaml.safe_dump_all(objects()), namespace=SPACE)
        yield SPACE
    finally:
        kube.run("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(scope="module")
def release(space: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two revisions of a release named sluice, of next to nothing: what is installed for good is test_install's."""
    chart = tmp_path_factory.mktemp("chart")
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: sluice\nversion: 0.0.1\n")
    (chart / "templates").mkdir()
    (chart / "templates/it.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: release}\n")
    for verb in ("install", "upgrade"):
        done = run(["helm", verb, "sluice", str(chart), "-n", space])
        assert done.returncode == 0, done.stderr
    return space


def run(argv: list[str], folder: Path = REPO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE * 180,
        check=False,
        cwd=folder,
        env=os.environ | {"KUBE_EDITOR": "true", "EDITOR": "true"},
    )


def here(kube: Any, argv: list[str], folder: Path) -> list[str]:
    """The command with its names stood in for; what it writes, only asked."""
    node = kube.run("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}") if "NODE" in argv else ""
    named = any(w.split("/")[0].removesuffix("s") in KINDS for w in argv)
    out = [{**STAND_INS, "NODE": node}.get(w, re.sub(r"\bNAME\b", "digits", w)) for w in argv if w not in ("-w", "--watch")]
    if argv[0] == "helm":
        return _helm(out)
    verb = next((w for w in out[1:] if w in (*READS, *WRITES, "edit", "rollout")), "")
    for i, word in enumerate(out[:-1]):
        if word == "-n" and out[i + 1] in ("sluice", SPACE):
            out[i + 1] = SPACE if named or verb == "create" else kube.namespace
    if "-n" not in out and (named or verb in ("create", "edit")):
        out[1:1] = ["-n", SPACE]
    if verb == "edit":
        return [*out, "mlflow", "-n", kube.namespace]
    if verb == "rollout":  # `restart` has no dry run
        return [kube_word.replace("restart", "history") for kube_word in out]
    for i, word in enumerate(out):  # files of the reader's
        if word.startswith("--from-file=") or (word == "-f" and not (REPO / out[i + 1]).exists()):
            name, path = (word, out[i + 1]) if word == "-f" else word.rsplit("=", 1)
            mine = folder / Path(path).name
            mine.write_text(yaml.safe_dump(objects()[2]))
            out[i : i + (2 if word == "-f" else 1)] = ["-f", str(mine)] if word == "-f" else [f"{name}={mine}"]
    if verb == "drain":
        out.append("--force")  # other tests' pods
    if verb in WRITES and "token" not in out:
        out.insert(out.index("--") if "--" in out else len(out), "--dry-run=server")
    return out


def _helm(out: list[str]) -> list[str]:
    for i, word in enumerate(out[:-1]):
        if word == "-n":
            out[i + 1] = SPACE
    verb = out[1]
    beside = "crds.install=false,priorityClasses.create=false,monitoring.cluster=false,adopt=true"  # kustomize's is there
    if verb == "install":
        out[2] = f"{out[2]}-docs"  # beside the release that is there
    if verb in ("install", "upgrade"):
        out += ["--set", beside]
    return [*out, "--dry-run" if verb in ("rollback", "uninstall") else "--dry-run=server"]


def lines() -> list[Any]:
    found = [(page.relative_to(REPO).as_posix(), c) for page in PAGES for c in dict.fromkeys(typed(page.read_text()))]
    return [pytest.param(page, c, id=f"{page}: {c[:60]}") for page, c in found]


@pytest.mark.parametrize(("page", "command"), [p for p in lines() if p.values[1].startswith("kubectl")])
def test_kubectl_takes_it(kube: Any, space: str, tmp_path: Path, page: str, command: str) -> None:
    argv = here(kube, words(command), tmp_path)
    done = run(argv)
    assert done.returncode == 0, f"{page}: {command}\nrun as: {shlex.join(argv)}\n{done.stderr[-1500:]}"


@pytest.mark.parametrize(("page", "command"), [p for p in lines() if p.values[1].startswith("helm")])
def test_helm_takes_it(kube: Any, release: str, tmp_path: Path, page: str, command: str) -> None:
    if not shutil.which("helm"):
        pytest.skip("helm is not on PATH")
    argv = words(command)
    if argv[1] == "test":
        assert argv[2:] == ["sluice", "-n", "sluice"], "as test_install runs it on a whole release"
        return
    done = run(here(kube, argv, tmp_path))
    assert done.returncode == 0, f"{page}: {command}\n{done.stderr[-1500:]}"


def test_what_is_found_is_what_a_reader_types() -> None:
    text = "\n    kubectl -n sluice get mr -w   # c\n    x # or: helm install a b\n\n`kubectl apply` says `kubectl edit pvc`, or `helm test sluice -n sluice`\n"
    assert typed(text) == ["kubectl -n sluice get mr -w   # c", "helm install a b", "kubectl edit pvc", "helm test sluice -n sluice"]
    assert words("kubectl a b > c  # d") == ["kubectl", "a", "b"]
    assert len(lines()) > 60 and json.dumps(len(lines()))
