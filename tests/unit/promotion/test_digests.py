"""One digest of a file changed, and nothing else: Helm values, kustomize, ModelRollouts."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from sluice.core.errors import ProjectError
from sluice.promotion.digests import edit

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64

ROLLOUT = f"""# what serves
apiVersion: sluice.dev/v1alpha1
kind: ModelRollout
metadata: {{name: digits}}   # the model
spec:
  model:
    name:   digits
    uri: "s3://bucket/p/sha256/{OLD}"  # the address
    digest: 'sha256:{OLD}' # {OLD} since Monday
  traffic: {{backend: Gateway}}
"""
VALUES = f"""images:
  runtime: {{repository: sluice/runtime, tag: "1", digest: "sha256:{OTHER}"}}
models:
  digits:
    digest: {OLD}
  intents: {{digest: sha256:{OTHER}}}
"""
KUSTOMIZE = f"""images:
- {{name: sluice/runtime, digest: sha256:{OTHER}}}
patches:
- target: {{kind: ModelRollout, name: digits}}
  patch: |-
    - {{op: replace, path: /spec/model/digest, value: {OLD}}}
    - op: replace
      path: /spec/model/uri
      value: pvc://claim/sha256/{OLD}
- target: {{kind: ModelRollout, name: intents}}
  patch: |
    - {{op: replace, path: /spec/model/digest, value: {OTHER}}}
"""


def lines_of(path: Path, text: str, **asked: str) -> tuple[list[tuple[str, str]], str]:
    """The lines that differ, and the key."""
    path.write_bytes(text.encode())
    made = edit(path, "digits", NEW, **asked)
    made.write()
    after = path.read_bytes().decode()
    assert after == made.after and len(after) == len(text)
    return [(a, b) for a, b in zip(text.splitlines(), after.splitlines(), strict=True) if a != b], made.key


@pytest.mark.parametrize(("before", "more"), [(OLD, ""), ("f" * 64, ""), (OLD, "\r")])
def test_a_rollouts_digest_changes_and_its_address_with_it(tmp_path: Path, before: str, more: str) -> None:
    found, key = lines_of(tmp_path / "r.yaml", ROLLOUT.replace("\n", more + "\n"), before=before)
    assert key == "spec.model.digest"
    assert [b for _, b in found] == [
        f'    uri: "s3://bucket/p/sha256/{NEW}"  # the address',
        f"    digest: 'sha256:{NEW}' # {OLD} since Monday",  # a comment says what it said
    ]


def test_values_of_a_chart(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "v.yaml", VALUES) == ([(f"    digest: {OLD}", f"    digest: {NEW}")], "models.digits.digest")


def test_patches_inside_a_kustomization(tmp_path: Path) -> None:
    found, key = lines_of(tmp_path / "k.yaml", KUSTOMIZE)
    assert key == "patches[0].patch[0].value" and [b.strip() for _, b in found] == [
        f"- {{op: replace, path: /spec/model/digest, value: {NEW}}}",
        f"value: pvc://claim/sha256/{NEW}",
    ]


def test_one_of_many_documents(tmp_path: Path) -> None:
    text = f"---\n{ROLLOUT.replace('digits', 'intents').replace(OLD, OTHER)}---\n{ROLLOUT}...\n"
    found, key = lines_of(tmp_path / "m.yaml", text)
    assert key == "[1].spec.model.digest" and len(found) == 2


def test_where_more_are_meant_a_key_says_which(tmp_path: Path) -> None:
    text = f"eu: {{digits: {{digest: {OLD}}}}}\nus: {{digits: {{digest: {OLD}}}}}\n"
    path = tmp_path / "two.yaml"
    path.write_text(text)
    with pytest.raises(ProjectError, match=r"--key, one of: eu.digits.digest, us.digits.digest"):
        edit(path, "digits", NEW)
    assert lines_of(path, text, key="us.digits.digest")[0][0][1].startswith("us")
    with pytest.raises(ProjectError, match="holds no digest in this file"):
        edit(path, "digits", NEW, key="asia.digest")


@pytest.mark.parametrize("text", ["a: 1\n", "", f"runtime: {{repository: x, digest: {OLD}}}\n", "a: [\n", f"d: ! 'sha256:{OLD[:-1]}'\n"])
def test_a_file_without_one_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "none.yaml"
    path.write_text(text)
    with pytest.raises(ProjectError):
        edit(path, "digits", NEW)
    assert path.read_text() == text


def test_the_diff_is_what_git_applies(tmp_path: Path) -> None:
    path = tmp_path / "deploy" / "r.yaml"
    path.parent.mkdir()
    path.write_text(ROLLOUT.rstrip("\n"))
    made = edit(path, "digits", NEW, before=OLD)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    name = path.as_posix().lstrip("/")
    patch = made.diff().replace(name, "deploy/r.yaml")
    subprocess.run(["git", "apply"], cwd=tmp_path, input=patch.encode(), check=True)
    assert path.read_text() == made.after
    assert edit(path, "digits", NEW).diff() == ""


def test_any_file_keeps_every_other_byte(tmp_path: Path) -> None:
    """Random layouts of the same values: quotes, flow or block, comments, indentation, unknown characters."""
    pick = random.Random(18)
    for i in range(60):
        quote = pick.choice(["", "'", '"'])
        value = f"{quote}{pick.choice(['', 'sha256:'])}{OLD}{quote}"
        pad = " " * pick.randint(1, 4)
        noise = pick.choice(["# ünïcode 😀\n", "\n\n", f"# {OLD}\n", "x: &anchor {y: 1}\nz: *anchor\n"])
        body = pick.choice(
            [
                f"digits:\n{pad}digest: {value}{pad}# it\n",
                f"digits: {{a: [1, 2],{pad}digest: {value} }}\n",
                f"digits:\n{pad}- digest: {value}\n",
            ]
        )
        text = noise + body + pick.choice(["", "tail: |\n  text\n", "# end"])
        path = tmp_path / f"{i}.yaml"
        path.write_text(text)
        made = edit(path, "digits", NEW)
        at = text.index(OLD, text.index("digits"))
        assert made.after == text[:at] + NEW + text[at + 64 :]
