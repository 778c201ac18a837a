"""The anchor: the best champion so far, which a candidate is compared with beside the last one.

It moves to a champion that was found better than the anchor beyond doubt, to the champion where the anchor was rolled back or can be compared no
more, or where a person says. Each move is a record of its own with the model's name in the registry.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from sluice.gates.ledger import Ledger
from sluice.registry.serving import OUTCOME
from sluice.registry.versions import ANCHOR, Registry, Version

_RECORD = "sluice.anchored."


def settle(registry: Registry, model: str, champion: Version, ledger: Ledger) -> tuple[Version, str]:
    """The anchor as it is to be before a comparison, and a sentence that says since when and why.

    Raises:
        RegistryFault: the registry did not answer, or refused.
    """
    there = registry.by_alias(model, ANCHOR)
    if there is None:
        return champion, move(registry, model, champion, None, "the first champion that was compared with")
    if there.digest == champion.digest:
        return there, _since(registry, model, there)
    if there.tags.get(OUTCOME) == "rolled_back":
        return champion, move(registry, model, champion, there, "the anchor before it was rolled back")
    proof = ledger.proved(champion.digest, there.digest)
    if proof is not None:
        why = f"found better than the anchor before it beyond doubt, by {proof.metric} on {proof.rows.rows:,} held-out rows"
        return champion, move(registry, model, champion, there, why)
    return there, _since(registry, model, there)


def move(registry: Registry, model: str, to: Version, before: Version | None, why: str, *, by: str = "sluice") -> str:
    """Move the anchor, and write down who moved it and why. Returns a sentence. Raises `RegistryFault`."""
    record = {"version": to.number, "digest": to.digest, "before": before.number if before else None, "why": why, "by": by}
    at = int(time.time() * 1000)
    registry.tag_model(model, {f"{_RECORD}{at}.{to.number}": orjson.dumps({**record, "at": at}).decode()})
    registry.set_alias(model, ANCHOR, to.number)
    return _sentence(record)


def records(registry: Registry, model: str) -> list[dict[str, Any]]:
    """Every move, oldest first: ``at`` (milliseconds since 1970), ``version``, ``digest``, ``before``, ``why``, ``by``. Raises `RegistryFault`."""
    found = []
    for key, value in registry.model_tags(model).items():
        if key.startswith(_RECORD):
            try:
                record = orjson.loads(value)
                found.append({k: record[k] for k in ("at", "version", "digest", "before", "why", "by")})
            except (ValueError, KeyError, TypeError):  # somebody's hand
                continue
    return sorted(found, key=lambda r: int(r["at"]))


def _since(registry: Registry, model: str, anchor: Version) -> str:
    last = next((r for r in reversed(records(registry, model)) if r["version"] == anchor.number), None)
    return _sentence(last) if last else f"the anchor is version {anchor.number} ({anchor.digest[:12]})"


def _sentence(record: dict[str, Any]) -> str:
    by = f" (said by {record['by']})" if record["by"] != "sluice" else ""
    return f"the anchor is version {record['version']} ({record['digest'][:12]}): {record['why']}{by}"
