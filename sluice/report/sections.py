"""One section a step: evidence in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from sluice.gates import check
from sluice.gates.check import Decision
from sluice.report import classes, svg
from sluice.report.tables import Html, table

Evidence = dict[str, Any]
#: Columns that are drawn.
_COLUMNS = 60
#: Where what a page leaves out is.
_REST = "all are in the step's gate (gates/{}.json of a run on this machine)"
_STATUS = {"pass": ("ok-text", "✔"), "warn": ("warn-text", "!"), "refuse": ("bad-text", "✘")}


def validate_data(e: Evidence) -> str:
    """Checks first, the refused ones on top; then each column as a small picture."""
    order = {"refuse": 0, "warn": 1, "pass": 2}
    checks = []
    for c in sorted(e.get("checks", ()), key=lambda c: order[c["status"]]):
        css, sign = _STATUS[c["status"]]
        examples = svg.cut(", ".join(map(str, c.get("examples") or ())), 300)
        detail = escape(c["message"]) + (
            f'<div class="note">for example: {escape(examples)}</div>' if examples and c["status"] != "pass" else ""
        )
        checks.append([Html(f'<b class="{css}">{sign}</b>'), c["name"], Html(detail)])
    labels = sorted((e.get("labels") or {}).items(), key=lambda kv: -kv[1])
    out = "<h3>Checks</h3>" + table(["", "check", "found"], checks)
    if labels:
        out += "<h3>Labels</h3>" + svg.rows_of_bars(
            [(str(k), float(v)) for k, v in labels], total=float(sum(v for _, v in labels)) or None, rest=_REST.format("validate_data")
        )
    every = list(e.get("columns", ()))
    columns = "".join(_column(c) for c in every[:_COLUMNS])
    left = every[_COLUMNS:]
    names = (
        f'<details><summary>{len(left):,} more columns, of {len(every):,}</summary><p class="note">{escape(", ".join(str(c["name"]) for c in left))}; '
        f"{_REST.format('validate_data')}</p></details>"
    )
    return out + (f'<h3>Columns</h3><div class="columns">{columns}</div>{names if left else ""}' if columns else "")


def _column(c: Evidence) -> str:
    nulls = f" · {100 * c['nulls'] / max(c['rows'], 1):.1f} % null" if c.get("nulls") else ""
    facts = f"{c['type']}{nulls} · {svg.number(c['distinct'])} distinct" if c.get("distinct") is not None else f"{c['type']}{nulls}"
    picture = ""
    hist = c.get("histogram") or c.get("length_histogram")
    if hist:
        picture = svg.histogram(hist["edges"], hist["counts"], small=True)
        if not c.get("histogram"):
            picture += '<div class="note">length in characters</div>'
    elif c.get("top"):
        top = c["top"].items() if isinstance(c["top"], dict) else [(t["value"], t["count"]) if isinstance(t, dict) else t for t in c["top"]]
        picture = svg.rows_of_bars([(str(k), float(v)) for k, v in top], limit=4, of=c.get("distinct"))
    return f'<div class="column"><b>{escape(str(c["name"]))}</b><div class="note">{escape(facts)}</div>{picture}</div>'


def preprocess(e: Evidence) -> str:
    rows = e["rows"]
    total = sum(rows.values()) or 1
    shares = [[split, n, f"{100 * n / total:.1f} %", e["shards"][split]] for split, n in rows.items()]
    by = e.get("split") or {}
    how = {"time": "the newest rows of {!r} are held out", "group": "groups of {!r} are on one side"}.get(
        by.get("by", ""), "rows with equal features are on one side"
    )
    note = f'<p class="note">{escape(how.format(by.get("column")))}</p>' if by else ""
    return (
        table(["split", "rows", "share", "shards"], shares, (1, 2, 3))
        + note
        + f'<p class="note">data version <code>{escape(str(e["digest"]))}</code></p>'
    )


def train(e: Evidence) -> str:
    history = e["history"]
    losses = {"training loss": "train_loss", "validation loss": "validation_loss"}
    series = {name: [(float(h["epoch"]), float(h[key])) for h in history if h.get(key) is not None] for name, key in losses.items()}
    best = float(e["best_epoch"])
    out = '<div class="grid2">' + svg.lines(series, "epoch", "loss", mark=best, mark_text="kept")
    every = [k for k, v in (history[-1].get("validation_metrics") or {}).items() if isinstance(v, float) and not k.endswith("loss")]
    names = every[:3]
    curves = {
        f"validation {n}": [
            (float(h["epoch"]), float(h["validation_metrics"][n])) for h in history if h["validation_metrics"].get(n) is not None
        ]
        for n in names
    }
    out += svg.lines(curves, "epoch", "", mark=best, mark_text="kept") + "</div>"
    if len(every) > len(names):
        out += f'<p class="note">not drawn: {escape(", ".join(every[3:]))}; {_REST.format("train")}</p>'
    plan = e.get("plan") or {}
    chosen = [
        (n.replace("_", " ") + ", automatic" * (n in plan["automatic"]), plan[n]) for n in ("batch_size", "learning_rate") if n in plan
    ]
    ended = {"patience": "stopped improving", "time": "time budget", "epochs": "last epoch"}.get(
        e.get("ended", ""), bool(e.get("stopped_early"))
    )
    facts = [
        ("epochs", history[-1]["epoch"]),
        ("kept epoch", e["best_epoch"]),
        ("ended by", ended),
        *chosen,
        ("processes", e.get("world_size")),
        ("rows per second", history[-1].get("samples_per_second")),
        ("seconds", e.get("seconds")),
    ]
    return out + table([f[0] for f in facts], [[f[1] for f in facts]]) + _folds(e.get("cross_validation"))


def _folds(found: Evidence | None) -> str:
    if not found:
        return ""
    names = list(found["summary"])
    rows = [[f"fold {f['fold']}", f["rows"], *(f["metrics"].get(n) for n in names)] for f in found["folds"]]
    rows.append([Html("<b>mean</b>"), "", *(found["summary"][n]["mean"] for n in names)])
    rows.append(
        [
            f"{100 * found['confidence']:.0f} % interval",
            "",
            *(f"{svg.number(s['low'])} to {svg.number(s['high'])}" if s["low"] is not None else "" for s in found["summary"].values()),
        ]
    )
    by = f", rows of equal {found['grouped_by']} together" if found.get("grouped_by") else ""
    note = f'<p class="note">Each model was judged on the fold it was not trained on{escape(by)}; the model kept is trained on all training rows.</p>'
    return "<h3>Cross-validation</h3>" + table(["", "rows", *names], rows, range(1, len(names) + 2)) + note


def evaluate(e: Evidence) -> str:
    found, parts = e["evaluation"], check.sections("evaluate", Decision("pass", evidence=e))
    out = f'<div class="grid2"><div>{parts["bar"]}</div><div>{parts["champion"]}</div></div>{parts["floor"]}'
    matrix, bins = found.get("confusion"), (found.get("calibration") or {}).get("bins")
    out += (classes.answered(found) if matrix else "") + classes.curves(found) + '<div class="grid2">'
    if matrix:
        out += f"<div>{classes.confusion(matrix)}</div>"
    if bins:
        out += f"<div><h3>Calibration (expected error {svg.number(found['calibration']['ece'], 3)})</h3>{svg.reliability(bins)}</div>"
    residuals = found.get("residuals")
    if residuals:
        out += (
            "<div><h3>Residuals</h3><figure>"
            + svg.histogram(residuals["edges"], residuals["counts"], "prediction minus truth")
            + "</figure></div>"
        )
    return out + "</div>" + classes.per_label(found.get("per_label") or ()) + parts["slices"] + check.own_sections(e)


def export_onnx(e: Evidence) -> str:
    rows = []
    for f in e["formats"]:
        verdict = (
            '<b class="ok-text">chosen</b>'
            if f["format"] == e.get("chosen")
            else "within budget"
            if f["ok"]
            else "not tried"
            if f.get("tried") is False
            else '<b class="bad-text">refused</b>'
        )
        rows.append(
            [
                f["format"],
                f"{f['bytes'] / 1024:,.0f} KiB" if f.get("bytes") is not None else "",
                f.get("max_abs_diff"),
                f.get("agreement"),
                f.get("metric"),
                f.get("loss"),
                Html(verdict),
            ]
        )
    head = ["format", "size", "largest difference", "label agreement", "metric", "loss", ""]
    out = table(head, rows, (1, 2, 3, 4, 5))
    out += "".join(_moved(f) for f in e["formats"] if f.get("moved"))
    return out + (f'<p class="note">package <code>sha256:{escape(str(e["digest"]))}</code></p>' if e.get("digest") else "")


def _moved(f: Evidence) -> str:
    """The held-out row whose answer a format moved furthest from fp32's."""
    m = f["moved"]
    of = f"probability of {m['label']}" if m.get("label") is not None else "value"
    return (
        f'<p class="note">furthest from fp32 in {escape(f["format"])}: row <code>{escape(m["row_id"])}</code> ({escape(m["row"])}), '
        f"{escape(of)} {svg.number(m['fp32'])} in fp32, {svg.number(m['answer'])} here</p>"
    )


