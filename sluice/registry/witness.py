"""What the audit log bears witness to: is the registry, the proof beside each package and the record of each run still what it says they were?

The log is a chain, so it is the witness and the others are held against it: versions, the champions of each environment, each registered package's statement and
whether it was signed, what the steps before had decided, and the gates that lie in this home's runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sluice.audit.record import Record
from sluice.audit.verify import Fault, Head
from sluice.core import sqlite
from sluice.core.errors import PackageError
from sluice.core.files import digest_of
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.package import beside
from sluice.package.store import PackageStore, open_store
from sluice.registry.environments import DEV, GATES, standing
from sluice.registry.serving import BY
from sluice.registry.versions import Registry, Version


def disagreements(model: str, registry: Registry, records: Sequence[Record], home: Home) -> list[Fault]:
    """What is otherwise than the log says of a model: each with the record that says so, or none. Empty where all agree.

    Raises:
        RegistryFault: the registry does not answer.
    """
    about = [r for r in records if r.entry.model == model]
    versions = registry.versions(model)
    found = [*_versions(versions, about, records), *_runs(about, home)]
    for version in versions:
        try:
            found += proof_of(version.digest, open_store(version.uri, home), about)
        except PackageError as e:
            found.append(Fault(None, f"version {version.number}'s package cannot be looked at: {e}"))
    # A controller that cannot write to this log moves aliases, too: only of a registry of this home the log knows every move.
    return found + (_champions(versions, about) if sqlite.path_of(registry.uri) is not None else [])


def begun_anew(named: Sequence[Head], identity: str, models: Iterable[str]) -> list[Fault]:
    """That versions name records of another log, and none of this one: it was put in its place, or another one is asked.

    Args:
        named: records that versions name (`sluice.registry.story.named`). identity: of this log. models: whose versions these are.
    """
    if not named or any(h.log == identity for h in named):
        return []
    what = (
        f"{len(named)} versions of {', '.join(sorted(models)[:5])} name records of another log ({named[0].log[:12]}), and none of this one"
    )
    return [Fault(None, f"{what}: it was begun anew in the other's place, or the other is meant ($SLUICE_AUDIT)")]


def proof_of(digest: str, store: PackageStore, records: Sequence[Record]) -> list[Fault]:
    """What lies beside a package otherwise than when it was registered last. Records of before this was written down say nothing."""
    last = next((r for r in reversed(records) if r.entry.kind == "registration" and r.entry.digest == digest), None)
    said = _evidence(last) if last is not None else {}
    digests, signer = said.get("proof_digests"), said.get("signed_by")
    if last is None or not isinstance(digests, dict):
        return []
    try:
        proof = store.proof(digest) or {}
    except PackageError as e:
        return [Fault(last.sequence, f"sha256:{digest[:12]} was registered with a proof, which is damaged: {e}")]
    wrong = [
        f"{name} of sha256:{digest[:12]} {'is not the one it was registered with' if name in proof else 'was there when it was registered, and is gone'}"
        for name, was in digests.items()
        if name not in proof or hashlib.sha256(proof[name]).hexdigest() != was
    ]
    if signer and beside.SIGNATURE not in proof:
        wrong.append(f"sha256:{digest[:12]} was signed by key {str(signer)[:12]} when it was registered, and its signature is gone")
    return [Fault(last.sequence, w) for w in wrong]


def _versions(versions: Sequence[Version], about: Sequence[Record], records: Sequence[Record]) -> Iterator[Fault]:
    made = [r for r in about if r.entry.kind == "registration"]
    by_number = {n: r for r in made if (n := _number(r))}  # the last record of each
    by_digest = {r.entry.digest: r for r in made}
    for version in versions:
        record = by_number.get(version.number) or by_digest.get(version.digest)
        if record is None:
            if BY not in version.tags and records and version.created / 1000 > _seconds(records[0]):
                yield Fault(
                    None,
                    f"version {version.number}, sha256:{version.digest[:12]}, is in the registry, and no record says who registered it",
                )
            continue
        if record.entry.digest != version.digest:
            was = f"was registered as sha256:{record.entry.digest[:12]}"
            yield Fault(record.sequence, f"version {version.number} {was}, the registry says sha256:{version.digest[:12]}")
        passed = _evidence(record).get("gates")
        if isinstance(passed, dict) and GATES in version.tags and _decisions(version.tags[GATES]) != passed:
            said = version.tags[GATES][:200]
            yield Fault(record.sequence, f"what the gates of version {version.number} decided is not what the registry says: {said}")
        yield from _measured(version, record)
    there = {v.number for v in versions}
    for number, record in by_number.items():
        if number not in there:
            yield Fault(record.sequence, f"version {number}, sha256:{record.entry.digest[:12]}, was registered, and is not in the registry")


def _measured(version: Version, record: Record) -> Iterator[Fault]:
    """A metric that the registry shows otherwise than it was registered; records of before they were written down say nothing."""
    was = _evidence(record).get("metrics")
    for name, value in was.items() if isinstance(was, dict) else ():
        now = version.metrics.get(name)
        if isinstance(value, int | float) and (now is None or not math.isclose(now, value, rel_tol=1e-6, abs_tol=1e-9)):
            said = "none" if now is None else f"{now:g}"
            yield Fault(record.sequence, f"{name} of version {version.number} was registered as {value:g}, the registry says {said}")


def _champions(versions: Sequence[Version], about: Sequence[Record]) -> list[Fault]:
    """Of each environment: the last record that moved its champion here, against the alias."""
    last: dict[str, tuple[Record, str]] = {}
    for r in about:
        e, data = r.entry, r.entry.data
        if "rollout" in data:  # by the controller of a cluster
            last.pop(e.environment or DEV, None)
        elif e.kind == "rollout" and _evidence(r).get("outcome") == "promoted":
            last[e.environment or DEV] = (r, e.digest)
        elif e.kind == "promotion" and not data.get("proposed"):
            last[e.environment] = (r, e.digest)
        elif e.kind == "rollback" and not data.get("what") and data.get("serves"):
            last[e.environment] = (r, str(data["serves"]))
        elif e.kind == "registration" and data.get("alias") == "champion":
            last[DEV] = (r, e.digest)
    found = []
    for environment, (record, digest) in last.items():
        now = standing(versions, environment).champion
        if now is None or now.digest != digest:
            said = f"version {now.number}, sha256:{now.digest[:12]}" if now else "none"
            found.append(Fault(record.sequence, f"sha256:{digest[:12]} became the champion of {environment}, the registry says {said}"))
    return found


def _runs(about: Sequence[Record], home: Home) -> Iterator[Fault]:
    """The gates that lie in this home's runs. A run that was killed and begun again under its name (a retraining) has a step's last record for its own."""
    last = {(str(r.entry.data.get("run") or ""), str(r.entry.data.get("step") or "")): r for r in about if r.entry.data.get("sha256")}
    for (run, step), r in last.items():
        was = str(r.entry.data["sha256"])
        path = home.runs / run / "gates" / f"{step}.json"
        if not (run and step) or "/" in run + step or not path.is_file():
            continue
        try:
            same = digest_of(dataclasses.asdict(Gate.read(path))) == was
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            yield Fault(r.sequence, f"what {step} of run {run} decided is not what lies in {path}")


def _evidence(record: Record) -> dict[str, Any]:
    found = record.entry.data.get("evidence")
    return found if isinstance(found, dict) else {}


def _number(record: Record) -> str:
    return str(_evidence(record).get("version") or record.entry.data.get("version") or "")


def _decisions(tag: str) -> Any:
    try:
        return json.loads(tag)
    except ValueError:
        return None


def _seconds(record: Record) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(record.time.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return float("inf")
