"""The held-out rows that are answered worst, with their inputs, and which of these made the answer wrong.

Worst is where the truth was thought least likely, or a value was farthest from it. Of a record each column in turn takes the value that is usual among
the training rows (occlusion, as `standouts`), through the served graph: by what the answer mends is the column's part. Texts, pictures and sounds that
are given a label are shown by `highlights`. It refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig

if TYPE_CHECKING:
    import numpy as np

    from sluice.engines.predictor import Predictor

#: Rows that are shown, columns of each, columns that are asked about at most, characters of a value, and bytes of drawings.
_ROWS, _COLUMNS, _MOST, _TEXT, _BYTES = 8, 5, 400, 120, 60_000
#: A probability nearer to 0 counts as this near.
_EDGE = 1e-6


class Mistakes(Check):
    """The worst answers, a card each; only where an answer is one label or one number."""

    name, step, Config = "mistakes", "evaluate", MetricConfig

    def judge(self, facts: Judged, config: MetricConfig) -> Decision:
        """``mistakes``: ``rows`` [{row_id, label, answer, told, columns [{column, value, usual, part}] or shown}], the worst first, ``wrong`` of ``of``."""
        asked = facts.dataset.problem
        if (
            asked.notable(facts.outputs) is not None
            or facts.dataset.rows("test") != len(facts.outputs)
            or not (asked.classes or asked.scalar)
        ):
            return Decision("pass")
        found = worst(facts)
        return Decision("pass", evidence={"mistakes": found} if found else {})

    def section(self, decision: Decision) -> str:
        """A card a row."""
        from html import escape

        found = decision.evidence.get("mistakes")
        if not found or not found["rows"]:
            return ""
        cards = "".join(map(_card, found["rows"]))
        of = f", of {found['wrong']:,} wrong ones among {found['of']:,}" if found["wrong"] is not None else ""
        note = f"the worst of the held-out rows{of}; behind a column its value, what is usual among training rows, and how much less wrong the answer is with that, {found['unit']}"
        return (
            f'<h3 id="mistakes">Example errors: the worst answers</h3><div class="examples">{cards}</div><p class="note">{escape(note)}</p>'
        )


def _card(row: Mapping[str, Any]) -> str:
    from html import escape

    from sluice.fields.pieces import drawn
    from sluice.report import svg

    def shown(value: Any) -> str:
        return escape("missing" if value is None else svg.number(value) if isinstance(value, float) else str(value))

    head = f"truth <b>{shown(row['label'])}</b>, answered <b class='bad-text'>{shown(row['answer'])}</b>"
    body = f"<div>{drawn(row['shown'], [], [])}</div>" if row.get("shown") else ""
    if row.get("columns"):
        body += "<dl>" + "".join(f"<dt>{escape(c['column'])}</dt><dd>{_told(c, shown)}</dd>" for c in row["columns"]) + "</dl>"
    return f"<article><h4>row {escape(str(row['row_id']))}</h4><div>{head}<br><span class='note'>{escape(row['told'])}</span></div>{body}</article>"


def _told(c: Mapping[str, Any], shown: Callable[[Any], str]) -> str:
    mends = "" if c["part"] is None else f", {c['part']:+.3g}"
    return f"{shown(c['value'])} <span class='note'>(usual {shown(c['usual'])}{mends})</span>"


def worst(facts: Judged) -> dict[str, Any] | None:
    """The evidence; None where no row is wrong, or its inputs are shown elsewhere."""
    import numpy as np
    import pyarrow as pa

    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import rows_from_arrow

    loss, wrong = _losses(facts.outputs, facts.targets, facts.dataset.problem.classes)
    if loss is None:
        return None
    predictor, codes = Predictor(facts.package), None
    if facts.dataset.problem.classes:  # as a client is answered: by the package's threshold where it has one
        codes = np.asarray(predictor.codes(facts.outputs))
        wrong = (facts.targets >= 0) & (codes != facts.targets)
    order = np.argsort(-np.where(wrong & np.isfinite(loss), loss, -np.inf), kind="stable")[
        : min(_ROWS, int((wrong & np.isfinite(loss)).sum()))
    ]
    value = predictor.processor.value
    if not len(order) or (value is not None and (facts.dataset.problem.classes or value.name in facts.dataset.sensitive)):
        return None
    table = facts.dataset.read("test").take(pa.array(order))
    raw = rows_from_arrow(facts.package.preprocess, table)
    inputs = _drawn(predictor, raw) if value is not None else _columns(facts, predictor, raw, order)
    ids = table.column("row_id").to_pylist()
    rows = [{"row_id": ids[i], **_answered(facts, int(at), codes), **inputs[i]} for i, at in enumerate(order.tolist())]
    classes = facts.dataset.problem.classes
    unit = "in log odds of the truth" if classes else "in units of the answer"
    return {"rows": rows, "wrong": int(wrong.sum()) if classes else None, "of": len(loss), "unit": unit}


def _losses(outputs: np.ndarray, targets: np.ndarray, classes: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """How wrong each answer is [rows], and whether it is; None where answers are of another kind."""
    import numpy as np

    none = np.zeros(len(outputs), bool)
    if classes:
        if outputs.ndim != 2 or targets.ndim != 1:
            return None, none
        known = targets >= 0
        truth = outputs[np.arange(len(outputs)), np.where(known, targets, 0)].astype(np.float64).clip(_EDGE, 1 - _EDGE)
        return np.log(1 - truth) - np.log(truth), known & (outputs.argmax(axis=1) != targets)
    if outputs.ndim != 1 or targets.ndim != 1:
        return None, none
    loss = np.abs(outputs.astype(np.float64) - targets)
    return loss, loss > 0


def _answered(facts: Judged, at: int, codes: np.ndarray | None) -> dict[str, Any]:
    """The truth and the answer of a row, and in words how far they are apart."""
    if codes is not None:
        p, truth, code = facts.outputs[at], int(facts.targets[at]), int(codes[at])
        told = f"probability {p[code]:.3f}, of the truth {p[truth]:.3f}"
        return {"label": facts.labels[truth], "answer": facts.labels[code], "told": told}
    answer, value = float(facts.outputs[at]), float(facts.targets[at])
    return {"label": value, "answer": answer, "told": f"off by {answer - value:+.4g}"}


def _drawn(predictor: Predictor, raw: list[Any]) -> list[dict[str, Any]]:
    """What a page draws of each value, as long as there is room."""
    from sluice.core.errors import InputError
    from sluice.core.files import canonical_json

    out: list[dict[str, Any]] = []
    room = _BYTES
    for row in raw:
        shown = None
        try:
            pieces = predictor.processor.pieces(row)
            shown = pieces.shown if pieces is not None else None
        except InputError:
            pass
        room -= len(canonical_json(shown))
        out.append({"shown": shown} if shown and room > 0 else {})
    return out


def _columns(facts: Judged, predictor: Predictor, raw: list[Any], at: np.ndarray) -> list[dict[str, Any]]:
    """Of each row the columns whose usual values mend its answer most."""
    import numpy as np

    from sluice.gates.standouts import usual_of

    owners = dict(list(predictor.processor.owners().items())[:_MOST])
    if not owners:
        return [{} for _ in raw]
    usual, typical = usual_of(facts, predictor)
    tensors, output, classes = predictor.processor.encode_batch(raw), facts.package.outputs[0].name, facts.dataset.problem.classes

    def losses(x: Mapping[str, np.ndarray]) -> np.ndarray | None:
        answers = np.asarray(predictor.run(x)[output])
        answers = answers if classes or answers.ndim == 1 else answers.reshape(len(raw), -1)[:, 0]
        return _losses(answers, facts.targets[at], classes)[0]

    before, parts = losses(tensors), dict[str, np.ndarray | None]()
    for name, inputs in owners.items():
        after = losses(tensors | {i: np.repeat(typical[i], len(raw), axis=0) for i in inputs})
        parts[name] = before - after if before is not None and after is not None else None
    hidden = dict.fromkeys(facts.dataset.sensitive, "(sensitive)")
    out = []
    for i, row in enumerate(raw):
        most = sorted(parts, key=lambda name: -(float(p[i]) if (p := parts[name]) is not None and np.isfinite(p[i]) else 0.0))[:_COLUMNS]
        told = [
            {
                "column": n,
                "value": hidden.get(n, _plain(row.get(n))),
                "usual": hidden.get(n, _plain(usual.get(n))),
                "part": float(p[i]) if (p := parts[n]) is not None and np.isfinite(p[i]) else None,
            }
            for n in most
        ]
        out.append({"columns": told})
    return out


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    if isinstance(value, int | float):
        return float(value)
    text = str(value)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
