"""The slices against the champion: on which rows is the candidate worse, though it may be better on the whole? Declared slices, and found ones."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.predicate import names
from sluice.core.section import Names
from sluice.gates.bar import between, number
from sluice.gates.facts import Judged
from sluice.gates.slices import Slice
from sluice.problems.config import MetricConfig, of_units

_SHOWN = 5


class SliceChampionConfig(MetricConfig):
    """How slices are compared with the champion's, and whether the worst of them are looked for."""

    find_slices: bool = Field(
        True,
        description="look for the rows on which the candidate is worst; what is looked through is paid for, so that looking refuses no good candidate",
        exclude_if=lambda on: on,
    )
    slice_margin: float | None = Field(
        None, ge=0, description="how much worse than the champion a slice may be; null: margin", exclude_if=lambda margin: margin is None
    )
    slice_support: int = Field(
        30,
        ge=10,
        description="held-out rows (units, where rows belong together) a slice needs to be compared with the champion's",
        exclude_if=lambda rows: rows == 30,
    )
    accept_slices: Annotated[dict[Slice, Annotated[str, Field(min_length=1)]], Names("held", read=names)] = Field(
        {},
        description="slices that may be worse than the champion's: an expression, and why",
        exclude_if=lambda accepted: not accepted,
    )


class SliceChampion(Check):
    """Refuses where a slice is worse than the champion's by more than the margin beyond doubt. Over all slices a candidate that is no worse on any is refused
    with probability (1 - confidence) / 2 at most (Holm's procedure): a wrong refusal costs a release, so it is these that are kept rare, and not the share of
    wrong ones among many, which Benjamini and Hochberg's would bound."""

    name, step, Config = "slice_champion", "evaluate", SliceChampionConfig
    then = "look at the slice's rows, {more} like them, or accept it with a reason (evaluate.accept_slices)"

    def judge(self, facts: Judged, config: SliceChampionConfig) -> Decision:
        """The decision of `decide`; ``slices_compared`` of `sluice.gates.found.compared`."""
        from sluice.gates.found import compared

        found = compared(facts, config)
        return decide(found) if found else Decision("pass")

    def section(self, decision: Decision) -> str:
        """Each slice's difference with its interval; without a champion the worst slices."""
        found = decision.evidence.get("slices_compared")
        return "" if not found else (_versus(found) if found["against"] == "champion" else _worst(found))


def decide(found: dict[str, Any]) -> Decision:
    """What the comparison of `sluice.gates.found.compared` says."""
    evidence = {"slices_compared": found}
    if found["against"] != "champion":
        worst = next((s for s in found["slices"] if s["verdict"] == "worse"), None)
        return Decision("pass", evidence=evidence, cautions=() if worst is None else (_caution(worst, found),))
    accepted = tuple(
        f"accepted by evaluate.accept_slices ({s['accepted']}): {_sentence(s, found)}"
        for s in found["slices"]
        if s["verdict"] == "accepted"
    )
    worse = sorted((s for s in found["slices"] if s["verdict"] == "worse"), key=lambda s: s["high"])
    if worse:
        said = [f"worse than the champion {_sentence(s, found)}" for s in worse[:_SHOWN]]
        more = [f"worse than the champion on {len(worse) - _SHOWN} more slices"] if len(worse) > _SHOWN else []
        setting = f"a slice that may be worse is accepted by evaluate.accept_slices: {{{worse[0]['slice']!r}: why}}"
        return Decision("refuse", (*said, *more, setting), evidence, accepted)
    declared = sum(s["declared"] for s in found["slices"])
    open_ = sum(s["declared"] and s["verdict"] == "cannot_tell" for s in found["slices"])
    told = f"none of {declared} declared slices is worse than the champion's beyond doubt"
    few = f", of {open_} it cannot be told" if open_ else ""
    return Decision("pass", (told + few,) if declared else (), evidence, accepted)


