"""Why a model is not what it was: a broken source, a real shift, or another truth; which columns, which slices, since when, and beside what.

Read from the prediction log and the labels that came, in bounded memory. A diagnosis is plain JSON and ends in a sentence that says what to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import MissingExtra
from sluice.fields import field_of
from sluice.monitor import cbpe, losses, stream, timeline
from sluice.monitor.config import MonitorConfig
from sluice.monitor.drift import DriftMonitor
from sluice.monitor.faults import Cause, swapped_by_company
from sluice.monitor.labels import Coverage, joined
from sluice.monitor.log import PredictionLog
from sluice.monitor.quality import Judge, Labelled, by_window, measured
from sluice.monitor.sampled import Sample, causes
from sluice.monitor.telling import sentence
from sluice.monitor.timeline import Event
from sluice.monitor.verdict import Verdict

if TYPE_CHECKING:
    from sluice.package.package import Package


@dataclasses.dataclass(frozen=True)
class Moved:
    """A feature that moved.

    Attributes:
        feature: it; one of the model's answers is called as the monitor calls it. answer: whether it is one of these.
        since: microseconds since 1970, 0 where rows tell no time. row: of the log, where the first window that says so began. full: from which row all are so.
        score, limit: of the last window. alarm: whether an alarm stands.
    """

    feature: str
    answer: bool
    since: int
    row: int
    full: int
    score: float | None
    limit: float | None
    alarm: bool


def diagnose(
    profile: Mapping[str, Any],
    root: str | Path,
    model: str,
    *,
    version: str = "",
    config: MonitorConfig | None = None,
    judge: Judge | None = None,
    package: Package | None = None,
    events: Sequence[Event] = (),
) -> dict[str, Any]:
    """The diagnosis of a model as it serves now.

    Args:
        profile: of its training rows. root: of the log. model: its name there. version: of which; "": any.
        config: `monitor:`. judge: by what it is judged; None: labels are not looked at. package: asked for the importance of columns; None: not measured.
        events: from elsewhere, for the timeline.

    Returns:
        ``kind`` (``data fault``, ``concept drift``, ``shift``, ``worse``, ``healthy``, ``unknown``), ``sentence``, ``wrong`` (whether something is),
        ``rows``, ``windows``, ``features`` [..., ``cause``], ``quality``, ``slices``, ``importance``, ``labels``, ``estimate``, ``timeline``, ``cautions``.

    Raises:
        DataError: the log cannot be read.
    """
    config = config or MonitorConfig()
    verdicts, starts, total, faults = _drift(profile, root, model, version, config)
    cautions = [f"not read: {f}" for f in faults[:5]]
    moved = movers(verdicts, starts, set(profile["features"]))
    features = [m for m in moved if not m.answer]
    sample = _sample(profile, root, model, version, total)
    found = causes(sample, profile, {m.feature: (m.row, m.full) for m in features}) if features else {}
    labelled = _labelled(profile, root, model, version, config, judge, package, moved, cautions) if judge is not None else {}
    if not features and labelled.get("since_row_time"):
        found |= _by_company(sample, profile, labelled["since_row_time"])
    line = [*events, *timeline.served(b for b, _ in PredictionLog(root, model).read(columns=["time", "version"]))]
    out: dict[str, Any] = {
        "model": model,
        "version": version[:12],
        "rows": total,
        "windows": len(verdicts),
        "features": [_feature(m, found.get(m.feature)) for m in moved] + _swaps(found, features),
        **{k: labelled.get(k) for k in ("labels", "quality", "concept", "slices", "importance", "estimate")},
        "cautions": cautions,
    }
    out["kind"] = _kind(out, found, bool(total))
    out["wrong"] = out["kind"] not in ("healthy", "unknown")
    out["sentence"] = sentence(out, found, line)
    out["timeline"] = [e.to_dict() for e in sorted([*line, *_found(out, verdicts)])][-200:]
    return out


# -- drift -------------------------------------------------------------------------------------------


def _drift(
    profile: Mapping[str, Any], root: str | Path, model: str, version: str, config: MonitorConfig
) -> tuple[list[Verdict], list[int], int, list[str]]:
    """The verdicts of all windows, the row at which each begins, and the rows in all."""
    monitor, log = DriftMonitor(profile, config), PredictionLog(root, model, version=version)
    state, verdicts, rows, last = monitor.begin(), [], 0, None
    for batch, _ in log.read(columns=monitor.columns):
        state, new = monitor.feed(state, batch)
        verdicts += new
        rows, last = rows + batch.num_rows, batch
    if last is not None:
        state, new = monitor.feed(state, last.slice(0, 0), last=True)
        verdicts += new
    starts, at = [], 0
    for verdict in verdicts:
        starts.append(at)
        at += verdict.rows
    return verdicts, starts, rows, log.faults


def movers(verdicts: Sequence[Verdict], starts: Sequence[int], features: set[str]) -> list[Moved]:
    """What has moved and stayed so: parts whose alarm stands, or that moved in the last window and the one before; each feature once, the farthest first."""
    if not verdicts:
        return []
    standing = {a.feature for a in verdicts[-1].standing}
    now = [s for s in verdicts[-1].scores if s.moved and s.watched]
    before = {s.name for s in verdicts[-2].scores if s.moved} if len(verdicts) > 1 else set()
    chosen = [*dict.fromkeys([*(s.feature for s in now if s.feature in standing or s.name in before), *standing])]
    history = {f: [any(s.feature == f and s.moved and s.watched for s in v.scores) for v in verdicts] for f in chosen}
    out = []
    for feature in chosen:
        i = first = len(verdicts) - 1
        while i >= 0 and (history[feature][i] or (i > 0 and history[feature][i - 1]) or i == len(verdicts) - 1):  # a gap of one window
            first = i if history[feature][i] else first
            i -= 1
        lasts = first + 1 < len(verdicts)
        scores = [s for s in verdicts[-1].scores if s.feature == feature and s.score is not None]
        top = max(scores, key=lambda s: s.shift or 0.0, default=None)
        out.append(
            Moved(
                feature,
                feature not in features,
                _since(verdicts[first]),
                max(starts[first] - (verdicts[first - 1].rows if first else 0), 0) if first else 0,
                starts[first + 1] if lasts else starts[first],
                None if top is None else top.score,
                None if top is None else top.limit,
                feature in standing,
            )
        )
    return out


def _since(verdict: Verdict) -> int:
    from sluice.monitor.timeline import micros

    return micros(verdict.begun.replace("Z", "+00:00")) if verdict.begun else 0


def _sample(profile: Mapping[str, Any], root: str | Path, model: str, version: str, total: int) -> Sample:
    names = [n for n, f in profile["features"].items() if (k := field_of(f["kind"], n)).quantity or k.category]
    log = PredictionLog(root, model, version=version)
    return Sample.of((b for b, _ in log.read(columns=["time", "features"])), names, total)


def _by_company(sample: Sample, profile: Mapping[str, Any], since: int) -> dict[str, Cause]:
    """Numbers that changed places though each looks as before: where answers are worse and nothing has moved."""
    names = [n for n in sample.columns if field_of(profile["features"][n]["kind"], n).quantity][:100]
    if not names or not len(sample):
        return {}
    table = np.stack([sample.numbers(n) for n in names], axis=1)
    after = sample.times >= since
    out: dict[str, Cause] = {}
    for a, b in swapped_by_company(table[~after], table[after], names):
        for one, other in ((a, b), (b, a)):
            out[one] = Cause("swapped", True, f"goes with the other columns as {other} did: the two are swapped", 1.0, other)
    return out


# -- labels ------------------------------------------------------------------------------------------


def _labelled(
    profile: Mapping[str, Any],
    root: str | Path,
    model: str,
    version: str,
    config: MonitorConfig,
    judge: Judge,
    package: Package | None,
    moved: Sequence[Moved],
    cautions: list[str],
) -> dict[str, Any]:
    """What the labels that came say: quality by window, the stream of errors, slices, importance."""
    coverage, features = Coverage(), list(profile["features"])
    columns = ["time", "request_id", "row", "version", "probabilities", "value", "features"]
    rows = losses.Rows.of(judge, joined(root, model, version=version, columns=columns, coverage=coverage), features)
    cautions += [f"not read: {f}" for f in coverage.unread_labels[:5]]
    out: dict[str, Any] = {"labels": coverage.to_dict()}
    out["estimate"] = _estimate(root, model, version, judge, rows)
    if not len(rows):
        cautions.append("no row has a label yet: whether the answers are right is not known")
        return out
    plain = Labelled(rows.times, rows.told, rows.outputs, rows.targets)
    windows = by_window(judge, plain, config.quality, config.window)
    loss = losses.losses(judge, rows)
    assert loss is not None
    out["concept"], since = _concept(judge, rows, config, cautions)
    out["quality"] = {
        "metric": judge.metric.name,
        "better": judge.metric.better,
        "floor": config.quality.floor,
        "held_out": judge.held_out,
        "windows": [{**w.to_dict(), "begun": timeline.iso(w.begun), "ended": timeline.iso(w.ended)} for w in windows[-300:]],
        "below": bool(windows and windows[-1].below),
    }
    change = since or min((m.since for m in moved if m.since), default=0)
    if not change:
        return out
    after = rows.times >= change
    out["since_row_time"] = since
    for name, mask in (("before", ~after), ("after", after)):
        value, low, high = measured(judge, rows.outputs[mask], rows.targets[mask])
        out["quality"][name] = {"value": value, "low": low, "high": high, "rows": int(mask.sum())}
    quantities = {n: bool(field_of(f["kind"], n).quantity) for n, f in profile["features"].items()}
    out["slices"] = losses.slices(rows, loss, after, quantities)
    if package is not None:
        try:
            out["importance"] = losses.importance(package, judge, rows, after)
        except MissingExtra as e:
            cautions.append(f"importance was not measured: {e.message}")
    return out


def _concept(judge: Judge, rows: losses.Rows, config: MonitorConfig, cautions: list[str]) -> tuple[dict[str, Any] | None, int]:
    """What the stream of errors says, in the order in which labels were told, and when the first alarm that lasts began."""
    order = np.argsort(rows.told, kind="stable")
    errors = stream.Errors.of(judge, rows.outputs[order], np.asarray(rows.targets)[order], rows.times[order])
    found, why = stream.asked(errors, config.quality, judge.problem.classes)
    if found is None:
        cautions.append(why)
        return None, 0
    held = judge.held_out if judge.metric.name == "accuracy" else None
    if held is not None and held > found.before + 0.05 and not found.standing:
        cautions.append(
            f"the first {found.first} labelled rows were answered worse than the held-out ones: accuracy {found.before:.3g}, not {held:.3g}"
        )
    told = {k: v for k, v in dataclasses.asdict(found).items() if k != "first"}
    return {**told, "since": timeline.iso(found.since)}, found.since


def _estimate(root: str | Path, model: str, version: str, judge: Judge, rows: losses.Rows) -> dict[str, Any] | None:
    """Without labels: what the last answers' own confidence says."""
    if not judge.problem.classes:
        return None
    last: list[NDArray[np.float64]] = []
    for batch, _ in PredictionLog(root, model, version=version).read(columns=["probabilities"]):
        outputs = judge.outputs(batch)
        last.append(outputs[np.isfinite(outputs).all(axis=1)])
        while sum(map(len, last[1:])) >= 2000:
            last.pop(0)
    outputs = np.concatenate(last)[-2000:] if last else np.empty((0, len(judge.labels)))
    if len(outputs) < 50:
        return None
    first = min(len(rows), stream.REFERENCE[1])
    calibration = cbpe.Calibration.fit(rows.outputs[:first], np.asarray(rows.targets)[:first]) if first else cbpe.Calibration()
    found = cbpe.estimate(judge, outputs, calibration)[judge.metric.name]
    return {
        "metric": judge.metric.name,
        **found,
        "rows": len(outputs),
        "calibrated": calibration.how,
        "on": calibration.rows,
        "blind": cbpe.BLIND,
    }


