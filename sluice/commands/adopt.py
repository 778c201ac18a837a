"""`sluice import`: a model that something else trained, as a package and a registered version."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.cli import show_json
from sluice.core import files, yamlfile
from sluice.core.errors import ProjectError
from sluice.core.home import Home

if TYPE_CHECKING:
    from sluice.adoption.adopt import Proof
    from sluice.adoption.source import Found
    from sluice.package.package import Package

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?")
_REFUSED = 3


def import_(args: argparse.Namespace) -> int:
    """Exit 3 where the package does not answer as the original does: nothing is registered then."""
    from sluice.adoption.adopt import Wanted, adopt
    from sluice.adoption.flavours import FLAVOURS, original, signature_of
    from sluice.adoption.source import find
    from sluice.package.store import default_store

    home = Home(args.home)
    with ExitStack() as keep:
        found = find(args.source, keep)
        name = args.name or _name(found)
        if not _NAME.fullmatch(name):
            raise ProjectError("is no DNS label", field="--name", value=name, fix="--name: lower-case letters, digits and hyphens")
        flavour = args.flavour or next((f for f in FLAVOURS.names() if f in found.flavours), None)
        if flavour not in (None, "onnx") and not args.trust:
            raise ProjectError(
                f"the flavour {flavour} is kept as a pickle: to load it runs code of whoever made it",
                field="--trust",
                value=found.said,
                fix="--trust if you would run their program too; or export the model to ONNX, which is only data",
            )
        signature = signature_of(found)
        model = original(found, signature, flavour)
        asked = Wanted(
            name,
            None if args.problem is None else _classifies(args.problem),
            tuple(args.labels.split(",")) if args.labels else (),
            args.output_tensor,
            args.softmax,
            args.tolerance,
        )
        work = Path(keep.enter_context(tempfile.TemporaryDirectory(prefix="sluice-import-")))
        package, proof = adopt(found, model, signature, asked, work)
        if proof.differing:
            return _refused(args, package, proof)
        home.create()
        store = default_store(home)
        rollout = _rollout(args, found, package, store.uri(package.digest)) if args.manifest else ""
        stored = store.add(package)
        told = {
            "outcome": "imported",
            "model": name,
            **_register(home, stored, store.uri(stored.digest), found.said),
            "proof": dataclasses.asdict(proof),
        }
        if args.manifest:
            files.write_text(args.manifest, rollout)
            told["manifest"] = str(args.manifest)
    if args.json:
        show_json(told)
    else:
        _show(told, stored)
    return 0


def _name(found: Found) -> str:
    """The InferenceService's, else the file's or the model's, as a DNS label."""
    if found.service:
        return str((found.service.get("metadata") or {}).get("name") or "")
    said = re.sub(r"^models:/|[@/]\w+$" if found.said.startswith("models:/") else r"\.onnx$", "", found.said.rstrip("/"))
    return re.sub(r"[^a-z0-9]+", "-", Path(said).name.lower()).strip("-")


def _classifies(name: str) -> bool:
    """Whether a problem's answers are labels; only the two that every model server knows can be adopted. Raises `ProjectError`."""
    from sluice.problems.problem import built_in

    known = {built_in(classes).name: classes for classes in (True, False)}
    if name not in known:
        raise ProjectError("is no problem a model can be adopted for", field="--problem", value=name, fix=" or ".join(known))
    return known[name]


def _refused(args: argparse.Namespace, package: Package, proof: Proof) -> int:
    why = f"{proof.differing} of {proof.rows} rows are answered otherwise, by {proof.largest:.3g} at most: more than {args.tolerance:g}"
    fix = "export it to ONNX with the program that made it, or --tolerance if you can bear that"
    if args.json:
        show_json(
            {"outcome": "refused", "model": package.name, "reasons": [why], "proof": dataclasses.asdict(proof), "exit_code": _REFUSED}
        )
    print(f"refused: {why}\n  fix: {fix}", file=sys.stderr)
    return _REFUSED


def _register(home: Home, package: Package, uri: str, source: str) -> dict[str, Any]:
    """The version; champion where the model has none, else candidate."""
    from sluice.audit.log import open_log
    from sluice.audit.record import Entry
    from sluice.registry.versions import CANDIDATE, CHAMPION, Registry

    registry = Registry(home.tracking_uri)
    tags = {"sluice.precision": package.precision, "sluice.adopted": source}
    version = registry.register(package.name, package.digest, uri, metrics={}, tags=tags, run_id=None)
    now = registry.by_alias(package.name, CHAMPION)
    alias = CHAMPION if now is None or now.digest == package.digest else CANDIDATE
    registry.set_alias(package.name, alias, version.number)
    said = {"version": version.number, "alias": alias, "adopted": tags["sluice.adopted"]}
    open_log(home).append(Entry("registration", package.name, package.digest, reason="adopted: no gate of Sluice has judged it", data=said))
    return {"version": version.number, "digest": package.digest, "uri": uri, "alias": alias}


def _rollout(args: argparse.Namespace, found: Found, package: Package, uri: str) -> str:
    """A ModelRollout that serves the package, in the InferenceService's namespace where one was named."""
    from sluice.rollouts.manifest import Target, manifest
    from sluice.rollouts.spec import RolloutSpec

    space = args.namespace or str(((found.service or {}).get("metadata") or {}).get("namespace") or "sluice")
    return yamlfile.dump(manifest(package.name, package.digest, uri, RolloutSpec(), Target(space)))


def _show(told: dict[str, Any], package: Package) -> None:
    proof = told["proof"]
    print(f"imported: {told['model']} version {told['version']} as {told['alias']}  sha256:{told['digest'][:12]}")
    whose = "random rows" if proof["made_up"] else "rows of its own example"
    if proof["rows"]:
        print(f"  it answers {proof['rows']} {whose} as the original does (largest difference {proof['largest']:.2g})")
    else:
        print("  ! the model keeps no example, and takes texts: that it answers as the original does is not proven", file=sys.stderr)
    print(
        f"  inputs: {', '.join(f'{t.name} {t.datatype} {list(t.shape)}' for t in package.inputs[:8])}{' ...' if len(package.inputs) > 8 else ''}"
    )
    print(f"  answers: {', '.join(package.labels[:12]) or 'a number'}")
    if "manifest" in told:
        print(f"next: kubectl apply -f {told['manifest']}")
    else:
        print(f"next: sluice serve {told['model']} --log predictions, or --manifest FILE for a ModelRollout")
