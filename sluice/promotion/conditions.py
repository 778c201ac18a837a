"""What must hold before a version goes to an environment: each condition a function, each answer with its reason."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sluice.audit.log import AuditLog, records
from sluice.audit.record import user
from sluice.core.errors import SluiceError
from sluice.core.home import Home
from sluice.package.store import open_store
from sluice.promotion.config import Environment
from sluice.registry.environments import DEV, alias, gates_of, rejected
from sluice.registry.versions import CHAMPION, PREVIOUS, Version

Answer = Literal["pass", "refuse", "caution"]
#: The step that must be among those that passed, whatever else a project has.
_JUDGE = "evaluate"
#: Names of a gate's decision that let a version be registered.
_LET_ON = ("pass", "inconclusive")


@dataclasses.dataclass(frozen=True)
class Condition:
    """How one of them stands.

    Attributes:
        name: of it. answer: caution: it holds, and a person has to hear something. said: why. waived: `--override` may set it aside.
    """

    name: str
    answer: Answer
    said: str
    waived: bool = True


@dataclasses.dataclass(frozen=True)
class Asked:
    """A promotion that is asked for.

    Attributes:
        version: which. source, target: environments. rules: of the target. champion: of the target now, None where there is none.
        home: where packages may be. log: the audit log, for evidence. data: a project file whose test rows both are judged on again.
    """

    version: Version
    source: str
    target: str
    rules: Environment
    champion: Version | None
    home: Home
    log: AuditLog
    data: Path | None = None


def every(asked: Asked) -> list[Condition]:
    """All of them, in the order in which a person asks."""
    return [stands(asked), not_rejected(asked), gates(asked), package(asked), champion(asked), allowed(asked)]


def stands(asked: Asked) -> Condition:
    """It serves where it comes from, or did, and was not rolled back there."""
    v, source = asked.version, asked.source
    if rejected(v, source):
        return Condition("source", "refuse", f"version {v.number} was rolled back in {source}: {v.tags.get('sluice.rollout.reason', '')}")
    if alias(CHAMPION, source) in v.aliases:
        return Condition("source", "pass", f"version {v.number} is the champion of {source}")
    if alias(PREVIOUS, source) in v.aliases:
        return Condition("source", "caution", f"version {v.number} is the one before the champion of {source}")
    if not asked.rules.rolled_out:
        return Condition("source", "pass", f"version {v.number} need not have been rolled out in {source}")
    return Condition("source", "refuse", f"version {v.number} is not the champion of {source}: it has to prove itself there first")


def not_rejected(asked: Asked) -> Condition:
    """What was rolled back in an environment does not go there again by itself."""
    if rejected(asked.version, asked.target):
        why = asked.version.tags.get(f"sluice{'' if asked.target == DEV else '.' + asked.target}.rollout.reason", "")
        return Condition("rejected", "refuse", f"version {asked.version.number} was rolled back in {asked.target}: {why}")
    return Condition("rejected", "pass", f"it was never rolled back in {asked.target}")


def gates(asked: Asked) -> Condition:
    """The steps that must have passed did, by the registry's record, and by this home's of runs from before there was one."""
    found = gates_of(asked.version) or _of_runs(asked)
    if not found:
        return Condition("gates", "refuse", "no gates are on record: it was registered by hand, or its run is not known here")
    wanted = asked.rules.gates or list(dict.fromkeys((*found, _JUDGE)))
    missing = [g for g in wanted if g not in found]
    failed = [f"{g}: {found[g]}" for g in wanted if g in found and found[g] not in _LET_ON]
    if missing or failed:
        return Condition("gates", "refuse", "; ".join([*failed, *(f"{g}: not on record" for g in missing)]))
    open_ = [g for g in wanted if found[g] == "inconclusive"]
    told = f"passed: {', '.join(g for g in wanted if g not in open_)}"
    return Condition("gates", "caution", f"{told}; inconclusive: {', '.join(open_)}") if open_ else Condition("gates", "pass", told)


def _of_runs(asked: Asked) -> dict[str, str]:
    for outcome in asked.home.outcomes(asked.version.model):
        if outcome.get("digest") == asked.version.digest and "retry_of" not in outcome:
            return {s["step"]: s["decision"] for s in outcome["steps"] if s["step"] not in ("register", "rollout")}
    return {}


def package(asked: Asked) -> Condition:
    """The package is there, every byte of it and of its proof is what it says, and a trusted key signed it where that is required."""
    from sluice.proof.keys import trusted_here
    from sluice.proof.trust import trust_of
    from sluice.proof.verify import WRONG, verify

    v = asked.version
    try:
        store = open_store(v.uri, asked.home)
        required = asked.rules.require_signature or trust_of(False, [], implied=False).required
        verdict = verify(lambda: store.get(v.digest), v.digest, store, trusted_here(home=asked.home.root), signature=required)
    except SluiceError as e:
        return Condition("package", "refuse", f"{v.digest[:12]} cannot be trusted: {e.message}", waived=False)
    wrong = [f"{p.name}: {'; '.join(p.said)}" for p in verdict.parts if p.state == WRONG]
    if wrong:
        return Condition("package", "refuse", f"{v.digest[:12]} cannot be trusted: {'; '.join(wrong)}", waived=False)
    signed = f", signed by {verdict.signed_by[:12]}" if verdict.signed_by else ""
    return Condition("package", "pass", f"sha256:{v.digest[:12]} is whole{signed}")


def allowed(asked: Asked) -> Condition:
    """Whoever asks may: by the cluster's rights where the environment is one, else by the file's list."""
    who, rules = user(), asked.rules
    if rules.namespace:
        return _of_cluster(asked)
    if rules.approvers and who not in rules.approvers:
        return Condition("who", "refuse", f"{who} is none of those who may: {', '.join(rules.approvers)}", waived=False)
    return Condition("who", "pass", f"{who} may")


def _of_cluster(asked: Asked) -> Condition:
    from sluice.kube.client import Kube
    from sluice.kube.objects import GROUP

    space, name = asked.rules.namespace or "", asked.rules.rollout or asked.version.model
    try:
        may, why = Kube(asked.rules.context).may("promote", GROUP, "modelrollouts", space, name=name)
    except SluiceError as e:
        return Condition("who", "refuse", f"the cluster of {asked.target} could not be asked: {e.message}", waived=False)
    if not may:
        said = f"the cluster does not let you `promote` modelrollouts in {space}{': ' + why if why else ''}"
        return Condition("who", "refuse", said, waived=False)
    return Condition("who", "pass", f"you may `promote` modelrollouts in {space}")


# -- the champion of the target ---------------------------------------------------------------------


def champion(asked: Asked) -> Condition:
    """It is not worse than what it replaces: on rows that are read now, else by what is on record of both."""
    now = asked.champion
    if now is None:
        return Condition("champion", "pass", f"{asked.target} has no champion yet")
    if now.digest == asked.version.digest:
        return Condition("champion", "refuse", f"version {now.number} is the champion of {asked.target} already", waived=False)
    if asked.data is not None:
        return _on_rows(asked, now)
    return _on_record(asked, now)


def _on_record(asked: Asked, now: Version) -> Condition:
    ours, theirs = (evaluated(asked.log, v) for v in (asked.version, now))
    compared = ours.get("comparison") or {}
    if compared.get("champion_digest") == now.digest and compared.get("verdict"):
        said = f"its gate compared it with {now.digest[:12]}: {str(compared['verdict']).replace('_', ' ')}"
        return Condition("champion", "refuse" if compared["verdict"] == "worse" else "pass", said)
    mine, other = ours.get("evaluation") or {}, theirs.get("evaluation") or {}
    known = all(isinstance(e.get(k), int | float) for e in (mine, other) for k in ("value", "low", "high"))
    again = "`--data PROJECT` compares them again, on the same rows"
    if not known or mine.get("metric") != other.get("metric"):
        return Condition("champion", "caution", f"nothing on record tells it from version {now.number} of {asked.target}: {again}")
    said = f"{mine['metric']} {mine['value']:.4g} ({mine['low']:.4g} to {mine['high']:.4g}) against {other['value']:.4g} ({other['low']:.4g} to {other['high']:.4g})"
    worse = mine["high"] < other["low"] if mine.get("direction") != "lower" else mine["low"] > other["high"]
    if worse:
        return Condition("champion", "refuse", f"on record it is worse than version {now.number}: {said}; {again}")
    return Condition(
        "champion", "caution", f"on record it is not shown to be worse than version {now.number}: {said}, each on its own rows; {again}"
    )


def evaluated(log: AuditLog, version: Version) -> Mapping[str, Any]:
    """The evidence of the gate that judged a version, by the audit log; empty where it is not there."""
    found = records(log)
    runs = {r.entry.data.get("run") for r in found if r.entry.kind == "registration" and r.entry.digest == version.digest}
    for record in reversed(found):
        evidence = record.entry.data.get("evidence")
        if record.entry.data.get("run") in runs and isinstance(evidence, Mapping) and "evaluation" in evidence:
            return evidence
    return {}


def _on_rows(asked: Asked, now: Version) -> Condition:
    from sluice.gates.champion import Champion

    assert asked.data is not None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-promote-")))
        facts = _facts(asked, now, folder)
        found = Champion().judge(facts, facts.project.evaluate)
    answer: Answer = {"pass": "pass", "refuse": "refuse"}.get(found.decision, "caution")  # type: ignore[assignment]
    said = "; ".join(found.reasons) or str(found.evidence.get("champion_note") or "nothing was compared")
    return Condition("champion", answer if found.evidence.get("comparison") else "caution", f"on the rows of {asked.data}: {said}")


def _facts(asked: Asked, now: Version, folder: Path) -> Any:
    """What the gate `champion` is given, of rows made as training makes them. Raises `SluiceError`."""
    from sluice import project as projects
    from sluice.data.prepare import prepare
    from sluice.engines.scoring import asked_and_judged, positive_label
    from sluice.gates.facts import Judged
    from sluice.tasks import load_task

    assert asked.data is not None
    settings, base = projects.load(asked.data), asked.data.resolve().parent
    dataset = prepare(settings, base, load_task(settings, base), folder / "dataset")
    ours, theirs = (open_store(v.uri, asked.home).get(v.digest) for v in (asked.version, now))
    kept = asked.home.root / "answers"
    outputs, targets = asked_and_judged(ours, dataset, "test", settings, kept)
    positive, units = positive_label(settings.evaluate, dataset), dataset.problem.units(dataset, "test")
    return Judged(settings, dataset, ours, outputs, targets, positive, units, {}, theirs, f"version {now.number}", kept=kept)
