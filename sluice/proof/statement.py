"""The record of a package: an in-toto statement with the predicate SLSA provenance v1.

Sources: in-toto attestation framework, Statement v1 (github.com/in-toto/attestation/blob/main/spec/v1/statement.md); SLSA provenance v1
(slsa.dev/spec/v1.0/provenance). What SLSA has no name for stands where it leaves room: in the parameters, and in ``annotations`` of a resource.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from sluice import __version__
from sluice.core import files
from sluice.core.errors import PackageError
from sluice.core.gate import Gate
from sluice.package.package import Package

TYPE, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
#: What the parameters mean, and who ran it.
BUILD_TYPE, BUILDER = "https://sluice.dev/build/training/v1", "https://sluice.dev/builder/{}"
_FIX = "copy the proof again from the store it was written to, or register the package again"


@dataclasses.dataclass(frozen=True)
class Made:
    """How a package came to be, as far as the package does not say it itself.

    Attributes:
        project: the project file's text, overrides applied. config: the digest of its settings. source: where its rows came from.
        base_dir: where its relative paths start.
        gates: of the steps before, in their order. code: of `environment.code`. lock: of `environment.lock`.
        by: who ran it. finished: when, RFC 3339. run: the run's id. where: ``local`` or ``kubeflow``.
    """

    project: str
    config: str
    source: str
    base_dir: str
    gates: Sequence[Gate]
    code: Mapping[str, Any]
    lock: Mapping[str, Any]
    by: str
    finished: str
    run: str
    where: str = "local"


def build(package: Package, made: Made, byproducts: Mapping[str, bytes]) -> bytes:
    """The statement of a package, as the bytes that are kept.

    Args:
        byproducts: files of the proof that the statement answers for: its bill of materials.
    """
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"project": made.project, "source": made.source, "baseDir": made.base_dir},
            "internalParameters": {
                "config": made.config,
                "seed": package.provenance.get("seed"),
                "task": package.task,
                "precision": package.precision,
                "by": made.by,
                "environment": dict(made.lock),
            },
            "resolvedDependencies": _dependencies(package, made),
        },
        "runDetails": {
            "builder": {"id": BUILDER.format(made.where), "version": {"sluice": __version__, "python": str(made.lock.get("python", ""))}},
            "metadata": {"invocationId": made.run, "finishedOn": made.finished},
            "byproducts": [_file(name, data) for name, data in sorted(byproducts.items())] + [_gate(g) for g in made.gates],
        },
    }
    found = {"_type": TYPE, "subject": subjects(package), "predicateType": PREDICATE, "predicate": predicate}
    return files.pretty_json(found)


def subjects(package: Package) -> list[dict[str, Any]]:
    """What the statement is about: the package by its digest, which is that of ``model.json``, and each file that lists."""
    each = {name: str(entry["sha256"]) for name, entry in sorted(package.manifest["files"].items())}
    return [{"name": n, "digest": {"sha256": d}} for n, d in {package.name: package.digest, "model.json": package.digest, **each}.items()]


def _dependencies(package: Package, made: Made) -> list[dict[str, Any]]:
    """Code, Sluice, data, environment: what went in, each with its digest."""
    found: list[dict[str, Any]] = []
    if made.code:
        remote = made.code.get("remote", "")
        uri = f"git+{remote}" if "://" in remote else f"git:{remote or 'local'}"
        told = {k: v for k, v in made.code.items() if k in ("clean", "changed", "folder")}
        found.append({"name": "code", "uri": uri, "digest": {"gitCommit": made.code["commit"]}, "annotations": told})
    code = package.provenance.get("code")
    if code:
        found.append({"name": "sluice", "uri": f"pkg:pypi/sluice-ml@{__version__}", "digest": {"sha256": str(code)}})
    rows = next((g.evidence.get("rows") for g in made.gates if g.step == "preprocess"), None)
    data: dict[str, Any] = {"name": "data", "uri": _uri(made.source), "annotations": {"rows": rows or {}, "source": made.source}}
    if package.provenance.get("data"):
        data["digest"] = {"sha256": str(package.provenance["data"])}
    found.append(data)
    packages = made.lock.get("packages") or {}
    annotated = {"python": made.lock.get("python"), "distributions": len(packages)}
    found.append(
        {"name": "environment", "uri": "sluice:environment", "digest": {"sha256": str(made.lock.get("digest"))}, "annotations": annotated}
    )
    return found


def _uri(source: str) -> str:
    return source if "://" in source else "file:" + quote(source)


def _file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": hashlib.sha256(data).hexdigest()}, "mediaType": "application/vnd.cyclonedx+json"}


def _gate(gate: Gate) -> dict[str, Any]:
    """A gate's decision with its reasons and evidence, and the digest of all of it."""
    told = {"decision": gate.decision, "reasons": list(gate.reasons), "evidence": dict(gate.evidence), "seconds": gate.seconds}
    raw = files.canonical_json(told)
    digest = hashlib.sha256(raw).hexdigest()
    return {"name": f"gate/{gate.step}", "digest": {"sha256": digest}, "mediaType": "application/json", "annotations": orjson.loads(raw)}


