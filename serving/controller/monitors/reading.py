"""Reading on in a prediction log: what came since, window by window, against the profile of the model's training rows."""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from serving.controller.monitors import quality
from serving.controller.monitors.reference import NoReference, judge_of, profile_of
from serving.controller.monitors.resource import Monitor
from serving.controller.monitors.seen import Quality, Seen, Watched
from sluice.core.errors import SluiceError
from sluice.monitor.log import PredictionLog
from sluice.monitor.retrain import Event
from sluice.monitor.verdict import Verdict
from sluice.stats.distinct import Distinct

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.monitor.drift import DriftMonitor
    from sluice.monitor.quality import Judge

FORMAT = 1
#: Seconds after which a look ends and the next goes on; profiles that are held.
_PATIENCE, _HELD = 20.0, 16
#: Features of which the last scores are remembered.
_SCORES = 200


class LogReader:
    """Reads logs, holding nothing but profiles: all that was read is in the memory that goes from look to look."""

    def __init__(self, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._monitors: OrderedDict[tuple[str, str], DriftMonitor] = OrderedDict()
        self._judges: OrderedDict[tuple[str, str | None], Judge] = OrderedDict()

    def __call__(self, item: Monitor, model: Watched, memory: bytes | None) -> Seen:
        """One look. See `Reader`."""
        monitor = self._monitor(item, model)
        doc: dict[str, Any] = orjson.loads(memory) if memory else {"format": FORMAT}
        state = doc.get("drift")
        # Other windows or thresholds begin to count anew; what has been read is not read again.
        anew = state is None or state["reference"] != monitor.reference
        if state is None or anew:
            state = monitor.begin()
        before, begun, read = int(doc.get("rows", 0)), time.monotonic(), 0
        verdicts: list[Verdict] = []
        log = PredictionLog(item.log, item.model, version=model.version)
        cursor, newest, ended = doc.get("cursor"), doc.get("newest"), True
        for batch, at in log.read(cursor, columns=monitor.columns, most=item.most):
            state, found = monitor.feed(state, batch)
            verdicts += found
            cursor, read, newest = at, read + batch.num_rows, _newest(batch, newest)
            if read >= item.most or time.monotonic() - begun > _PATIENCE:
                ended = False
                break
        else:
            cursor = log.cursor
        doc |= {"cursor": cursor, "drift": state, "rows": before + read, "newest": newest}
        doc["labels"], late = self._labels(item, dict(doc.get("labels") or {}), begun)
        ended, faults = ended and not late, (*log.faults, *doc["labels"].pop("faults"))
        doc["quality"], told, judged, unjudged = self._quality(item, model, doc, dict(doc.get("quality") or {}), ended)
        doc["windows"] = int(doc.get("windows", 0)) + len(verdicts)
        if verdicts or anew:
            doc["last"] = _last(verdicts[-1] if verdicts else None)
        more = not ended or bool(doc["quality"].get("more"))
        seen = self._seen(doc, verdicts, anew, more, faults)
        return dataclasses.replace(seen, events=(*seen.events, *told), quality=judged, unjudged=unjudged)

    def _quality(
        self, item: Monitor, model: Watched, doc: dict[str, Any], known: dict[str, Any], ended: bool
    ) -> tuple[dict[str, Any], list[Event], Quality | None, str]:
        """What is known of quality, events of its windows, what is shown, and why it cannot be judged; drift is watched all the same."""
        if not doc["labels"]["count"]:
            return known, [], None, ""
        try:
            judge = self._judge(item, model)
            if ended and quality.due(known, doc["labels"], doc["rows"], self._clock()):
                read = (doc["rows"], doc["newest"])
                known = quality.look(item, model, judge, known, doc["labels"], read, self._clock())
        except NoReference:
            raise
        except SluiceError as why:
            if "log" in (why.field or ""):
                raise
            return known, [], None, str(why)
        return known, quality.events(item, judge, known), quality.seen(item, judge, known), ""

    def _judge(self, item: Monitor, model: Watched) -> Judge:
        key = (model.digest, item.watch.quality.metric)
        if key not in self._judges:
            self._judges[key] = judge_of(model, self._monitor(item, model).profile, item.watch.quality.metric)
            while len(self._judges) > _HELD:
                self._judges.popitem(last=False)
        return self._judges[key]

    def _labels(self, item: Monitor, doc: dict[str, Any], begun: float) -> tuple[dict[str, Any], bool]:
        """How many rows are labelled, those told again once; whether there are more to be read at once."""
        log = PredictionLog(item.labels or item.log, item.model, what="feedback")
        different, late = Distinct(doc.get("different", "")), False
        cursor = doc.get("cursor")
        for batch, at in log.read(cursor, columns=("time", "request_id", "row", "label"), most=item.most):
            names = set(batch.schema.names)
            told = batch.filter(batch.column("label").is_valid()) if {"label", "request_id"} <= names else batch.slice(0, 0)
            rows = told.column("row").to_pylist() if "row" in names else [0] * told.num_rows
            keys = told.column("request_id").to_pylist() if told.num_rows else []
            different.take(f"{key}/{row or 0}" for key, row in zip(keys, rows, strict=True) if key is not None)
            cursor, doc["newest"] = at, _newest(told, doc.get("newest"))
            if late := time.monotonic() - begun > 2 * _PATIENCE:
                break
        else:
            cursor = log.cursor
        return {**doc, "cursor": cursor, "different": different.packed, "count": different.count, "faults": log.faults}, late

    def _seen(self, doc: dict[str, Any], verdicts: list[Verdict], anew: bool, more: bool, faults: tuple[str, ...]) -> Seen:
        last = doc["last"]
        return Seen(
            memory=orjson.dumps(doc, option=orjson.OPT_SORT_KEYS),
            looked=self._clock(),
            events=(*_events(verdicts, self._clock()), Event("rows", self._clock(), value=doc["labels"]["count"])),
            rows=doc["rows"],
            windows=doc["windows"],
            labelled=doc["labels"]["count"],
            newest=doc["newest"],
            newest_label=doc["labels"].get("newest"),
            more=more,
            anew=anew,
            drift=last["score"],
            feature=last["feature"],
            scores={k: (method, score) for k, method, score in last["scores"]},
            alarms=tuple((_moment(v.ended, self._clock()), a.text) for v in verdicts for a in v.raised),
            drifted=last["drifted"],
            faults=faults,
        )

    def _monitor(self, item: Monitor, model: Watched) -> DriftMonitor:
        # Arrow takes 60 MB, which a controller without a monitor need not have.
        from sluice.monitor.drift import DriftMonitor

        key = (model.digest, item.watch.model_dump_json(exclude={"retrain"}))
        if key not in self._monitors:
            self._monitors[key] = DriftMonitor(profile_of(model), item.watch)
            while len(self._monitors) > _HELD:
                self._monitors.popitem(last=False)
        self._monitors.move_to_end(key)
        return self._monitors[key]


def _last(verdict: Verdict | None) -> dict[str, Any]:
    """What is told of the last window until another closes."""
    if verdict is None:
        return {"score": None, "feature": "", "scores": [], "drifted": ""}
    told = [[s.name, s.method, s.shift] for s in verdict.scores if s.shift is not None][:_SCORES]
    watched = [s for s in verdict.scores if s.watched and s.shift is not None]
    standing = [a.text for a in verdict.standing]
    more = f"; and {len(standing) - 3} more" if len(standing) > 3 else ""
    return {
        "score": verdict.score,
        "feature": max(watched, key=lambda s: s.shift or 0.0).name if watched else "",
        "scores": told,
        "drifted": "; ".join(standing[:3]) + more,
    }


def _events(verdicts: Iterable[Verdict], now: float) -> Iterable[Event]:
    for v in verdicts:
        if v.score is not None:
            yield Event("drift", _moment(v.begun, now), window=v.window, value=v.score, rows=v.rows)


def _moment(text: str, now: float) -> float:
    """Seconds since the epoch; rows that tell no time are of now."""
    return datetime.fromisoformat(text).astimezone(UTC).timestamp() if text else now


def _newest(batch: pa.RecordBatch, before: float | None) -> float | None:
    import pyarrow.compute as pc

    if "time" not in batch.schema.names:
        return before
    found = pc.max(batch.column("time")).as_py()
    at = found.timestamp() if isinstance(found, datetime) else None
    return before if at is None else at if before is None else max(before, at)