# -- what it says ------------------------------------------------------------------------------------


def _feature(m: Moved, cause: Cause | None) -> dict[str, Any]:
    told = cause.to_dict() if cause else None
    return {**dataclasses.asdict(m), "since": timeline.iso(m.since), "cause": told}


def _swaps(found: Mapping[str, Cause], features: Sequence[Moved]) -> list[dict[str, Any]]:
    known = {m.feature for m in features}
    return [
        {
            "feature": n,
            "answer": False,
            "since": "",
            "row": 0,
            "full": 0,
            "score": None,
            "limit": None,
            "alarm": False,
            "cause": c.to_dict(),
        }
        for n, c in found.items()
        if n not in known
    ]


def _kind(out: Mapping[str, Any], found: Mapping[str, Cause], any_rows: bool) -> str:
    if any(c.fault for c in found.values()):
        return "data fault"
    moved = [f for f in out["features"] if not f["answer"]]
    concept = bool((out.get("concept") or {}).get("standing"))
    if moved:
        return "shift"
    if concept:
        return "concept drift"
    if (out.get("quality") or {}).get("below"):
        return "worse"
    if not any_rows or not out["windows"]:
        return "unknown"
    return "shift" if any(f["alarm"] for f in out["features"]) else "healthy"


def _found(out: Mapping[str, Any], verdicts: Sequence[Verdict]) -> list[Event]:
    """What was found, as events."""
    events = []
    for verdict in verdicts:
        at = _since(verdict)
        events += [Event(at, "drift", f"alarm: {a.text}"[:200]) for a in verdict.raised if at]
        events += [Event(at, "drift", f"over: {a.text}"[:200]) for a in verdict.ended_alarms if at]
    since = (out.get("concept") or {}).get("since")
    if since:
        events.append(Event(timeline.micros(since), "quality", "answers begin to be wrong more often"))
    return events
