"""Whole pages: a step's own report, and the report of a run. One file, nothing loaded from anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from html import escape
from typing import Any

from sluice import __version__
from sluice.core.gate import Gate
from sluice.project import Project
from sluice.report import svg, words
from sluice.report.findings import findings
from sluice.report.style import CSS
from sluice.steps import step as steps

_WORD = {"pass": "ok", "refuse": "no", "inconclusive": "maybe"}


#: Nothing is loaded and nothing runs in a report, whatever text got into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def document(title: str, body: str) -> str:
    """A whole page around `body`, HTML already; it loads nothing and runs nothing."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>{body}{words.note(body)}"
        f'<p class="note">Sluice {__version__}</p></main></body></html>'
    )


def section(gate: Gate) -> str:
    """A step's section, with its decision and reasons."""
    reasons = "".join(f"<li>{words.coded(r)}</li>" for r in gate.reasons)
    body = steps.section(gate)
    return (
        f'<section id="{gate.step}"><h2>{escape(steps.title(gate))}{_badge(gate.decision)}'
        f'<span class="note">{gate.seconds:.1f} s</span></h2>{f"<ul class=reasons>{reasons}</ul>" if reasons else ""}{body}</section>'
    )


def section_or_note(gate: Gate) -> str:
    """A step's section; without its pictures where the evidence came through a log that left out what they are drawn from."""
    try:
        return section(gate)
    except (KeyError, TypeError, IndexError):
        reasons = "".join(f"<li>{words.coded(r)}</li>" for r in gate.reasons)
        return (
            f'<section id="{gate.step}"><h2>{escape(steps.title(gate))}{_badge(gate.decision)}</h2>'
            f'<ul class=reasons>{reasons}</ul><p class="note">the rest of its evidence is in the step\'s own report</p></section>'
        )


def _badge(word: str) -> str:
    return f'<span class="badge {escape(word, quote=True)}">{escape(word.replace("_", " "))}</span>'


def step_page(gate: Gate) -> str:
    """The HTML artifact of one step."""
    return document(f"{steps.title(gate)}: {gate.decision}", section(gate))


def run_page(project: Project, outcome: dict[str, Any], gates: list[Gate], champion: str = "") -> str:
    """The report of a run: what came out, the numbers that matter, every gate's evidence.

    Args:
        champion: the address of the report of the model it was compared with, seen from this one; "" where there is none.
    """
    word = str(outcome["outcome"])
    head = (
        f"<header><h1>{escape(project.name)}</h1>{_badge(word)}"
        f'<div class="sub">{escape(outcome["run"])} · {outcome["seconds"]:.0f} s · task {escape(project.task)}{_retried(outcome)}</div></header>'
    )
    return document(
        f"{project.name}: {word}",
        head
        + _why(outcome)
        + findings(outcome, gates, champion)
        + _cautions(outcome)
        + key_figures(gates)
        + strip(outcome, gates)
        + "".join(map(section, reversed(gates))),
    )


def _retried(outcome: dict[str, Any]) -> str:
    if "retry_of" not in outcome:
        return ""
    return f" · the rollout of {escape(outcome['retry_of'] or 'an earlier run')} again, nothing was trained"


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url, quote=True)}">{escape(text)}</a>' if url else escape(text)


def cluster_page(outcome: dict[str, Any], gates: list[Gate], tail: Sequence[str] = (), unread: Sequence[str] = ()) -> str:
    """The report of a run on a cluster, from what its steps' logs tell.

    Args:
        outcome: with `url`, its page, or none where nobody said where that is.
        gates: the decisions that were read.
        tail: the last lines of the step that failed.
        unread: what could not be read.
    """
    word, name = str(outcome["outcome"]), str(outcome["project"])
    link = _link(str(outcome.get("url") or ""), str(outcome.get("name") or outcome["run"]))
    head = f'<header><h1>{escape(name)}</h1>{_badge(word)}<div class="sub">{link} · {outcome["seconds"]:.0f} s</div></header>'
    why, tiles = "" if word == "running" else _why(outcome), ""
    if tail:
        why += f"<section><h2>Its last lines</h2><pre>{escape(chr(10).join(svg.cut(line, 500) for line in tail))}</pre></section>"
    said = [u for u in unread if u not in (outcome.get("reasons") or ())]
    if said:
        why += f"<section><h2>Not in this report</h2><ul>{''.join(f'<li>{escape(u)}</li>' for u in said)}</ul></section>"
    with contextlib.suppress(KeyError, TypeError):  # evidence a log left out
        tiles = key_figures(gates)
    said_first = why + findings(outcome, gates) + _cautions(outcome)
    return document(f"{name}: {word}", head + said_first + tiles + strip(outcome, gates) + "".join(map(section_or_note, reversed(gates))))


def plain_page(name: str, outcome: dict[str, Any], note: str) -> str:
    """The outcome without pictures."""
    reasons = "".join(f"<li>{escape(str(r))}</li>" for r in outcome.get("reasons", ()))
    return document(name, f"<h1>{escape(name)}: {escape(str(outcome['outcome']))}</h1><ul>{reasons}</ul><p>{escape(note)}</p>")


