"""What a running step says to whoever watches: one marked JSON line on stdout an event.

The same lines are read from a local process's output and from a pod's log.
"""

from __future__ import annotations

import sys
from typing import Any

import orjson

MARK = "::sluice::"


def emit(kind: str, **fields: Any) -> None:
    """Write one event. `kind`: ``progress``, ``gate``, ``error``, ``note``."""
    data = orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_SERIALIZE_NUMPY, default=str)
    sys.stdout.write(f"{MARK}{data.decode()}\n")
    sys.stdout.flush()


def parse(line: str) -> dict[str, Any] | None:
    """The event a line of output holds, if it holds one."""
    at = line.find(MARK)
    if at < 0:
        return None
    try:
        event = orjson.loads(line[at + len(MARK) :])
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None
