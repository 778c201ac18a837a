"""Prompts: did every answer come, do the prompt's tests hold, and what was answered, beside what the champion answered."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged

if TYPE_CHECKING:
    from sluice.llm.asking import Reply
    from sluice.llm.evaluation import Evaluation

#: Items, and characters of each text, that the report shows.
_ITEMS, _TEXT = 40, 600
_REASONS = 5


class Prompts(Check):
    """Refuses where more answers than ``model.failures`` did not come, or a prompt test does not hold. Of other models it says nothing."""

    name, step, Config = "prompts", "evaluate", Section

    def judge(self, facts: Judged, config: Section) -> Decision:
        """``prompts``: what was asked and answered; see `told`."""
        if not facts.dataset.problem.asked_by:
            return Decision("pass")
        from sluice.llm.evaluation import asked

        model = facts.project.model
        ours = asked(facts.package, facts.dataset, "test", facts.project, facts.kept)
        other = facts.champion if not isinstance(facts.theirs, str) else None
        theirs = asked(other, facts.dataset, "test", facts.project, facts.kept) if other is not None else None
        found = told(ours, theirs, facts.dataset.sensitive)
        found["tests"] = _tests(facts)
        return decide(found, model.failures, facts.package)

    def section(self, decision: Decision) -> str:
        """Scores, cost and time; tests; answers side by side."""
        found = decision.evidence.get("prompts")
        return _drawn(found) if found else ""


def decide(found: dict[str, Any], failures: float, package: Any) -> Decision:
    """What was found, against what a project allows.

    Args:
        found: of `told`.
        failures: share of answers that may not come.
        package: the candidate's.
    """
    against, said, cautions = [], [], []
    share = found["failed"] / found["answers"]
    if share > failures:
        why = "; ".join(f"{n} x {w}" for w, n in found["failures"][:3])
        against.append(f"{found['failed']} of {found['answers']} answers did not come ({share:.1%}, model.failures {failures:g}): {why}")
    elif found["failed"]:
        cautions.append(f"{found['failed']} of {found['answers']} answers did not come, and count as wrong")
    for test in found["tests"] or ():
        if not test["holds"]:
            first = test["failed"][0] if test["failed"] else {"why": "", "answer": ""}
            against.append(
                f"prompt test {test['name']!r}: {test['passed']} of {test['of']} answers pass; {first['why']}: {first['answer'][:100]!r}"
            )
    model = package.provenance.get("model", {})
    if model.get("reported") and found["reported"] and found["reported"] != [model["reported"]]:
        cautions.append(f"the endpoint reports {', '.join(found['reported'])}, and the package was made with {model['reported']}")
    for scorer in found["scorers"]:
        if scorer["decides"] and scorer["more"].get("doubt"):
            cautions.append(f"the scorer {scorer['name']} decides, and {scorer['more']['doubt']}: its scores say little")
    if found["tests"]:
        said.append(f"{sum(t['holds'] for t in found['tests'])} of {len(found['tests'])} prompt tests hold")
    if found["unsupported"]:
        said.append(f"{found['unsupported']} answers claim what is not in their sources, each named in the report")
    said.append(f"{found['answers']} answers, {found['calls']} asked now and {found['kept']} kept from before; {found['tokens']:,} tokens")
    evidence = {"prompts": found}
    if against:
        shown = against[:_REASONS] + ([f"and {len(against) - _REASONS} more"] if len(against) > _REASONS else [])
        return Decision("refuse", tuple(shown), evidence, tuple(cautions))
    return Decision("pass", tuple(said), evidence, tuple(cautions))


def told(ours: Evaluation, theirs: Evaluation | None, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What was asked and answered, as plain JSON.

    Returns:
        ``answers``, ``failed``, ``failures`` [[why, how often]], ``invalid``, ``kept``, ``calls``, ``tokens``, ``cost``, ``seconds`` {p50, p95}, ``first_token``
        {p50, p95} or null, ``reported`` (models), ``samples``, ``unsupported``, ``scorers`` [{name, decides, mean, items, more}] and ``items`` [{id, values,
        expected, answer, score, why, theirs, their_score}]: those first whose score fell, then those that are wrong.
    """
    flat = ours.flat
    came = [r for r in flat if not r.failure]
    reasons: dict[str, int] = {}
    for r in flat:
        if r.failure:
            reasons[r.failure[:160]] = reasons.get(r.failure[:160], 0) + 1
    grounded = [s for n in ours.scores if n == "grounded" for each in ours.scores[n] for s in each]
    return {
        "answers": len(flat),
        "failed": len(flat) - len(came),
        "failures": sorted(reasons.items(), key=lambda kv: -kv[1])[:10],
        "invalid": sum(bool(r.fault) for r in came),
        "kept": sum(r.kept for r in flat),
        "calls": ours.calls,
        "tokens": sum(r.tokens for r in came),
        "cost": sum(r.cost for r in came),
        "seconds": _quantiles([r.seconds for r in came]),
        "first_token": _quantiles([r.first_token for r in came if r.first_token is not None]),
        "reported": sorted({r.model for r in came if r.model}),
        "samples": len(ours.replies[0]) if ours.replies else 0,
        "unsupported": sum(s.value is not None and s.value < 1 for s in grounded),
        "scorers": [_scorer(name, ours) for name in ours.scores],
        "items": _items(ours, theirs, secret),
    }


def _scorer(name: str, found: Evaluation) -> dict[str, Any]:
    values = [s.value for each in found.scores[name] for s in each if s.value is not None]
    more = {k: v for k, v in found.told.get(name, {}).items() if v is not None}
    return {
        "name": name,
        "decides": name in found.decide,
        "mean": float(np.mean(values)) if values else None,
        "items": len(values),
        "more": more,
    }


