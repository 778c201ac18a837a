"""What a run came to, told from its gates and its failure: the same here and on a cluster."""

from __future__ import annotations

import re
from typing import Any

from sluice.core.gate import Gate

PROMOTED, FAULT, BAD_INPUT, REFUSED, ROLLED_BACK = 0, 1, 2, 3, 4


def conclude(gates: list[Gate], failure: dict[str, Any] | None, exception: str = "") -> dict[str, Any]:
    """What the run came to, with its exit code, and the gates' cautions."""
    return _conclude(gates, failure, exception) | {"cautions": cautions(gates)}


def _conclude(gates: list[Gate], failure: dict[str, Any] | None, exception: str) -> dict[str, Any]:
    if failure is not None:
        return {"outcome": "failed", "exit_code": failure.get("exit_code", FAULT), "error": failure, "reasons": [_said(failure)]}
    by_step = {g.step: g for g in gates}
    if "rollout" in by_step:
        gate = by_step["rollout"]
        promoted = gate.evidence["outcome"] == "promoted"
        found = {"digest": gate.evidence["digest"], "version": gate.evidence["version"], "reasons": list(gate.reasons)}
        return found | (
            {"outcome": "promoted", "exit_code": PROMOTED} if promoted else {"outcome": "rolled_back", "exit_code": ROLLED_BACK}
        )
    refused = next((g for g in reversed(gates) if g.decision == "refuse"), None)
    if refused is not None:
        found = {"outcome": "refused", "exit_code": REFUSED, "gate": refused.step, "reasons": list(refused.reasons)}
        then = [str(t) for t in (refused.evidence.get("refused") or {}).values() if t]
        return found | ({"next": then} if then else {})
    last = gates[-1].step if gates else "the start"
    message = f"the pipeline stopped after {last} without a result" + (f": {exception}" if exception else "")
    error = {"message": message, "fix": "the traceback is in the run's log", "exit_code": FAULT}
    return {"outcome": "failed", "exit_code": FAULT, "error": error, "reasons": [error["message"]]}


def _said(error: dict[str, Any]) -> str:
    """A failure in one line, with what it is about: of a wrong value, the field of the form or the file."""
    at = f"{error['field']}: " if error.get("field") else ""
    return f"{at}{error['message']}" + (f" (got {error['value']})" if error.get("value") is not None else "")


def figures(outcome: dict[str, Any], gates: list[Gate]) -> dict[str, float | str]:
    """What a run came to and the numbers it turned on, by name: few, and the same names in every run, so that runs can be compared.

    ``outcome`` is a word and ``promoted`` 1 or 0, left out where that is not known; ``gate`` is the step that decided, with its first
    reason; the project's metric goes by its own name, with ``_minimum``, ``_champion``, ``_difference``, ``_low`` and ``_high`` after it.
    """
    word = str(outcome["outcome"])
    found: dict[str, float | str] = {"outcome": word} | ({} if word in ("unknown", "running") else {"promoted": float(word == "promoted")})
    decisive = (
        (outcome.get("error") or {}).get("step") or outcome.get("gate") or ("rollout" if word in ("promoted", "rolled_back") else None)
    )
    reasons = outcome.get("reasons") or ()
    found |= {"gate": str(decisive)} if decisive else {}
    found |= {"reason": " ".join(str(reasons[0]).split())[:300]} if reasons else {}
    by = {g.step: g.evidence for g in gates}
    judged, compared = by.get("evaluate", {}).get("evaluation") or {}, by.get("evaluate", {}).get("comparison") or {}
    if name := judged.get("metric"):
        numbers = {name: judged.get("value"), f"{name}_minimum": judged.get("minimum")}
        numbers |= {f"{name}_{key}": compared.get(key) for key in ("champion", "difference", "low", "high")}
        found |= {k: float(v) for k, v in numbers.items() if isinstance(v, int | float)}
    load = by.get("rollout", {}).get("load") or {}
    found |= {f"requests_{key}": float(load[key]) for key in ("sent", "failed") if isinstance(load.get(key), int | float)}
    version = outcome.get("version") or by.get("register", {}).get("version")
    return found | ({"version": str(version)} if version else {})


def cautions(gates: list[Gate]) -> list[str]:
    """What the gates let pass, but a person has to hear beside the verdict."""
    return [str(c) for g in gates for c in g.evidence.get("cautions") or ()]


def last_exception(log: str) -> str:
    """The last exception's line in a log: what a step died of before it could say so. Empty if there is none."""
    found = [line.strip() for line in log.split("\n") if re.match(r"\s*[\w.]+(Error|Exception|Exit): ", line)]
    return found[-1] if found else ""
