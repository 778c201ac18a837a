"""One digest of a YAML file changed, and every other byte as it was: what a pull request is made of."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.yamlfile import MOST_YAML, Loader

_DIGEST, _ADDRESS = re.compile(r"(sha256:)?([0-9a-f]{64})"), re.compile(r"(.*[/:])([0-9a-f]{64})/?")
#: Keys beside a digest that say it is an image's.
_IMAGE = {"repository", "tag", "newName", "newTag"}
#: How deep a text inside the file may be YAML itself, as a kustomize patch is.
_INSIDE = 2


@dataclasses.dataclass(frozen=True)
class Place:
    """A digest in a file.

    Attributes:
        key: its path. start, end: of its 64 digits in the text. digest: hex. near: names that stand around it.
        address: it is the end of a package's address (``.../sha256/<digest>``), not a value of its own.
    """

    key: str
    start: int
    end: int
    digest: str
    near: frozenset[str]
    address: bool = False


@dataclasses.dataclass(frozen=True)
class Edit:
    """A change that is not made yet.

    Attributes:
        path: of the file. before, after: its text. key: of the digest.
    """

    path: Path
    before: str
    after: str
    key: str

    def diff(self) -> str:
        """As ``git apply`` reads it; empty where the digest is there already."""
        name = self.path.as_posix().lstrip("/")
        lines = difflib.unified_diff(self.before.splitlines(True), self.after.splitlines(True), f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)

    def write(self) -> None:
        """Make it. Raises `ProjectError` where the file was changed meanwhile, or cannot be written."""
        try:
            if self.path.read_bytes().decode() != self.before:
                raise ProjectError("was changed meanwhile", field=str(self.path), fix="ask again")
            files.write_bytes(self.path, self.after.encode())
        except OSError as e:
            raise ProjectError(f"cannot be written: {e.strerror}", field=str(self.path), fix="--patch FILE shows the change alone") from e


def edit(path: Path, model: str, digest: str, *, before: str | None = None, key: str | None = None) -> Edit:
    """The change of a model's digest in a file: Helm values, a kustomization, a ModelRollout, or any other YAML that holds it.

    Which digest is meant: the one at `key`; else the only one that is the environment's champion's (`before`); else the only one in a
    ModelRollout of the model's name, or below a key of that name; else the only one of a package there is.

    Raises:
        ProjectError: the file cannot be read, or holds no digest that is meant, or more than one.
    """
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as e:
        raise ProjectError(f"cannot be read: {e}", field=str(path), fix="a YAML file in UTF-8") from e
    if len(text) > MOST_YAML:
        raise ProjectError(
            f"has {len(text):,} characters, at most {MOST_YAML:,} are read", field=str(path), fix="keep the model's part apart"
        )
    found = list(_places(text, str(path)))
    places = [p for p in found if not p.address]
    chosen = _chosen(places, path, model, digest, before, key)
    # An address that ends in the digest names it again: the one beside it, or, in another patch, the only ones there are.
    parent = chosen.key.rpartition(".")[0]
    named = [p for p in found if p.address and p.digest == chosen.digest]
    beside = [p for p in named if p.key.rpartition(".")[0] == parent]
    alone = sum(p.digest == chosen.digest for p in places) == 1
    spans = [(p.start, p.end) for p in (chosen, *(beside or (named if alone else [])))]
    out = text
    for start, end in sorted(spans, reverse=True):
        out = out[:start] + digest + out[end:]
    return Edit(path, text, out, chosen.key)


def _chosen(places: Sequence[Place], path: Path, model: str, digest: str, before: str | None, key: str | None) -> Place:
    there = ", ".join(p.key for p in places) or "none"
    if key is not None:
        found = [p for p in places if p.key == key]
        if len(found) != 1:
            raise ProjectError("holds no digest in this file", field="--key", value=key, fix=f"digests stand at: {there}")
        return found[0]
    for some in (
        [p for p in places if p.digest == before],
        [p for p in places if p.digest == digest],
        [p for p in places if model in p.near],
        list(places),
    ):
        if len(some) == 1:
            return some[0]
        if some:
            keys = ", ".join(p.key for p in some)
            raise ProjectError(f"more than one digest may be {model}'s", field=str(path), fix=f"--key, one of: {keys}")
    raise ProjectError("holds no package's digest", field=str(path), fix="a file with `digest: sha256:...` for the model, 64 hex digits")


def _places(text: str, where: str, offset: int = 0, key: str = "", near: frozenset[str] = frozenset(), depth: int = 0) -> Iterator[Place]:
    loader = Loader(text)
    try:
        number = 0
        while loader.check_node():  # type: ignore[no-untyped-call]
            node = loader.get_node()  # type: ignore[no-untyped-call]
            if node is not None:
                start = key if number == 0 else f"{key}[{number}]"
                yield from _below(node, text, start, near | _names(node), offset, depth, set())
            number += 1
    except yaml.YAMLError as e:
        if depth == 0:
            raise ProjectError(f"is no YAML: {' '.join(str(e).split())[:200]}", field=where, fix="mend it, then ask again") from e
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]


def _names(node: yaml.Node) -> frozenset[str]:
    """What a document says its name is: ``metadata.name``, and that of a kustomize target."""
    out = set()
    for outer in ("metadata", "target"):
        inner = _value(node, outer)
        name = _value(inner, "name") if inner is not None else None
        if isinstance(name, yaml.ScalarNode):
            out.add(str(name.value))
    return frozenset(out)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((v for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == key), None)
    return None


def _below(node: yaml.Node, text: str, key: str, near: frozenset[str], offset: int, depth: int, seen: set[int]) -> Iterator[Place]:
    if id(node) in seen:  # what an alias repeats stands in the file once
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys = {str(k.value) for k, _ in node.value if isinstance(k, yaml.ScalarNode)}
        image = bool(_IMAGE & keys) or "images" in near
        for k, v in node.value:
            name = str(k.value) if isinstance(k, yaml.ScalarNode) else "?"
            here = f"{key}.{name}" if key else name
            yield from (
                () if image and isinstance(v, yaml.ScalarNode) else _below(v, text, here, near | {name} | _names(v), offset, depth, seen)
            )
    elif isinstance(node, yaml.SequenceNode):
        for i, v in enumerate(node.value):
            yield from _below(v, text, f"{key}[{i}]", near | _names(v), offset, depth, seen)
    elif isinstance(node, yaml.ScalarNode) and node.style in ("|", ">") and depth < _INSIDE:
        yield from _block(node, text, key, near, offset, depth)
    elif isinstance(node, yaml.ScalarNode) and (found := _DIGEST.fullmatch(str(node.value)) or _ADDRESS.fullmatch(str(node.value))):
        at = text.find(found[2], node.start_mark.index, node.end_mark.index)  # it stands there as it is read: no escapes, no folding
        if at >= 0:
            yield Place(key, at + offset, at + 64 + offset, found[2], near, found.re is _ADDRESS)


def _block(node: yaml.ScalarNode, text: str, key: str, near: frozenset[str], offset: int, depth: int) -> Iterator[Place]:
    """Digests of a text that is YAML itself. Its lines are read where they stand, indented as they are: the places stay true."""
    start = text.find("\n", node.start_mark.index) + 1
    inside = text[start : node.end_mark.index]
    if _DIGEST.search(inside):
        yield from _places(inside, "", offset + start, key, near, depth + 1)
