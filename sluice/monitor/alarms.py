"""Alarms: what has moved in as many windows in a row as it takes, and has not come back in as many since. Pure, plain JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

#: key -> {"over": windows in a row that moved, "calm": that did not, "stands": its alarm, or None, "since": when the first of the row began}.
State = dict[str, dict[str, Any]]


def step(
    state: State, moved: Mapping[str, bool | None], persistence: int, begun: str, together: Collection[str] = ()
) -> tuple[State, list[str], list[str]]:
    """One window on.

    Args:
        state: before it.
        moved: key -> whether it moved; None: the window says nothing of it, which neither raises nor ends anything.
        persistence: windows in a row.
        begun: when the window did.
        together: keys for which the last windows in a row say so together: as many as it takes.

    Returns:
        The state behind it (what is quiet is left out: it does not grow), keys whose alarm begins, and whose ends.
    """
    after, raised, ended = {}, [], []
    for key in {*state, *(k for k, m in moved.items() if m)}:
        one = dict(state.get(key, {"over": 0, "calm": 0, "stands": False, "since": ""}))
        found = moved.get(key)
        if found:
            one["since"] = begun if one["over"] == 0 and not one["stands"] else one["since"]
            one["over"], one["calm"] = persistence if key in together else min(one["over"] + 1, persistence), 0
        elif found is not None:
            one["over"], one["calm"] = 0, min(one["calm"] + 1, persistence)
        if not one["stands"] and one["over"] >= persistence:
            one["stands"] = True
            raised.append(key)
        elif one["stands"] and one["calm"] >= persistence:
            one["stands"] = False
            ended.append(key)
        if one["stands"] or one["over"]:
            after[key] = one
    return after, sorted(raised), sorted(ended)
