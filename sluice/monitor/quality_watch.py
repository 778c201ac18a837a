"""Quality from where the last look stopped, kept in one file beside the one of drift; and in words, here and on a cluster alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core.errors import DataError
from sluice.core.files import digest_of
from sluice.monitor import keep, told
from sluice.monitor.config import MonitorConfig
from sluice.monitor.quality import Judge, Judged
from sluice.monitor.timeline import iso

if TYPE_CHECKING:
    from sluice.package.package import Package

FORMAT = "sluice.quality/v1"


def of_package(package: Package, config: MonitorConfig, root: str | Path, name: str, kept: str, *, again: bool = False) -> dict[str, Any]:
    """``quality`` (`look`), ``unjudged``: why there is none of answers that the log cannot judge, and ``unread``: what of the feedback could not be read.

    Raises:
        DataError: the log, or what is kept, cannot be read.
    """
    try:
        judge = Judge.of(package, config.quality.metric)
    except DataError as e:
        return {"quality": None, "unjudged": f"labels were not looked at: the model {e.message}; {e.fix}", "unread": []}
    unread: list[str] = []
    return {"quality": look(judge, root, name, package.digest, config, kept, again=again, unread=unread), "unjudged": "", "unread": unread}


def look(
    judge: Judge,
    root: str | Path,
    model: str,
    version: str,
    config: MonitorConfig,
    kept: str,
    *,
    again: bool = False,
    unread: list[str] | None = None,
) -> dict[str, Any] | None:
    """Read on, judge what has been told, keep it.

    Args:
        root, model, version: of the log. kept: a file, or ``s3://bucket/key``. again: from the first label that the look can reach.
        unread: is given what of the feedback could not be read.

    Returns:
        Plain JSON: ``metric``, ``rows``, ``value``, ``low``, ``high``, ``floor`` of the newest window with labels, ``share`` that is labelled, ``risen``
        (`sluice.monitor.stream.Concept`, or null and ``unwatched`` says why), ``wrong``: what is, in words; empty where nothing is; ``windows`` that closed
        last, and ``labelled`` rows in reach. None: no label has come.

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
    if unread is not None:
        unread += found.coverage.unread_labels
    out = _told(judge, config, found) if found.coverage.labelled else None
    shown = out and {"said": headline(out), "wrong": out["wrong"], "maybe": maybe_rose(out["risen"] or {})}
    keep.write(kept, {"format": FORMAT, "by": by, "state": state, "last": shown})
    return out


def _told(judge: Judge, config: MonitorConfig, found: told.Told) -> dict[str, Any]:
    """What `look` gives."""
    last, floor, risen = found.last, config.quality.floor, found.concept
    plain = None if risen is None else {**vars(risen), "since": iso(risen.since)}
    wrong = [below(judge, floor, last)] if last is not None and last.below and floor is not None else []
    wrong += [text for text in [rose(vars(risen)) if risen is not None else ""] if text]
    value = {k: None if last is None else getattr(last, k) for k in ("rows", "value", "low", "high")}
    lower = judge.metric.sign < 0
    windows = [{k: getattr(w, k) for k in ("number", "begun", "rows", "value")} | {"lower": lower} for w in found.closed]
    more: dict[str, Any] = {"share": found.coverage.share, "risen": plain, "unwatched": found.unwatched, "wrong": wrong}
    more |= {"windows": windows, "labelled": found.coverage.labelled}
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


def maybe_rose(found: Mapping[str, Any]) -> str:
    """That they may be, which is not beyond doubt; "" where nothing says so, or they are. `found`: as `rose` takes it, or of `look`."""
    if found.get("standing") or not found.get("suspected"):
        return ""
    now, then = 100 * found["after"], 100 * found["before"]
    since = found["since"] if isinstance(found["since"], str) else iso(found["since"])
    return f"answers may be wrong more often since {since}, not beyond doubt yet: {now:.3g} % of them are right, {then:.3g} % were"


def headline(found: Mapping[str, Any]) -> str:
    """What is wrong, or how good the answers are."""
    if found["wrong"]:
        return "; ".join(found["wrong"])
    if found["value"] is None:
        return "too few labels for a window"
    limits = "" if found["low"] is None else f" ({found['low']:.4g} to {found['high']:.4g})"
    return f"{found['metric']} of the last {found['rows']} labelled rows is {found['value']:.4g}{limits}"


def _read(kept: str, by: str) -> dict[str, Any] | None:
    """None: nothing is kept, or by other windows or another metric."""
    raw = keep.read(kept, FORMAT)
    return raw["state"] if raw is not None and raw["by"] == by else None
