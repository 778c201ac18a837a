"""Quality from where the last look stopped, kept in one file beside the one of drift; and in words, here and on a cluster alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.files import digest_of
from sluice.monitor import told
from sluice.monitor.config import MonitorConfig
from sluice.monitor.quality import Judge, Judged
from sluice.monitor.timeline import iso

FORMAT = "sluice.quality/v1"


def look(
    judge: Judge, root: str | Path, model: str, version: str, config: MonitorConfig, kept: Path, *, again: bool = False
) -> dict[str, Any] | None:
    """Read on, judge what has been told, keep it.

    Args:
        root, model, version: of the log. kept: a file. again: from the first label that the look can reach.

    Returns:
        Plain JSON: ``metric``, ``rows``, ``value``, ``low``, ``high``, ``floor`` of the newest window with labels, ``share`` that is labelled, ``risen``
        (`sluice.monitor.stream.Concept`, or null and ``unwatched`` says why), ``wrong``: what is, in words; empty where nothing is. None: no label has come.

    Raises:
        DataError: the log, or what is kept, cannot be read.
    """
    by = digest_of([judge.metric.name, judge.positive, config.window.model_dump(mode="json")])
    state = None if again else _read(kept, by)
    while True:
        before = state or told.begin()
        found = told.look(judge, root, model, before, version=version, config=config.quality, window=config.window)
        state = found.state
        # A window of more rows than one look takes does not close by looking again.
        if not found.more or state == before:
            break
    files.write_bytes(kept, orjson.dumps({"format": FORMAT, "by": by, "state": state}))
    if not found.coverage.labelled:
        return None
    last, floor, risen = found.last, config.quality.floor, found.concept
    plain = None if risen is None else {**vars(risen), "since": iso(risen.since)}
    wrong = [below(judge, floor, last)] if last is not None and last.below and floor is not None else []
    wrong += [text for text in [rose(vars(risen)) if risen is not None else ""] if text]
    value = {k: None if last is None else getattr(last, k) for k in ("rows", "value", "low", "high")}
    more = {"share": found.coverage.share, "risen": plain, "unwatched": found.unwatched, "wrong": wrong}
    return {"metric": judge.metric.name, **value, "floor": floor, **more}


def below(judge: Judge, floor: float, last: Judged) -> str:
    """That all of a window's interval is worse than the floor."""
    limits = "" if last.low is None or last.high is None else f" ({last.low:.4g} to {last.high:.4g})"
    side = "under the floor" if judge.metric.sign > 0 else "over the bound"
    return f"{judge.metric.name} of the last {last.rows} labelled rows is {last.value:.4g}{limits}, {side} of {floor:g}"


def rose(found: Mapping[str, Any]) -> str:
    """That answers are wrong more often than they were, by a `Concept` as plain JSON; "" where they are not."""
    if not found.get("standing"):
        return ""
    now, then = 100 * found["after"], 100 * found["before"]
    return f"answers are wrong more often since {iso(found['since'])}: {now:.3g} % of them are right, {then:.3g} % were"


def headline(found: Mapping[str, Any]) -> str:
    """What is wrong, or how good the answers are."""
    if found["wrong"]:
        return "; ".join(found["wrong"])
    if found["value"] is None:
        return "too few labels for a window"
    limits = "" if found["low"] is None else f" ({found['low']:.4g} to {found['high']:.4g})"
    return f"{found['metric']} of the last {found['rows']} labelled rows is {found['value']:.4g}{limits}"


def _read(kept: Path, by: str) -> dict[str, Any] | None:
    """None: nothing is kept, or by other windows or another metric."""
    try:
        raw = orjson.loads(kept.read_bytes())
        if type(raw) is not dict or raw.get("format") != FORMAT:
            raise ValueError(f"is not {FORMAT}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise DataError(f"cannot be read: {e}", field="kept", value=str(kept), fix="remove it, and begin again") from e
    state: dict[str, Any] = raw["state"]
    return state if raw["by"] == by else None