def _quantiles(values: list[float]) -> dict[str, float] | None:
    return {"p50": float(np.quantile(values, 0.5)), "p95": float(np.quantile(values, 0.95))} if values else None


def _items(ours: Evaluation, theirs: Evaluation | None, secret: frozenset[str]) -> list[dict[str, Any]]:
    mine = ours.matrix()[:, 0]
    other = theirs.matrix()[:, 0] if theirs is not None else np.full(len(mine), np.nan)
    fell = np.nan_to_num(other - mine, nan=0.0)
    order = np.lexsort((np.arange(len(mine)), np.nan_to_num(mine, nan=1.0), -fell))[:_ITEMS]
    return [_item(int(i), ours, theirs, float(mine[i]), float(other[i]), secret) for i in order]


def _item(i: int, ours: Evaluation, theirs: Evaluation | None, score: float, other: float, secret: frozenset[str]) -> dict[str, Any]:
    item, reply = ours.items[i], ours.replies[i][0]
    why = "; ".join(f"{n}: {s[i][0].why}" for n, s in ours.scores.items() if s[i][0].why)
    return {
        "id": item.id,
        "values": {k: "(sensitive)" if k in secret else str(v)[:_TEXT] for k, v in item.values.items()},
        "expected": item.expected[:_TEXT],
        "answer": _shown(reply),
        "score": None if np.isnan(score) else score,
        "why": why[:_TEXT],
        "theirs": None if theirs is None else _shown(theirs.replies[i][0]),
        "their_score": None if np.isnan(other) else other,
        "passages": [p.name for p in reply.passages],
    }


def _shown(reply: Reply) -> str:
    return f"(no answer: {reply.failure[:160]})" if reply.failure else reply.text[:_TEXT]


def _tests(facts: Judged) -> list[dict[str, Any]] | None:
    """What came of the prompt's tests; None where there are none."""
    named = facts.project.model.tests
    if named is None:
        return None
    from sluice.llm.asking import Asker
    from sluice.llm.cases import read_cases, run_cases
    from sluice.llm.package import PromptPackage

    asker = Asker(PromptPackage.open(facts.package.root), facts.kept)
    try:
        return [o.told() for o in run_cases(asker, read_cases((facts.project.base_dir or facts.package.root) / named))]
    finally:
        asker.close()


def _drawn(found: dict[str, Any]) -> str:
    from sluice.report import svg
    from sluice.report.tables import Html, table

    scorers = [[s["name"] + " (decides)" * s["decides"], s["mean"], s["items"], _more(s["more"])] for s in found["scorers"]]
    out = "<h3>Scores of the answers</h3>" + table(["scorer", "mean", "answers", ""], scorers, (1, 2))
    seconds, first = found["seconds"], found["first_token"]
    facts = [
        ("answers", found["answers"]),
        ("did not come", found["failed"]),
        ("not of the schema", found["invalid"]),
        ("tokens", found["tokens"]),
        ("cost", found["cost"]),
        ("seconds, half", seconds and seconds["p50"]),
        ("95 %", seconds and seconds["p95"]),
        ("first token, half", first and first["p50"]),
        ("answered by", ", ".join(found["reported"]) or "not said"),
    ]
    out += table([f[0] for f in facts], [[f[1] for f in facts]])
    if found["failures"]:
        out += f'<p class="note">{escape("; ".join(f"{n} x {why}" for why, n in found["failures"]))}</p>'
    if found["tests"]:
        rows = [
            [
                Html('<b class="ok-text">✔</b>' if t["holds"] else '<b class="bad-text">✘</b>'),
                t["name"],
                f"{t['passed']} of {t['of']}",
                Html("".join(f"<div>{escape(f['why'])}: <i>{escape(svg.cut(f['answer'], 200))}</i></div>" for f in t["failed"])),
            ]
            for t in found["tests"]
        ]
        out += "<h3>Prompt tests</h3>" + table(["", "test", "answers that pass", "such as"], rows)
    return out + _side_by_side(found["items"])


def _more(more: dict[str, Any]) -> str:
    from sluice.report import svg

    return ", ".join(f"{k} {svg.number(v) if isinstance(v, int | float) else v}" for k, v in more.items())


def _side_by_side(items: list[dict[str, Any]]) -> str:
    from sluice.report import svg
    from sluice.report.tables import Html, table

    against = any(i["theirs"] is not None for i in items)
    rows = []
    for i in items:
        asked = "; ".join(f"{k}: {v}" for k, v in i["values"].items()) if len(i["values"]) > 1 else next(iter(i["values"].values()), "")
        why = f'<div class="note">{escape(i["why"])}</div>' if i["why"] and (i["score"] is None or i["score"] < 1) else ""
        row = [svg.cut(asked, 300), svg.cut(i["expected"], 200), Html(_marked(i["answer"], i["score"]) + why)]
        rows.append(row + ([Html(_marked(i["theirs"] or "", i["their_score"]))] if against else []))
    head = ["asked", "expected", "candidate answered", *(["champion answered"] if against else [])]
    note = "the items first whose score fell most, then those that are wrong" if against else "the items with the lowest scores first"
    return f"<h3>Answers{', side by side' if against else ''}</h3>" + table(head, rows) + f'<p class="note">{len(items)} items: {note}</p>'


def _marked(text: str, score: float | None) -> str:
    from sluice.report import svg

    css = "" if score is None else "ok-text" if score >= 1 else "bad-text" if score <= 0 else "warn-text"
    sign = "" if score is None else f' <b class="{css}">{svg.number(score)}</b>'
    return f"{escape(svg.cut(text, 300))}{sign}"
