"""The end of a run, seen from inside: one of its own tasks waits for the others, and tells what they came to.

Kubeflow Pipelines has exit handlers, but those put everything else into a box of its own, cannot be told apart from a run still
going on where a step was skipped, and start two pods after the last step. A task beside the others needs neither: it asks the API
for their states, reads each one's log as soon as it is done, while the pod is still there, and is ready when the last has ended.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from sluice.core.gate import Gate
from sluice.kfp.client import Api
from sluice.kfp.errors import EndpointError, EndpointFault, Unreachable
from sluice.kfp.runs import Watch, is_over

#: Bytes of a step's log that are read, its last: events stand at its end.
LOG = 8 << 20
#: Seconds between two looks: a fiftieth of the time so far, within these.
_EVERY = (2.0, 15.0)
#: Looks, and the pause between them, until what the last step said has arrived.
_LAST_LOOKS, _PAUSE = 10, 2.0


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a run came to.

    Attributes:
        outcome: as ``sluice run --json`` prints it; ``outcome`` is ``unknown`` where that cannot be told.
        gates: the decisions that could be read, in pipeline order.
        tail: the failed step's own last lines.
        unread: what could not be read, and why: a sentence each.
    """

    outcome: dict[str, Any]
    gates: tuple[Gate, ...] = ()
    tail: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def await_end(
    api: Api,
    run_id: str,
    *,
    seconds: float,
    patience: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Ending:
    """Wait until every other task of a run is done, and tell what they came to. Raises nothing: what cannot be told is said.

    Args:
        api: the endpoint.
        run_id: the run.
        seconds: how long it waits at most.
        patience: how long the endpoint may be lost.
        clock, sleep: of this process, in seconds.
    """
    watch = Watch(api, run_id, last=LOG)
    begun, lost = clock(), None
    while True:
        try:
            watch.read(ended=True)
            lost = None
            if is_over(watch.run):
                break
        except (Unreachable, EndpointFault) as e:
            lost = clock() if lost is None else lost
            if clock() - lost > patience:
                return _unknown(watch, f"Kubeflow Pipelines could not be asked for {patience:g} s: {e}")
        except EndpointError as e:
            return _unknown(watch, f"Kubeflow Pipelines could not be asked: {e}")
        if clock() - begun > seconds:
            return _unknown(watch, f"the run had not ended after {seconds:g} s, which is all its steps may take together")
        sleep(min(max(_EVERY[0], (clock() - begun) / 50), _EVERY[1]))
    return _settled(watch, sleep)


def _settled(watch: Watch, sleep: Callable[[float], None]) -> Ending:
    """The last words may take some seconds to arrive, and states lag behind."""
    why = ""
    for _ in range(_LAST_LOOKS):
        if watch.is_known() and len(watch.unread()) <= watch.cached() and (watch.tail() or not watch.failed_quietly()):
            break
        sleep(_PAUSE)
        try:
            watch.read(ended=True)
            why = ""
        except EndpointError as e:
            why = f": {e}"
    if not watch.is_known():
        return _unknown(
            watch,
            "the steps are done, but what the last one decided cannot be read" + (why or ": its pod and log are gone, or out of reach"),
        )
    silent = watch.unread()
    reason = "was answered from the cache: what it measured stands in the run that computed it"
    if len(silent) > watch.cached():
        reason = f"left nothing to read: its pod and log are gone, or out of reach{why}"
    unread = tuple(f"{s} {reason}" for s in silent)
    outcome = watch.outcome()
    tail = tuple(watch.tail()) if outcome["outcome"] == "failed" else ()
    return Ending(outcome, tuple(watch.gates), tail, unread)


def _unknown(watch: Watch, why: str) -> Ending:
    found = watch.so_far() | {
        "outcome": "unknown",
        "reasons": [why],
        "error": {"step": None, "message": why, "fix": "the run's own page shows the states of its steps and their logs"},
    }
    return Ending(found, tuple(watch.gates), (), (why,))