def _sentence(s: dict[str, Any], found: dict[str, Any]) -> str:
    among = f" (nobody declared it; the surest of {s['among']:,} that were looked through)" if s.get("among") else ""
    how = "" if s["declared"] else among or " (found on other rows, confirmed on these)"
    return (
        f"on the {s['rows']:,} rows{of_units(s)} where {s['slice']}{how}: {s['metric']} {number(s['candidate'])} against {number(s['champion'])}, "
        f"{abs(s['difference']):.4g} worse, {s['confidence']:.1%} interval {s['low']:+.4g} to {s['high']:+.4g}, margin {s['margin']:.4g}"
    )


def _caution(s: dict[str, Any], found: dict[str, Any]) -> str:
    return (
        f"the worst slice found: on the {s['rows']:,} rows{of_units(s)} where {s['slice']} {s['metric']} is {number(s['candidate'])} "
        f"({between(s['low'], s['high'])}), on all {number(s['whole'])} (found on one half of the held-out rows, confirmed on the other)"
    )


_VERDICTS = {
    "worse": '<b class="bad-text">worse</b>',
    "accepted": "accepted",
    "no_worse": "no worse",
    "cannot_tell": "cannot tell",
    "not_confirmed": "not confirmed",
    "better": "better",
}


def _versus(found: dict[str, Any]) -> str:
    from sluice.report import forest
    from sluice.report.tables import Html, table

    shown = [s for s in found["slices"] if s["difference"] is not None]
    if not found["slices"]:
        return ""
    order = sorted(shown, key=lambda s: (s["verdict"] not in ("worse", "accepted"), s["difference"]))[:20]
    items = [(s["slice"], s["difference"], s["low"], s["high"], s["verdict"] == "worse") for s in order]
    rows = [
        [
            s["slice"],
            "declared" if s["declared"] else "found",
            s["rows"],
            s["candidate"],
            s["champion"],
            Html(_VERDICTS[s["verdict"]]),
            s["why"],
        ]
        for s in found["slices"]
    ]
    worse = sum(s["verdict"] == "worse" for s in found["slices"])
    head = f"<h3>Slices against the champion{f': {worse} worse' if worse else ''}</h3>"
    note = f'<p class="note">{_note(found)}</p>'
    told = table(["slice", "", "rows", "candidate", "champion", "verdict", "why"], rows, (2, 3, 4))
    picture = forest.forest(items, f"{found['metric']}: candidate minus champion, more is better", -found["margin"])
    return head + picture + f"<details{' open' if worse else ''}><summary>{len(rows)} slices</summary>{told}</details>" + note


def _note(found: dict[str, Any]) -> str:
    note = (
        f"Refused where an interval lies beyond the margin ({found['margin']:g}). Intervals are widened for how many slices are compared (declared ones by Holm's procedure), "
        f"so that a candidate no worse on any is refused with probability {found['level']:.3g} at most."
    )
    looked = next((s["among"] for s in found["slices"] if s.get("among")), 0)
    if looked:
        more = f" Found slices are the surest of {looked:,}: their intervals hold for all of these together, by tosses of which model is wrong where one is."
    elif any(not s["declared"] for s in found["slices"]):
        more = " Found slices were found on one half of the rows and are judged on the other, in the order of how sure the first was."
    else:
        more = ""
    return note + more


def _worst(found: dict[str, Any]) -> str:
    from sluice.report.tables import table

    rows = [
        [
            s["slice"],
            s["rows"],
            s["candidate"],
            between(s["low"], s["high"]) if s["low"] is not None else "",
            s["whole"],
            _VERDICTS[s["verdict"]],
        ]
        for s in found["slices"]
    ]
    if not rows:
        return ""
    note = "Found on one half of the held-out rows, measured on the other."
    return f"<h3>Worst slices found</h3>{table(['slice', 'rows', found['metric'], 'interval', 'all rows', ''], rows, (1, 2, 4))}<p class='note'>{note}</p>"
