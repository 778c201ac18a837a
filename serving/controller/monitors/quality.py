"""How good the answers were, in the controller: labels joined to predictions out of the store, as `sluice.monitor.told` does it.

A look joins once labels have come, and not before ten times what the last one took has gone by, so that however large the log is, a tenth of one
thread's time goes to it. Its state is a few windows in the monitor's memory; what it reads, it reads again after any interruption.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from serving.controller.monitors.resource import Monitor
from serving.controller.monitors.seen import Quality, Watched
from sluice.monitor import told
from sluice.monitor.quality import Judge, under
from sluice.monitor.quality_watch import below as words
from sluice.monitor.quality_watch import maybe_rose, rose
from sluice.monitor.retrain import Event

#: Of the time that goes by, what a look at labels may take; seconds for which labels wait for the predictions they are of.
_SHARE, _FLUSHED = 0.1, 900.0


def due(doc: dict[str, Any], labels: dict[str, Any], rows: int, now: float) -> bool:
    """Whether labels are to be joined now.

    Args:
        doc: what the last look at them left. labels: what is known of the feedback. rows: predictions read.
    """
    if not labels.get("count") or now < doc.get("next", 0.0):
        return False
    # A label may stand in the store before the prediction that it is of.
    late = rows != doc.get("rows") and (labels.get("newest") or 0.0) > doc.get("looked", 0.0) - _FLUSHED
    return bool(doc.get("more")) or labels["cursor"] != doc.get("cursor") or late


def look(
    item: Monitor, model: Watched, judge: Judge, doc: dict[str, Any], labels: dict[str, Any], read: tuple[int, float | None], now: float
) -> dict[str, Any]:
    """`doc` with what has been told since.

    Args:
        read: how many predictions, and the newest one's time.

    Raises:
        DataError: the log cannot be read.
    """
    begun, (rows, newest) = time.monotonic(), read
    since = None if newest is None else int((newest - 3600 * item.within) * 1e6)
    watch = item.watch.quality.model_copy(update={"floor": item.floor})
    found = told.look(
        judge,
        item.log,
        item.model,
        doc.get("state") or told.begin(),
        version=model.version,
        config=watch,
        window=item.watch.window,
        since=since,
        feedback=item.labels or None,
    )
    took = time.monotonic() - begun
    return {
        "state": found.state,
        "metric": judge.metric.name,
        "share": found.coverage.share,
        "cut": found.cut,
        "more": found.more,
        "cursor": labels["cursor"],
        "rows": rows,
        "risen": {} if found.concept is None else dataclasses.asdict(found.concept) | {"alarms": len(found.concept.alarms)},
        "unwatched": found.unwatched,
        "looked": now,
        "next": now + took / _SHARE,
    }


def events(item: Monitor, judge: Judge, doc: dict[str, Any]) -> list[Event]:
    """Of the last windows that closed, told again each time: a correction changes one; and whether errors have risen."""
    lower, risen = judge.metric.sign < 0, doc.get("risen") or {}
    rose_ = [Event("errors", doc["looked"], value=float(risen["standing"]), why=rose(risen))] if risen else []
    return rose_ + [
        Event("quality", w["begun"] / 1e6, window=w["number"], value=w["value"], rows=w["rows"], lower=lower)
        for w in (doc.get("state") or told.begin())["windows"]
        if w["value"] is not None
    ]


def seen(item: Monitor, judge: Judge, doc: dict[str, Any]) -> Quality | None:
    """What is shown of it; None where no window has enough labels yet."""
    last = told.of(doc["state"]) if doc.get("state") else None
    if last is None or last.value is None:
        return None
    # By the floor as it stands now, which may be another than when the window was judged.
    below = under(judge, item.floor, last.value, last.low, last.high)
    return Quality(
        judge.metric.name,
        last.value,
        last.low,
        last.high,
        last.rows,
        bool(below),
        words(judge, item.floor, last) if below and item.floor is not None else "",
        doc.get("share"),
        bool(doc.get("cut")),
        rose(doc.get("risen") or {}),
        doc.get("unwatched", ""),
        maybe_rose(doc.get("risen") or {}),
    )
