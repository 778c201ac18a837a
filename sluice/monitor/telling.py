"""A diagnosis as one plain sentence: what is wrong, since when, what it did, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluice.monitor import timeline
from sluice.monitor.faults import Cause
from sluice.monitor.timeline import Event


def sentence(out: Mapping[str, Any], found: Mapping[str, Cause], events: Sequence[Event]) -> str:
    """What is wrong, since when, what it did, and what to do."""
    kind = out["kind"]
    if kind == "unknown":
        return "Nothing can be said yet: the log has too few rows for one window."
    effect, where = _effect(out), _where(out)
    if kind == "data fault":
        broken = list(dict.fromkeys(_told_once(found)))
        since = _when(out, events, {n for n, c in found.items() if c.fault})
        others = [f["feature"] for f in out["features"] if not f["answer"] and not (f["cause"] or {}).get("fault")]
        rest = f" Beside it {_listed(others)} moved, as {'a column' if len(others) == 1 else 'columns'} of real data may." if others else ""
        return (
            f"The data is broken{since}: {'; '.join(broken)}.{rest}{effect}{where} Mend where the data comes from, and train on no row since: the "
            "model is not to blame."
        )
    if kind == "shift":
        names = [f["feature"] for f in out["features"] if not f["answer"]]
        since = _when(out, events, set(names))
        if not names:
            return f"What the model answers has moved{since} though no feature has.{effect}{where} Look at labels when they come."
        said = "; ".join(f"{n} {found[n].text}" for n in names[:3] if n in found)
        more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
        harm = (out.get("concept") or {}).get("standing") or (out.get("quality") or {}).get("below")
        after = ((out.get("quality") or {}).get("after") or {}).get("rows") or 0
        act = (
            "Train again with the rows since."
            if harm
            else f"Answers are as good as they were, say {after:,} labelled rows: nothing has to be done but to go on watching."
            if after >= 100
            else "Train again once labels of these rows are there; nothing says so far that answers are worse."
        )
        return f"The data has really moved{since}: {said}{more}. No fault of the data explains it.{effect}{where} {act}"
    if kind == "concept drift":
        since = _when(out, events, set(), (out.get("concept") or {}).get("since", ""))
        return (
            f"The features are what they were, and answers are wrong more often{since}:{effect[:1]}{effect[1:2].lower()}{effect[2:].removesuffix('.')}.{where} What is "
            "true of the same rows has changed, or how they are labelled: check the labels, then train again with the rows since."
        )
    if kind == "worse":
        return (
            f"Nothing has moved, and quality is under its floor.{effect}{where} Train again, or set a floor that the held-out rows reach."
        )
    labels = (out.get("labels") or {}).get("labelled") or 0
    note = f" and {labels:,} labelled rows say that answers are as good as they were" if labels and out.get("concept") else ""
    return f"Nothing is wrong: {out['rows']:,} rows look as the training rows did{note}."


def _told_once(found: Mapping[str, Cause]) -> list[str]:
    """Faults as clauses; two columns that are swapped, once."""
    out, done = [], set()
    for name, cause in found.items():
        if not cause.fault or name in done:
            continue
        if cause.kind == "swapped":
            done.add(cause.other)
            part = "" if cause.share > 0.95 else f" in about {100 * cause.share:.0f} % of the rows"
            out.append(f"{name} and {cause.other} are swapped{part}")
        else:
            out.append(f"{name} {cause.text}")
    return out


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _when(out: Mapping[str, Any], events: Sequence[Event], names: set[str], since: str = "") -> str:
    times = [f["since"] for f in out["features"] if f["feature"] in names and f["since"]]
    at = since or min(times, default="") or (out.get("concept") or {}).get("since", "")
    if not at:
        return ""
    near = timeline.beside(events, timeline.micros(at))
    return f" since {at} UTC" + (f", {near}" if near else "")


def _effect(out: Mapping[str, Any]) -> str:
    quality = out.get("quality") or {}
    before, after = quality.get("before") or {}, quality.get("after") or {}
    if before.get("value") is not None and after.get("value") is not None:
        limits = f" ({after['low']:.3g} to {after['high']:.3g})" if after.get("low") is not None else ""
        return f" {quality['metric'].capitalize()} is {after['value']:.3g}{limits} since, it was {before['value']:.3g}."
    if quality.get("windows"):
        last = quality["windows"][-1]
        if last["value"] is not None:
            return f" {quality['metric'].capitalize()} of the last {last['rows']} labelled rows is {last['value']:.3g}."
    guess = out.get("estimate") or {}
    if guess.get("value") is not None:
        return f" No labels tell yet; by its own confidence the model's {guess['metric']} is about {guess['value']:.3g}."
    return ""


def _where(out: Mapping[str, Any]) -> str:
    told = out.get("slices") or {}
    if told.get("all_in"):
        return f" All of the loss is where {told['all_in']}."
    lost = [s["slice"] for s in told.get("lost") or ()][:2]
    return f" Most is lost where {' and where '.join(lost)}." if lost else ""
