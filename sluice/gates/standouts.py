"""The rows that ask most to be looked at, and which of their columns make them so: by what is left where a column is as usual.

Occlusion: one column at a time takes the value that is usual among the training rows (the median, the commonest category), through the served graph,
and what the answer loses is the column's part. It works for any learner; of columns that are unusual only together each shows little. It refuses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sluice.core.check import Check, Decision
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig

if TYPE_CHECKING:
    import numpy as np

#: Rows that are shown, columns of each, and training rows that say what is usual.
_ROWS, _COLUMNS, _SAMPLE = 10, 3, 1000


class Standouts(Check):
    """The most notable held-out rows with their columns' parts; only of a problem that tells such rows (`Problem.notable`)."""

    name, step, Config = "standouts", "evaluate", MetricConfig

    def judge(self, facts: Judged, config: MetricConfig) -> Decision:
        """``standouts``: ``rows`` [{row_id, label, notable, columns [{column, value, usual, part}]}], the most notable first, and ``judged_by``."""
        score = facts.dataset.problem.notable(facts.outputs)
        if score is None or facts.dataset.rows("test") != len(score):
            return Decision("pass")
        return Decision(
            "pass", evidence={"standouts": {"rows": _rows(facts, score), "judged_by": facts.dataset.found.get("judged_by", "")}}
        )

    def section(self, decision: Decision) -> str:
        """A table, a row each."""
        from html import escape

        from sluice.report.tables import table

        found = decision.evidence.get("standouts")
        if not found or not found["rows"]:
            return ""
        shown = [[r["row_id"], r["label"], r["notable"], "; ".join(map(_told, r["columns"]))] for r in found["rows"]]
        note = "log odds of the score; beside a column its value, what is usual, and how much of the log odds goes where it is as usual, through the served graph"
        judged = f"<p>{escape(found['judged_by'])}</p>" if found["judged_by"] else ""
        return f"<h3>Held-out rows that stand out most</h3>{judged}{table(['row', 'truth', 'log odds', 'because of'], shown, (2,))}<p class='note'>{note}</p>"


def _told(c: Mapping[str, Any]) -> str:
    from sluice.report import svg

    value, usual = (svg.number(v) if isinstance(v, float) else "missing" if v is None else str(v) for v in (c["value"], c["usual"]))
    return f"{c['column']} {value} (usual {usual}): {c['part']:+.2f}"


def _rows(facts: Judged, score: np.ndarray) -> list[dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import rows_from_arrow

    predictor, at = Predictor(facts.package), np.argsort(-score, kind="stable")[:_ROWS]
    columns = predictor.processor.owners()
    table = facts.dataset.read("test").take(pa.array(at))
    raw = rows_from_arrow(facts.package.preprocess, table)
    tensors = predictor.processor.encode_batch(raw)
    usual, typical = usual_of(facts, predictor)
    output = facts.package.outputs[0].name
    before = facts.dataset.problem.notable(predictor.run(tensors)[output])
    parts = {}
    for name, inputs in columns.items():
        changed = tensors | {i: np.repeat(typical[i], len(at), axis=0) for i in inputs}
        after = facts.dataset.problem.notable(predictor.run(changed)[output])
        parts[name] = before - after  # type: ignore[operator]
    out = []
    for i, row in enumerate(raw):
        most = sorted(parts, key=lambda name: -float(parts[name][i]))[:_COLUMNS]
        hidden = dict.fromkeys(facts.dataset.sensitive, "(sensitive)")
        told = [
            {
                "column": n,
                "value": hidden.get(n, _plain(row.get(n))),
                "usual": hidden.get(n, _plain(usual[n])),
                "part": float(parts[n][i]),
            }
            for n in most
        ]
        out.append(
            {
                "row_id": table.column("row_id")[i].as_py(),
                "label": _plain(table.column("label")[i].as_py()),
                "notable": float(score[at[i]]),
                "columns": told,
            }
        )
    return out


def usual_of(facts: Judged, predictor: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is usual among training rows: each column's raw value nearest to it, and each input's, [1, 1]."""
    import numpy as np

    from sluice.engines.rows import rows_from_arrow, spread

    raw = rows_from_arrow(facts.package.preprocess, spread(facts.dataset, "train", _SAMPLE))
    tensors, shown, typical = predictor.processor.encode_batch(raw), {}, {}
    for name, inputs in predictor.processor.owners().items():
        for i in inputs:
            values = tensors[i][:, 0]
            number = values.dtype.kind == "f"
            middle = (
                np.nanmedian(values)
                if number and not np.isnan(values).all()
                else values[0]
                if number
                else Counter(values.tolist()).most_common(1)[0][0]
            )
            typical[i] = np.array([[middle]], dtype=tensors[i].dtype)
        first = tensors[inputs[0]][:, 0]
        near = (
            np.argmin(np.where(np.isnan(first), np.inf, np.abs(first - typical[inputs[0]][0, 0])))
            if first.dtype.kind == "f"
            else list(first).index(typical[inputs[0]][0, 0])
        )
        shown[name] = raw[int(near)].get(name)
    return shown, typical


def _plain(value: Any) -> Any:
    return (
        value
        if value is None or isinstance(value, str | float)
        else float(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value)
    )
