"""From the counters of a look to blocks of evidence: what both arms counted in the same time."""

from __future__ import annotations

import math
from dataclasses import replace

from sluice.rollouts import costs, evidence, stretches, users
from sluice.rollouts.state import ARMS, Counts, Observations, add, delta, signed
from sluice.rollouts.stretches import RATES
from sluice.rollouts.turn import Turn

#: Requests of each arm that close a block of evidence. A bet on a candidate's one request loses what waiting for the third does not.
_BLOCK = {"stable": 1, "candidate": 3}
#: Processes of an arm that are gone and still remembered.
_ABSENT = 100


def sound(seen: Observations) -> Observations:
    """A look without counters that are none: a process that shows NaN, infinity or less than nothing could not be read."""
    arms, said = dict(seen.arms), seen.error
    for arm, at in seen.arms.items():
        bad = {r.id for r in at.replicas if r.counts is not None and not _sound(r.counts)}
        if bad:
            arms[arm] = replace(at, replicas=tuple(replace(r, counts=None) if r.id in bad else r for r in at.replicas))
            said = said or f"{', '.join(sorted(bad))} of the {arm} arm shows counters that are no counts"
    return replace(seen, arms=arms, error=said)


def _sound(counts: Counts) -> bool:
    # Hundreds of counters by group, all of them sound at nearly every look: a sum and a least say so at once.
    if math.isfinite(sum(counts.values())) and min(counts.values(), default=0.0) >= 0:
        return True
    return all(math.isfinite(v) and (v >= 0 or signed(k)) for k, v in counts.items())


def count(turn: Turn, live: bool, remember: bool = False) -> bool:
    """Move the cursor to the counters seen now; `live` blocks are evidence.

    Returns True when both arms were measured. If one was not, neither moves, so the next
    block covers the same time in both. Nor does evidence move before both arms have answered a few requests: where counters come by
    scrapes that are out of step with the looks, a block of one arm alone says nothing, and moving on would lose it. When a block
    closes depends on how many requests there were, never on how they ended.
    """
    now = {arm: {r.id: r.counts for r in turn.seen.arms[arm].replicas} for arm in ARMS if arm in turn.seen.arms}
    if any(c is None for replicas in now.values() for c in replicas.values()) or turn.seen.error:
        return False
    blocks: dict[str, Counts] = {arm: {} for arm in ARMS}
    each: dict[str, dict[str, Counts]] = {arm: {} for arm in ARMS}
    cursor: dict[str, dict[str, Counts]] = {}
    for arm, replicas in now.items():
        before = turn.state.cursor.get(arm)
        for ident, counts in replicas.items():
            # Unknown arm: a baseline. Unknown process of a known arm: born since, all it counted is new.
            old = counts if before is None else before.get(ident)
            each[arm][ident] = delta(old, counts or {})[0]
            blocks[arm] = add(blocks[arm], each[arm][ident])
        # A process that is not there now may come back: its counters then begin where they were left.
        gone = [i for i in before or {} if i not in replicas][-_ABSENT:]
        cursor[arm] = {**{i: (before or {})[i] for i in gone}, **{i: c or {} for i, c in replicas.items()}}
    known = turn.state.cursor
    if live and any(blocks[arm].get("requests", 0) < fewest for arm, fewest in _BLOCK.items()):
        turn.put(
            cursor={**known, **{arm: c for arm, c in cursor.items() if arm not in known}},
            spared=turn.state.spared or turn.seen.limit is not None,
        )
        return False
    limited = turn.seen.limit is not None or (live and turn.state.spared)
    begun = turn.state.counted if math.isfinite(turn.state.counted) else turn.now
    turn.put(cursor={**known, **cursor}, spared=False, counted=turn.now)
    if turn.spec.cost is not None:
        tests, blocks, each = costs.bounded(turn.state.tests, blocks, each)
        turn.put(tests=tests)
    if live:
        # Copies warm the candidate up: how long it takes over them is no evidence yet.
        skip = ("slow",) if "Shadow" in (turn.state.phase, turn.state.resume) else ()
        # On a machine busy with other work slowness is no evidence against a model; that it is not slower still speaks for it.
        spared = ("slow",) if limited else ()
        kept = stretches.take(turn.state.tests.get("stretches", {}), each, begun, turn.now, turn.spec.trouble_seconds)
        turn.put(tests={**turn.state.tests, "stretches": kept})
        turn.put(
            window={a: add(turn.state.window.get(a, {}), blocks[a]) for a in ARMS},
            total={a: add(turn.state.total.get(a, {}), users.without(blocks[a], "outcomes", "outcome_sum")) for a in ARMS},
            tests=evidence.update(turn.spec, turn.state.tests, blocks["stable"], blocks["candidate"], skip, spared),
        )
    elif turn.state.weight < 100:
        turn.put(tests=evidence.learn(turn.state.tests, blocks["stable"]))
    if remember:
        if limited:
            blocks = {a: {k: v for k, v in b.items() if k not in RATES["slow"]} for a, b in blocks.items()}
        turn.put(window={a: add(turn.state.window.get(a, {}), blocks[a]) for a in ARMS})
    return "stable" in now and "candidate" in now
