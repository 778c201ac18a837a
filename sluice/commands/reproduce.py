"""`sluice reproduce`: train a package again from its record, and compare bit for bit."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice import project as projects
from sluice.cli import checkout_command, show_json
from sluice.commands.proof import REFUSED, find
from sluice.core import files
from sluice.core.errors import PackageError, ProjectError
from sluice.core.home import Home
from sluice.package import beside
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.package.store import PackageStore
from sluice.proof import environment, statement
from sluice.proof.difference import causes, differences
from sluice.proof.statement import Record

#: Where runs are written down and packages go, if the environment says so: not those that are made to be compared.
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "SLUICE_STORE", "SLUICE_NAMESPACE", "SLUICE_AUDIT", "OPENLINEAGE_URL")
_THREADS = "OMP_NUM_THREADS"
#: Sections that do not change what is made, and would tell others of it.
_LEFT = ("tracking", "cluster", "provenance", "tune", "monitor")
_MOST = 12


def reproduce(args: argparse.Namespace) -> int:
    """0 where the package is the same, bit for bit; 3 where it is not, with what differs; as `sluice run` where it could not be made."""
    home = Home(args.home)
    meant = find(args.package, home)
    digest, package, record = meant.digest, meant.open(), record_of(meant.store, meant.digest)
    base_dir = folder_of(record, args.project)
    raw = {k: v for k, v in projects.read_text(record.project, "provenance.json: project").items() if k not in _LEFT}
    project = projects.parse(raw, where="provenance.json: project", base_dir=base_dir)
    execute = checkout_command("run")
    place = Path(tempfile.mkdtemp(prefix=f"reproduce-{digest[:12]}-", dir=home.create().root))
    try:
        with _alone(str((record.internal["environment"].get("machine") or {}).get("threads") or "")):
            outcome = execute(
                project,
                text=files.canonical_json(raw).decode(),
                base_dir=base_dir,
                home=Home(place),
                command=f"sluice reproduce {digest[:12]}",
                quiet=args.quiet or args.json,
                until="export_onnx",
            )
        if outcome["outcome"] != "made":
            return _not_made(outcome, digest, args.json)
        found = compare(package, packages.read(Path(outcome["package"])), record, base_dir) | {"seconds": outcome["seconds"]}
        if args.keep:
            found["package"] = outcome["package"]
    finally:
        if not args.keep:
            shutil.rmtree(place, ignore_errors=True)
    if args.json:
        show_json(found | {"exit_code": 0 if found["same"] else REFUSED})
    else:
        _tell(found)
    return 0 if found["same"] else REFUSED


def record_of(store: PackageStore, digest: str) -> Record:
    """The record beside a package. Raises `PackageError` where there is none, or it is damaged."""
    raw = (store.proof(digest) or {}).get(beside.STATEMENT)
    if raw is None:
        raise PackageError(
            "has no record of how it was made",
            field=f"sha256:{digest[:12]}",
            fix="a run writes one when it registers its package; this one was made before, or the record is in another store",
        )
    return statement.read(raw)


def folder_of(record: Record, named: Path | None) -> Path:
    """Where the project's relative paths start: the folder named, else the one it was made in. Raises `ProjectError`."""
    told = str(record.definition["externalParameters"].get("baseDir") or "")
    folder = (named.parent if named.is_file() else named) if named else Path(told or ".")
    if not folder.is_dir():
        raise ProjectError(
            "the project's folder is not here" if named is None else "is no folder",
            field="--project",
            value=str(folder),
            fix="name the folder of its sluice.yaml: --project DIR",
        )
    return folder.resolve()


@contextlib.contextmanager
def _alone(threads: str) -> Iterator[None]:
    """Without the variables that lead to a shared registry or store, and with as many threads as then."""
    before = {name: os.environ.pop(name) for name in (*_ELSEWHERE, _THREADS) if name in os.environ}
    if threads:
        os.environ[_THREADS] = threads
    try:
        yield
    finally:
        os.environ.pop(_THREADS, None)
        os.environ |= before


