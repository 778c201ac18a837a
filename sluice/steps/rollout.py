"""The step `rollout`: let the candidate into traffic as far as the evidence allows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, ClassVar

from sluice.steps.step import SMALL, Evidence, Step


class Rollout(Step):
    """Let the candidate into traffic as far as the evidence allows."""

    name, title, after = "rollout", "Rollout", "register"
    bounds = {"resources": {"requests": SMALL, "limits": {"cpu": "2", "memory": "4Gi"}}, "timeout": "24h"}
    component = "components.rollout.component:rollout"
    gives: ClassVar = {}

    def section(self, e: Evidence) -> str:
        """Traffic over time, the evidence of the last step, the load."""
        from sluice.report import svg
        from sluice.report.tables import table

        if e.get("unchanged"):
            return '<p class="note">The candidate is the champion, byte for byte.</p>'
        timeline = e.get("timeline") or []
        out = ""
        if len(timeline) > 1:
            end = float(timeline[-1]["t"])
            plot = svg.Plot((0, max(end, 0.1)), (0, 105), width=940, height=200, right=70).axes("seconds", "% to the candidate")
            before, free = "", 0.0
            for at in timeline:
                if at["phase"] != before:
                    x = plot.px(float(at["t"]))
                    plot.rule(x=float(at["t"]), text=str(at["phase"]) if x >= free else "")
                    free = max(free, x + 6.2 * len(str(at["phase"])) + 8)
                    before = at["phase"]
            plot.line([(float(p["t"]), float(p.get("weight") or 0)) for p in timeline], svg.COLOURS[0], step=True)
            out += plot.wide("traffic to the candidate over time")
            out += _arms(timeline) + _tests(timeline)
        load = e.get("load") or {}
        if load:
            rows: list[list[Any]] = [
                ["requests sent", load.get("sent")],
                ["failed", load.get("failed")],
                ["p50", f"{svg.number(load.get('p50_ms'), 3)}\u00a0ms"],
                ["p99", f"{svg.number(load.get('p99_ms'), 3)}\u00a0ms"],
            ]
            if load.get("rate"):
                rows.append(["requests a second at the end", load["rate"]])
            if (e.get("machine") or {}).get("limited"):
                rows.append(["the machine was the limit", f"{e['machine']['limited']:.0f} s: {e['machine']['limit']}"])
            rows += [[f"answered by {arm}", n] for arm, n in (load.get("by_arm") or {}).items() if isinstance(n, int)]
            out += "<h3>Replayed load, counted by the client</h3>" + table([r[0] for r in rows], [[r[1] for r in rows]])
        if e.get("said"):
            out += f"<h3>The last lines the candidate wrote</h3><pre>{escape(str(e['said']))}</pre>"
        return out or '<p class="note">No traffic was needed: nothing was serving yet.</p>'


def _arms(timeline: Sequence[Evidence]) -> str:
    from sluice.report.tables import table

    last: dict[str, Evidence] = {}
    for at in timeline:
        for arm, counts in (at.get("arms") or {}).items():
            last[arm] = counts
    names = ["requests", "errors", "slow", "wrong"]
    rows = [[arm, *(c.get(n, 0) for n in names)] for arm, c in last.items()]
    return "<h3>Evidence in the last step</h3>" + table(["arm", *names], rows, range(1, len(names) + 1)) if rows else ""


def _tests(timeline: Sequence[Evidence]) -> str:
    from sluice.report.tables import table

    tests: list[Evidence] = next((at["tests"] for at in reversed(timeline) if at.get("tests")), [])
    rows = [
        [
            t.get("metric", t.get("name", "")),
            t.get("unit", ""),
            t.get("verdict", ""),
            t.get("low"),
            t.get("high"),
            t.get("margin"),
            t.get("text", t.get("reason", "")),
        ]
        for t in tests
    ]
    return (
        "<h3>Tests at the last judgement</h3>" + table(["metric", "by", "verdict", "low", "high", "margin", ""], rows, (3, 4, 5))
        if rows
        else ""
    )
