"""Two packages on the same held-out rows: what a candidate is compared with runs from its package, as it does in production."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sluice.gates.bar import number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    from sluice.gates.theirs import Theirs
    from sluice.problems.comparison import Before


def against(theirs: Theirs | str, facts: Judged, config: MetricConfig, before: Before) -> tuple[dict[str, Any] | None, str]:
    """The candidate and another package on the same rows.

    Args:
        theirs: what the other answers, or why nothing.
        facts: of the candidate.
        config: margin and confidence.
        before: what went before.

    Returns:
        Of `sluice.problems.comparison.compare`, with ``champion_digest``, the other's; or None, and why nothing was compared.
    """
    from sluice.problems.comparison import compare

    if isinstance(theirs, str):
        return None, theirs
    result = compare(
        facts.outputs,
        theirs.outputs,
        facts.targets,
        facts.labels,
        theirs.labels,
        config,
        rule=facts.package.rule,
        champion_rule=theirs.rule,
        positive=facts.positive,
        asked=facts.dataset.problem,
        units=facts.units,
        before=before,
    )
    return {**result, "champion_digest": theirs.digest}, ""


def sentence(c: dict[str, Any]) -> str:
    """What was found, with the numbers that decided."""
    note = f" ({c['note']})" if c["note"] else ""
    if c["difference"] is None:
        return f"{c['metric']} cannot be compared on {c['rows']} shared rows{of_units(c)}{note}"
    limits = f", {c['confidence']:.0%} interval {c['low']:+.4g} to {c['high']:+.4g}" if c["low"] is not None else ""
    return (
        f"{c['metric']} {number(c['candidate'])} against {number(c['champion'])}, {_gain(c)}{limits}, "
        f"margin {c['margin']:.4g}, on {c['rows']} rows{of_units(c)}{note}"
    )


def paid(c: dict[str, Any]) -> str:
    """At which error level a candidate is refused, and why it is larger than the project's."""
    if c.get("level") is None:
        return ""
    n, times = c.get("refused", 0), math.exp(c.get("decline", 0.0))
    why = [f"after {n} refused in a row"] if n else []
    why += [f"since what was compared with it before is {times:.3g} times likelier of models in decline"] if times >= 2 else []
    without = ", without a margin" if c["level"] > (1 - c["confidence"]) / 2 else ""
    look = ", and it has to look better" if c["level"] > 0.5 else ""
    return (
        f"; of candidates as good as it {100 * c['level']:.3g}% are refused at most{' ' if why else ''}{' and '.join(why)}{without}{look}"
    )


def resolution(c: dict[str, Any]) -> str:
    """What difference these rows can show, and how many the margin needs."""
    if c["low"] is None or not c["high"] > c["low"]:
        return ""
    from sluice.gates.floor import rounded_up

    half, needed = (c["high"] - c["low"]) / 2, c.get("margin_needs")
    more = f", the margin needs about {rounded_up(needed):,}" if needed and needed > c.get("units", c["rows"]) else ""
    return f"; so many {'units' if c.get('unit') else 'rows'} show a difference from about {half:.2g} on{more}"


def drawn(title: str, c: dict[str, Any], other: str = "champion") -> str:
    """The difference and its interval against the margin, what it takes, and at which error level it is judged."""
    from html import escape

    from sluice.gates.floor import rounded_up
    from sluice.report import svg

    out = f"<h3>{escape(title)}</h3>"
    if None not in (c["difference"], c["low"], c["high"]):
        out += svg.difference(c["difference"], c["low"], c["high"], c["margin"], other)
    out += f'<p class="note">{escape(str(c["verdict"]).replace("_", " "))}: {svg.number(c["difference"])} ({svg.between(c["low"], c["high"])})</p>'
    what = "units" if c.get("unit") else "rows"
    notes = []
    if c.get("margin_needs"):
        notes.append(
            f"a margin of {svg.number(c['margin'])} needs about {rounded_up(c['margin_needs']):,} {what}; these are {c.get('units', c['rows']):,}"
        )
    notes += [paid(c).removeprefix("; ")] if c.get("level") is not None else []
    return out + (f'<p class="note">{escape("; ".join(notes))}</p>' if notes else "")


def _gain(c: dict[str, Any]) -> str:
    d = c["difference"]
    return "equal" if d == 0 else f"{'better' if d > 0 else 'worse'} by {abs(d):.4g}"
