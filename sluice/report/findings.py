"""What a run found, in sentences: the first thing that is read of its report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from sluice.core.gate import Gate
from sluice.report import svg
from sluice.report.words import first_explained
from sluice.steps import step as steps

Evidence = Mapping[str, Any]
#: Sentences of one kind, columns that are named, and characters of a name.
_FEW, _COLUMNS, _NAME = 3, 3, 60


def findings(outcome: Evidence, gates: Sequence[Gate], champion: str = "") -> str:
    """A list of sentences; those that need a person first.

    Args:
        champion: the address of the champion's report, or "".
    """
    found = [*_decisions(outcome, gates)]
    by = {g.step: g.evidence for g in gates}
    for tell in (_measured, _champion, _floor, _slices, _labels, _importance, _errors):
        # A log may have left parts of the evidence out: then a sentence less is said.
        with contextlib.suppress(KeyError, TypeError, IndexError, ValueError, AttributeError):
            found += list(_of(tell, by.get("evaluate", {}), champion))
    if not found:
        return ""
    items = "".join(f'<li class="{kind}">{said}</li>' for kind, said in found)
    return f'<section class="findings"><h2>Findings</h2><ul>{items}</ul></section>'


def _of(tell: Callable[..., Iterator[tuple[str, str]]], e: Evidence, champion: str) -> Iterator[tuple[str, str]]:
    if e:
        yield from (tell(e, champion) if tell is _champion else tell(e))


def _decisions(outcome: Evidence, gates: Sequence[Gate]) -> Iterator[tuple[str, str]]:
    word = str(outcome.get("outcome", ""))
    version = f" as version {outcome['version']}" if outcome.get("version") else ""
    if word == "promoted":
        yield "ok", escape(f"Promoted: it serves{version}.")
    elif word == "rolled_back":
        yield "no", escape(f"Rolled back: it was registered{version} and does not serve.")
    for gate in gates:
        if gate.decision != "pass" and not (word == "rolled_back" and gate.step == "rollout"):
            reasons = "; ".join(svg.cut(r, 300) for r in gate.reasons[:_FEW])
            asked = "refused" if gate.decision == "refuse" else "is inconclusive"
            yield ("no" if gate.decision == "refuse" else "maybe"), f"{_link(gate.step, steps.title(gate))} {asked}: {escape(reasons)}"


def _measured(e: Evidence) -> Iterator[tuple[str, str]]:
    found = e["evaluation"]
    sure = f"{found['confidence']:.0%} " if isinstance(found.get("confidence"), float) else ""
    limits = f" ({sure}interval {svg.between(found['low'], found['high'])})" if found.get("low") is not None else ""
    yield (
        "",
        first_explained(
            f"{found['metric']} {svg.number(found['value'])}{limits} on {found['rows']:,} {found.get('counted', 'held-out rows')}."
        ),
    )


def _champion(e: Evidence, champion: str) -> Iterator[tuple[str, str]]:
    link = f' <a href="{escape(champion, quote=True)}">The champion\'s report</a>' if champion else ""
    found = e.get("comparison")
    if not found or found.get("difference") is None:
        if link:
            yield "", link.strip()
        return
    verdict = str(found["verdict"]).replace("_", " ")
    limits = f" ({svg.signed(found['low'])} to {svg.signed(found['high'])})" if found.get("low") is not None else ""
    yield (
        ("no" if verdict == "worse" else ""),
        escape(f"Against the champion, on the same rows: {verdict}, {svg.signed(found['difference'])}{limits}.") + link,
    )


def _floor(e: Evidence) -> Iterator[tuple[str, str]]:
    found = e["floor"]
    if found and found.get("verdict") == "better" and found.get("said"):
        yield "", escape(f"{found['said'][:1].upper()}{found['said'][1:]}.")
    if found and found.get("ahead"):
        yield "maybe", escape(f"A simple model does better: {found['ahead']}.")


def _slices(e: Evidence) -> Iterator[tuple[str, str]]:
    for s in [s for s in e["evaluation"].get("slices") or () if s.get("ok") is False][:_FEW]:
        value = f"{svg.number(s['metric'])} on {s['rows']:,} rows"
        yield "no", escape(f"Weak where {_short(s['column'])} is {_short(s['value'])}: {e['evaluation']['metric']} {value}.")


def _labels(e: Evidence) -> Iterator[tuple[str, str]]:
    found = [r for r in e["evaluation"].get("per_label") or () if r.get("support") and r.get("f1") is not None]
    if len(found) > 1:
        worst = min(found, key=lambda r: r["f1"])
        if worst["f1"] < 0.999:
            yield (
                "",
                escape(f"The weakest label is {_short(worst['label'])}: F1 {svg.number(worst['f1'], 3)} on {worst['support']:,} rows."),
            )
    matrix = e["evaluation"].get("confusion")
    if matrix:
        labels, counts = matrix["labels"], matrix["matrix"]
        n, i, j = max(((counts[i][j], -i, -j) for i in range(len(labels)) for j in range(len(labels)) if i != j), default=(0, 0, 0))
        if n:
            said = f"Taken for another most often: {_short(labels[-i])} for {_short(labels[-j])}, {n:,} of {sum(counts[-i]):,} rows."
            yield "", escape(said)


def _importance(e: Evidence) -> Iterator[tuple[str, str]]:
    columns = [c for c in e["importance"]["columns"] if c["value"] > 0 and (c.get("low") is None or c["low"] > 0)]
    if columns:
        names = ", ".join(_short(c["column"]) for c in columns[:_COLUMNS])
        yield "", escape(f"What its answers hang on most: {names}.")


def _errors(e: Evidence) -> Iterator[tuple[str, str]]:
    found = e.get("mistakes") or {}
    if found.get("rows"):
        yield "", f"{_link('mistakes', 'Example errors')}: the {len(found['rows'])} worst held-out rows with their inputs."
    elif any(r["answer"] != r["label"] for r in e.get("highlights") or ()):
        yield "", f"{_link('highlights', 'Example errors')}: the surest wrong answers with their inputs."


def _link(step: str, words: str) -> str:
    return f'<a href="#{escape(step, quote=True)}">{escape(words)}</a>'


def _short(name: Any) -> str:
    text = str(name)
    return repr(text if len(text) <= _NAME else text[: _NAME - 1] + "…")
