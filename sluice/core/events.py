"""What a running step says to whoever watches: one marked JSON line on stdout an event.

The same lines are read from a local process's output and from a pod's log, among everything that a task's code and its data
print there. A line is an event only if it begins with the run's nonce: nothing that was written before the run can hold it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import orjson

#: Names the run's nonce to its steps: on a cluster the run's id, from the pod's label; here what the runner made up.
NONCE_ENV = "SLUICE_RUN_NONCE"
_MARK = "::sluice:"


def emit(kind: str, **fields: Any) -> None:
    """Write one event.

    Args:
        kind: ``progress``, ``gate``, ``error``, ``note``.
        fields: JSON values; numpy's are taken, others become text.
    """
    data = orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    # Someone's progress bar may stand in a line that is not ended. What comes in quick succession may be lost in it.
    fresh = "" if kind == "progress" else "\n"
    sys.stdout.write(f"{fresh}{mark(os.environ.get(NONCE_ENV, ''))}{data.decode()}\n")
    sys.stdout.flush()


def mark(nonce: str) -> str:
    """How a run's events begin."""
    return f"{_MARK}{nonce}::"


def parse(line: str, nonce: str) -> dict[str, Any] | None:
    """The event a line of output is, if it is one of the run that has this nonce; without a nonce there is none.

    Args:
        line: a line of output, without its line feed.
        nonce: the run's, as its steps were given it.
    """
    start = mark(nonce)
    if not nonce or not line.startswith(start):
        return None
    try:
        event = orjson.loads(line[len(start) :])
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None
