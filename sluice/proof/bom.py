"""A package's bill of materials: CycloneDX 1.6 with the model as its subject, a model card's figures, the data, and the libraries.

Source: CycloneDX ML-BOM (cyclonedx.org/capabilities/mlbom). The Python library has no model card yet; that part is put in by hand, and a test
checks the whole against the published schema.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from sluice import __version__
from sluice.core import files
from sluice.core.errors import MissingExtra, PackageError
from sluice.package.package import Package

_FIX = "copy the proof again from the store it was written to, or register the package again"
_SPEC = "1.6"


def build(
    package: Package,
    *,
    packages: Mapping[str, str],
    python: str,
    source: str,
    measured: Sequence[Mapping[str, Any]] = (),
    considered: Mapping[str, Sequence[str]] = {},
    licence: str | None = None,
    made: str,
) -> bytes:
    """The bill of materials, as the bytes that are kept.

    Args:
        packages: installed distributions: name -> version. python: its version.
        source: where the rows came from.
        measured: ``name``, ``value``, ``low``, ``high``, and ``slice`` where it is of a part: figures on held-out rows.
        considered: ``users``, ``uses``, ``limits``, ``ethics``: what the project says of them.
        licence: of the model, as the project names it.
        made: when, RFC 3339.

    Raises:
        MissingExtra: cyclonedx-python-lib is not installed.
    """
    try:
        from cyclonedx.factory.license import LicenseFactory
        from cyclonedx.model import HashAlgorithm, HashType
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as e:
        raise MissingExtra("needs cyclonedx-python-lib", field="bill of materials", fix="pip install 'sluice-ml[proof]'") from e

    def component(name: str, kind: ComponentType, ref: str, version: str | None, sha256: str | None = None, **more: Any) -> Component:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
        return Component(name=name, type=kind, bom_ref=ref, version=version, hashes=hashes, **more)

    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"sluice:{package.digest}:{made}"))
    bom.metadata.timestamp = datetime.fromisoformat(made)
    licences = [LicenseFactory().make_from_string(licence)] if licence else []
    model = component(package.name, ComponentType.MACHINE_LEARNING_MODEL, "model", package.digest[:12], package.digest, licenses=licences)
    bom.metadata.component = model
    digest = str(package.provenance.get("data") or "") or None
    data = component(f"{package.name}-data", ComponentType.DATA, "data", digest and digest[:12], digest, description=source)
    inside = [component(n, ComponentType.FILE, f"file:{n}", None, str(e["sha256"])) for n, e in sorted(package.manifest["files"].items())]
    own = {"sluice-ml": __version__} | {n: v for n, v in packages.items() if n != "sluice-ml"}
    libraries = [
        component(n, ComponentType.LIBRARY, f"pkg:pypi/{n}@{v}", v, purl=PackageURL("pypi", name=n, version=v)) for n, v in own.items()
    ]
    libraries.append(component("python", ComponentType.PLATFORM, f"python@{python}", python))
    for each in (data, *inside, *libraries):
        bom.components.add(each)
    bom.register_dependency(model, [data, *libraries])
    raw = orjson.loads(JsonV1Dot6(bom).output_as_string())
    raw["metadata"]["component"]["modelCard"] = _card(package, measured, considered)
    listed = next(c for c in raw["components"] if c["bom-ref"] == "data")
    listed["data"] = [{"type": "dataset", "name": f"{package.name}-data", "contents": {"url": _reference(source)}}]
    return files.pretty_json(raw)


def _reference(source: str) -> str:
    """A source as a reference that the schema takes: no white space in it."""
    from urllib.parse import quote

    return quote(source, safe=":/?#[]@!$&'()*+,;=%~")


def _card(package: Package, measured: Sequence[Mapping[str, Any]], considered: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    card: dict[str, Any] = {
        "modelParameters": {
            "task": f"{package.task}, {package.objective}",
            "datasets": [{"ref": "data"}],
            "inputs": [{"format": f"{t.name} {t.datatype} {list(t.shape)}"} for t in package.inputs],
            "outputs": [{"format": f"{t.name} {t.datatype} {list(t.shape)}"} for t in package.outputs],
        }
    }
    figures = [_figure(m) for m in measured if isinstance(m.get("value"), int | float)]
    if figures:
        card["quantitativeAnalysis"] = {"performanceMetrics": figures}
    told: dict[str, Any] = {}
    for ours, theirs in (("users", "users"), ("uses", "useCases"), ("limits", "technicalLimitations")):
        if considered.get(ours):
            told[theirs] = list(considered[ours])
    if considered.get("ethics"):
        told["ethicalConsiderations"] = [{"name": text} for text in considered["ethics"]]
    return card | ({"considerations": told} if told else {})


def _figure(m: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": str(m["name"]), "value": repr(m["value"])}
    if m.get("slice"):
        found["slice"] = str(m["slice"])
    if isinstance(m.get("low"), int | float) and isinstance(m.get("high"), int | float):
        found["confidenceInterval"] = {"lowerBound": repr(m["low"]), "upperBound": repr(m["high"])}
    return found


def read(raw: bytes, where: str = "bom.cdx.json") -> dict[str, Any]:
    """Read a bill of materials. Raises `PackageError` where it is none of a model."""
    try:
        found = orjson.loads(raw)
        subject = found["metadata"]["component"]
        if (found["bomFormat"], found["specVersion"]) != ("CycloneDX", _SPEC) or subject["type"] != "machine-learning-model":
            raise ValueError(f"it is {found['bomFormat']} {found['specVersion']} of a {subject['type']}")
        if not all(isinstance(c["name"], str) for c in found["components"]) or subject["hashes"][0]["alg"] != "SHA-256":
            raise ValueError("a component has no name, or the model no digest")
        if not isinstance(subject["hashes"][0]["content"], str) or not all(isinstance(h, str) for h in _files(found).values()):
            raise ValueError("a digest is no text")
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field=where, fix=_FIX) from e
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
        raise PackageError(f"is no bill of materials of a model: {type(e).__name__}: {e}", field=where, fix=_FIX) from e
    return dict(found)


def _files(found: Mapping[str, Any]) -> dict[str, Any]:
    """The digest of each file it names. Raises where a component has no type, or a file's digest no shape."""
    return {c["name"]: (c.get("hashes") or [{}])[0].get("content") for c in found["components"] if c["type"] == "file"}


def about(found: Mapping[str, Any], package: Package) -> list[str]:
    """What it says otherwise than the package: nothing where it fits."""
    wrong = []
    if found["metadata"]["component"]["hashes"][0]["content"] != package.digest:
        wrong.append("its model is not this package")
    if _files(found) != {name: entry["sha256"] for name, entry in package.manifest["files"].items()}:
        wrong.append("its files are not those of the package")
    return wrong