def strip(outcome: dict[str, Any], gates: list[Gate], *, links: bool = True) -> str:
    """A box a step; with `links` to its section of the page."""
    by = {g.step: g for g in gates}
    failed = (outcome.get("error") or {}).get("step")
    silent = {"SUCCEEDED": "done, not read", "RUNNING": "still running"}
    boxes = []
    for step, title in _boxes(gates):
        gate = by.get(step)
        css = _WORD.get(gate.decision, "skip") if gate else "no" if step == failed else "skip"
        other = "failed" if step == failed else silent.get((outcome.get("states") or {}).get(step, ""), "not reached")
        text = f"{escape(gate.decision)} · {gate.seconds:.1f} s" if gate else other
        inside = f"<b>{escape(title)}</b><span>{text}</span>"
        boxes.append(f'<a class="step {css}" href="#{step}">{inside}</a>' if links else f'<div class="step {css}">{inside}</div>')
    return f'<div class="steps">{"".join(boxes)}</div>'


def _boxes(gates: list[Gate]) -> list[tuple[str, str]]:
    """Name and title of every step there is and of those of the project's own that ran, in order."""
    ran = {g.step: g for g in gates}
    every = steps.in_order({name: ran.get(name) or Gate(name, "pass") for name in dict.fromkeys((*steps.NAMES, *ran))})
    return [(g.step, steps.title(g)) for g in every]


def _why(outcome: dict[str, Any]) -> str:
    if outcome["outcome"] == "promoted":
        return ""
    error = outcome.get("error") or {}
    fix = f"<p><b>Fix:</b> {words.coded(str(error['fix']))}</p>" if error.get("fix") else ""
    at = f"<code>{escape(str(error['field']))}</code> " if error.get("field") else ""
    got = f" (got <code>{escape(str(error['value']))}</code>)" if error.get("value") is not None else ""
    then = "".join(f"<li>{words.coded(str(t))}</li>" for t in outcome.get("next") or ())
    fix += f"<p><b>What can be done:</b></p><ul>{then}</ul>" if then else ""
    first, *more = outcome.get("reasons") or ["no reason was given"]
    first = error.get("message") or first
    rest = "".join(f"<li>{words.coded(r)}</li>" for r in more)
    return f'<section class="error"><h2>Why</h2><pre>{at}{escape(first)}{got}</pre>{f"<ul>{rest}</ul>" if rest else ""}{fix}</section>'


def _cautions(outcome: dict[str, Any]) -> str:
    said = "".join(
        f'<li><b class="warn-text">{words.coded(str(c))}</b></li>'
        for c in outcome.get("cautions") or ()
        if not any(c in str(r) for r in outcome.get("reasons") or ())
    )
    return f"<section><h2>Warnings</h2><ul>{said}</ul></section>" if said else ""


def key_figures(gates: list[Gate]) -> str:
    """The numbers that matter, one tile each."""
    by = {g.step: g.evidence for g in gates}
    tiles = []
    if "evaluate" in by:
        found, compared = by["evaluate"]["evaluation"], by["evaluate"].get("comparison")
        tiles.append(
            (
                svg.number(found["value"]),
                f"{found['metric']} on {found['rows']:,} {found.get('counted', 'held-out rows')}",
                svg.between(found["low"], found["high"]) if found.get("low") is not None else "",
            )
        )
        if compared:
            tiles.append(
                (
                    svg.signed(compared["difference"]) if compared["difference"] is not None else "–",
                    "against the champion",
                    str(compared["verdict"]).replace("_", " "),
                )
            )
    floor = by.get("evaluate", {}).get("floor")
    beside = [c for c in ((floor["simple"], floor["trivial"]) if floor else ()) if c.get("low") is not None][
        :1
    ]  # the linear one, else no model
    tiles += [(svg.signed(c["difference"]), f"{c['metric']} against {c['name']}", svg.between(c["low"], c["high"])) for c in beside]
    if "preprocess" in by:
        tiles.append((f"{sum(by['preprocess']['rows'].values()):,}", "rows", f"data {by['preprocess']['digest'][:12]}"))
    if by.get("export_onnx", {}).get("chosen"):
        chosen = {f["format"]: f for f in by["export_onnx"]["formats"]}[by["export_onnx"]["chosen"]]
        tiles.append(
            (
                f"{chosen['bytes'] / 1024:,.0f} KiB",
                f"{'' if chosen.get('graph') is False else 'ONNX, '}{chosen['format']}",
                f"package {by['export_onnx']['digest'][:12]}",
            )
        )
    load = by.get("rollout", {}).get("load")
    if load:
        tiles.append(
            (f"{load['failed']:,} of {load['sent']:,}", "requests failed in the rollout", f"p99 {svg.number(load['p99_ms'], 3)} ms")
        )
    return (
        f'<div class="tiles">{"".join(f"<div class=tile><b>{escape(a)}</b>{words.first_explained(b)}<span>{escape(c)}</span></div>" for a, b, c in tiles)}</div>'
        if tiles
        else ""
    )