@dataclasses.dataclass(frozen=True)
class Record:
    """A statement that was read: its parts by what they are to a reader."""

    raw: Mapping[str, Any]

    @property
    def definition(self) -> Mapping[str, Any]:
        """What was to be made, and of what."""
        return dict(self.raw["predicate"]["buildDefinition"])

    @property
    def project(self) -> str:
        """The project file's text."""
        return str(self.definition["externalParameters"]["project"])

    @property
    def source(self) -> str:
        """Where the rows came from, as the project says it."""
        return str(self.definition["externalParameters"]["source"])

    @property
    def internal(self) -> Mapping[str, Any]:
        """``config``, ``seed``, ``by``, ``environment``."""
        return dict(self.definition["internalParameters"])

    @property
    def details(self) -> Mapping[str, Any]:
        """Who built it, when, and what came out beside it."""
        return dict(self.raw["predicate"]["runDetails"])

    def dependency(self, name: str) -> Mapping[str, Any]:
        """``code``, ``sluice``, ``data`` or ``environment``; empty where it is not told."""
        return next((d for d in self.definition["resolvedDependencies"] if d["name"] == name), {})

    @property
    def gates(self) -> list[Gate]:
        """The gates it passed, in their order, with the evidence that was handed on."""
        told = [(b["name"].removeprefix("gate/"), b["annotations"]) for b in self.details["byproducts"] if b["name"].startswith("gate/")]
        return [Gate(step, a["decision"], tuple(a["reasons"]), dict(a["evidence"]), float(a["seconds"])) for step, a in told]


def read(raw: bytes, where: str = "provenance.json") -> Record:
    """Read a statement, and check its shape.

    Raises:
        PackageError: it is no in-toto statement of such a build.
    """
    try:
        found = orjson.loads(raw)
        _check(found)
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=where, fix=_FIX) from e
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise PackageError(f"is no provenance of a package: {type(e).__name__}: {e}", field=where, fix=_FIX) from e
    return Record(found)


def _check(found: Any) -> None:
    if (found["_type"], found["predicateType"]) != (TYPE, PREDICATE):
        raise ValueError(f"its type is {found['_type']!r} of {found['predicateType']!r}")
    record = Record(found)
    _texts(record.project, record.source, record.details["builder"]["id"], record.details["metadata"]["invocationId"])
    if record.definition["buildType"] != BUILD_TYPE:
        raise ValueError(f"buildType is {record.definition['buildType']!r}")
    for each in (*found["subject"], *record.definition["resolvedDependencies"], *record.details["byproducts"]):
        _texts(each["name"], *each.get("digest", {}).values())
    if not all(s["digest"] for s in found["subject"]) or not isinstance(record.internal["environment"]["packages"], dict):
        raise ValueError("a subject has no digest, or the environment no packages")
    _texts(record.internal["by"], record.internal["config"], record.internal["environment"]["python"])
    if code := record.dependency("code"):
        _texts(code["digest"]["gitCommit"])
        if not isinstance(code["annotations"]["clean"], bool):
            raise ValueError("it does not say whether the code was clean")
    for each in record.details["byproducts"]:
        _texts(each["digest"]["sha256"])
        if each["name"].startswith("gate/"):
            if hashlib.sha256(files.canonical_json(each["annotations"])).hexdigest() != each["digest"]["sha256"]:
                raise ValueError(f"{each['name']} does not have the digest it gives")
            if not isinstance(each["annotations"]["evidence"], dict) or not isinstance(each["annotations"]["reasons"], list):
                raise ValueError(f"{each['name']} has no reasons and evidence")


def _texts(*values: Any) -> None:
    if not all(isinstance(v, str) for v in values):
        raise TypeError("a name, digest or id is no text")


def about(record: Record, package: Package, others: Mapping[str, bytes]) -> list[str]:
    """What a statement says otherwise than the package it lies beside: nothing where it fits.

    Args:
        others: files of the proof, by name.
    """
    wrong = []
    if record.raw["subject"] != subjects(package):
        wrong.append("its subject is not this package, file by file")
    for name, key in (("data", "data"), ("sluice", "code")):
        told, own = (record.dependency(name).get("digest") or {}).get("sha256"), package.provenance.get(key)
        if (told or None) != (str(own) if own else None):
            wrong.append(f"its {name} is {told}, the package says {own}")
    if (own := package.provenance.get("config")) and own != record.internal["config"]:
        wrong.append(f"its settings are {record.internal['config']}, the package says {own}")
    for each in record.details["byproducts"]:
        data = others.get(each["name"])
        if not each["name"].startswith("gate/") and (data is None or hashlib.sha256(data).hexdigest() != each["digest"]["sha256"]):
            wrong.append(f"{each['name']} is not the one it was made with")
    locked = record.internal["environment"]
    if files.digest_of({k: locked[k] for k in ("python", "packages")}) != (record.dependency("environment").get("digest") or {}).get(
        "sha256"
    ):
        wrong.append("its environment does not have the digest it gives")
    return wrong