def compare(package: Package, made: Package, record: Record, base_dir: Path) -> dict[str, Any]:
    """Whether a package that was made again is the same: ``same``, ``digest``, ``made``, ``differs`` (`difference.causes`) and ``differences``."""
    told, now = _told(record), _now(made, base_dir)
    now["machine"] = now["machine"] | {"threads": (told["machine"] or {}).get("threads")}  # given as then
    same = package.digest == made.digest
    found = {"same": same, "digest": package.digest, "made": made.digest, "differs": causes(told, now)}
    return found | ({} if same else {"differences": differences(package, made)})


def _told(record: Record) -> dict[str, Any]:
    code, locked = record.dependency("code"), record.internal["environment"]

    def sha(name: str) -> Any:
        return (record.dependency(name).get("digest") or {}).get("sha256")

    return {
        "commit": (code.get("digest") or {}).get("gitCommit"),
        "clean": (code.get("annotations") or {}).get("clean"),
        "sluice": sha("sluice"),
        "config": record.internal["config"],
        "data": sha("data"),
        **{k: locked.get(k) for k in ("python", "packages", "machine")},
    }


def _now(made: Package, base_dir: Path) -> dict[str, Any]:
    code, locked = environment.code(base_dir), environment.lock()
    return {
        "commit": code.get("commit"),
        "clean": code.get("clean"),
        **{k: made.provenance.get(v) for k, v in {"sluice": "code", "config": "config", "data": "data"}.items()},
        **{k: locked[k] for k in ("python", "packages", "machine")},
    }


def _not_made(outcome: Mapping[str, Any], digest: str, as_json: bool) -> int:
    """It could not be made again: its data is gone, or a gate refuses it today."""
    code = int(outcome["exit_code"])
    reasons = [str(r) for r in outcome["reasons"]]
    if as_json:
        show_json(
            {
                "same": None,
                "digest": digest,
                "outcome": outcome["outcome"],
                "reasons": reasons,
                "error": outcome.get("error"),
                "exit_code": code,
            }
        )
        return code
    print(
        f"NOT MADE AGAIN: sha256:{digest[:12]}: the run was {outcome['outcome']}" + (f" by {outcome['gate']}" if "gate" in outcome else "")
    )
    for reason in reasons:
        print(f"  - {reason}")
    if fix := (outcome.get("error") or {}).get("fix"):
        print(f"  fix: {fix}")
    return code


def _tell(found: Mapping[str, Any]) -> None:
    print(
        f"{'reproduced, bit for bit' if found['same'] else 'NOT REPRODUCED'}: sha256:{found['digest']}"
        + ("" if found["same"] else f", now sha256:{found['made']}")
    )
    for part, what in found["differs"].items():
        print(f"  {part} differs" + (", and the package does not:" if found["same"] else ":"))
        for name, (then, now) in list(what.items())[:_MOST]:
            print(f"    {name}: {_word(then)} then, {_word(now)} now")
        if len(what) > _MOST:
            print(f"    and {len(what) - _MOST} more (--json lists all)")
    if found["same"]:
        return
    if not found["differs"]:
        print("  code, settings, data and environment are the same: what was made depends on something else, such as the machine or chance")
    apart = found["differences"]
    if not apart["files"]:
        print("  every file of the package is the same; its manifest differs:")
    for key, (then, now) in list(apart["manifest"].items())[:_MOST]:
        print(f"  model.json {key}: {_word(then)} then, {_word(now)} now")
    for each in apart["files"]:
        print(f"  {each['name']}: {each['what']}" + (f", {each['bytes'][0]:,} and {each['bytes'][1]:,} bytes" if "bytes" in each else ""))
        for t in each.get("tensors", ())[:_MOST]:
            said = t.get("what") or f"{t['changed']:,} of {t['numbers']:,} numbers, by {t['max_abs']:.3g} at the most"
            print(f"    {t['name']}: {said}")
        for key, (then, now) in list(each.get("keys", {}).items())[:_MOST]:
            print(f"    {key}: {_word(then)} then, {_word(now)} now")


def _word(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()
    return text[:12] if len(text) in (40, 64) else text[:80]