def register(e: Evidence) -> str:
    rows = [
        ["model", e["model"]],
        ["version", e["version"]],
        ["package", Html(f"<code>sha256:{escape(str(e['digest']))}</code>")],
        ["stored at", Html(f"<code>{escape(e['uri'])}</code>")],
    ]
    if e.get("page"):
        rows.append(["in MLflow", Html(f'<a href="{escape(str(e["page"]), quote=True)}">{escape(str(e["page"]))}</a>')])
    rows += [[{"git": "git commit"}.get(k, f"{k} digest"), Html(f"<code>{escape(str(v))}</code>")] for k, v in e["lineage"].items() if v]
    return table(["", ""], rows)


def rollout(e: Evidence) -> str:
    if e.get("unchanged"):
        return '<p class="note">The candidate is the champion, byte for byte.</p>'
    timeline = e.get("timeline") or []
    out = ""
    if len(timeline) > 1:
        end = float(timeline[-1]["t"])
        plot = svg.Plot((0, max(end, 0.1)), (0, 105), width=940, height=200).axes("seconds", "% to the candidate")
        before, free = "", 0.0
        for at in timeline:
            if at["phase"] != before:
                x = plot.px(float(at["t"]))
                plot.rule(x=float(at["t"]), text=str(at["phase"]) if x >= free else "")
                free = max(free, x + 6.2 * len(str(at["phase"])) + 8)
                before = at["phase"]
        plot.line([(float(p["t"]), float(p.get("weight") or 0)) for p in timeline], svg.COLOURS[0], step=True)
        out += f"<figure>{plot.svg('traffic to the candidate over time')}</figure>"
        out += _arms(timeline) + _tests(timeline)
    load = e.get("load") or {}
    if load:
        rows: list[list[Any]] = [
            ["requests sent", load.get("sent")],
            ["failed", load.get("failed")],
            ["p50", f"{svg.number(load.get('p50_ms'), 3)} ms"],
            ["p99", f"{svg.number(load.get('p99_ms'), 3)} ms"],
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
    last: dict[str, Evidence] = {}
    for at in timeline:
        for arm, counts in (at.get("arms") or {}).items():
            last[arm] = counts
    names = ["requests", "errors", "slow", "wrong"]
    rows = [[arm, *(c.get(n, 0) for n in names)] for arm, c in last.items()]
    return "<h3>Evidence in the last step</h3>" + table(["arm", *names], rows, range(1, len(names) + 1)) if rows else ""


def _tests(timeline: Sequence[Evidence]) -> str:
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
