"""What of a text, a picture or a sound an answer comes from: the held-out rows the model is surest of, wrong ones and right ones, each piece by what the answer loses without it.

Occlusion (Zeiler, Fergus, ECCV 2014) by the package as it is served, so it holds for any learner: words are left out, squares of a picture covered, parts
of a sound silenced. Pieces that matter only together show little. It refuses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.errors import InputError
from sluice.core.section import Section
from sluice.gates.facts import Judged

if TYPE_CHECKING:
    import numpy as np

#: A probability nearer than this to 0 or 1 counts as this near.
_EDGE = 1e-6


class HighlightsConfig(Section):
    """How many rows are shown with what their answer comes from, and the time that may take."""

    rows: int = Field(8, ge=0, le=100, description="held-out rows shown, wrong ones first; 0: none")
    seconds: float = Field(20, gt=0, le=86400, description="processor time it may take; what it did not get to is left out")


class HighlightedConfig(Section):
    """What rows of texts, pictures and sounds are shown with."""

    highlights: HighlightsConfig = Field(HighlightsConfig(), exclude_if=lambda told: told == HighlightsConfig())


class Highlights(Check):
    """Rows with their pieces' weights; only where a row is one value that has pieces, and an answer one label."""

    name, step, Config = "highlights", "evaluate", HighlightedConfig

    def judge(self, facts: Judged, config: HighlightedConfig) -> Decision:
        """``highlights``: [{row_id, label, answer, probability, shown, places, weights}], weights in log odds of the answer."""
        if not config.highlights.rows or not facts.dataset.problem.classes or facts.dataset.rows("test") != len(facts.outputs):
            return Decision("pass")
        found = _rows(facts, config.highlights)
        return Decision("pass", evidence={"highlights": found} if found else {})

    def section(self, decision: Decision) -> str:
        """Each row drawn, coloured by what speaks for its answer and what against it."""
        from sluice.fields.pieces import drawn

        found = decision.evidence.get("highlights")
        if not found:
            return ""
        cells = "".join(
            f"<figure>{drawn(r['shown'], r['places'], r['weights'])}<figcaption>{_caption(r)}</figcaption></figure>" for r in found
        )
        note = (
            "the surest wrong answers, then the surest right ones; blue: without it the answer is less likely, orange: more likely; "
            "each on a scale of its own, in log odds by the served graph"
        )
        return f'<h3 id="highlights">Example errors, and what the answers come from</h3><div class="highlights">{cells}</div><p class="note">{note}</p>'


def _caption(row: Mapping[str, Any]) -> str:
    from sluice.report import svg

    answer, label = (escape(svg.cut(str(row[k]), 40)) for k in ("answer", "label"))
    truth = "" if row["answer"] == row["label"] else f', <b class="bad-text">truth {label}</b>'
    return f"{answer} at {row['probability']:.3f}{truth}; largest {max(map(abs, row['weights']), default=0):.2g}"


def _rows(facts: Judged, config: HighlightsConfig) -> list[dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import rows_from_arrow
    from sluice.fields import processor_class

    value = processor_class(facts.package.preprocess).value
    if value is None or value.name in facts.dataset.sensitive:
        return []
    predictor = Predictor(facts.package)
    answers = predictor.codes(facts.outputs)
    at = np.array(_chosen(facts.outputs, facts.targets, answers, config.rows))
    if not len(at):
        return []
    table = facts.dataset.read("test", ["row_id", "label", value.name]).take(pa.array(at))
    begun, out = time.process_time(), []
    for i, row in enumerate(rows_from_arrow(facts.package.preprocess, table)):
        if time.process_time() - begun > config.seconds:
            break
        code = int(answers[at[i]])
        taken = _weighed(predictor, row, code, float(facts.outputs[at[i], code]))
        if taken:
            told = {
                "row_id": table.column("row_id")[i].as_py(),
                "label": facts.labels[int(facts.targets[at[i]])],
                "answer": facts.labels[code],
                "probability": round(float(facts.outputs[at[i], code]), 6),
            }
            out.append({**told, **taken})
    return out


def _chosen(outputs: np.ndarray, targets: np.ndarray, answers: np.ndarray, rows: int) -> list[int]:
    """The surest wrong answers, up to half of `rows`, then the surest right ones, of as many labels as there are."""
    import numpy as np

    sure = outputs[np.arange(len(outputs)), answers]
    order = np.argsort(-sure, kind="stable")
    known = order[targets[order] >= 0]
    wrong = known[answers[known] != targets[known]][: max(1, rows // 2)].tolist()
    right = known[answers[known] == targets[known]]
    _, first = np.unique(targets[right], return_index=True)
    of_each = right[np.sort(first)].tolist()
    rest = [r for r in right[: 4 * rows].tolist() if r not in set(of_each)]
    return (wrong + of_each + rest)[:rows]


def _weighed(predictor: Any, row: Any, code: int, probability: float) -> dict[str, Any] | None:
    """The row's pieces and how much of the answer's log odds goes with each; None where it has none that can be taken away."""
    try:
        pieces = predictor.processor.pieces(row)
        if pieces is None or not pieces.without:
            return None
        found = predictor.predict(pieces.without)[:, code]
    except InputError:  # without a piece nothing is left that the model reads
        return None
    weights = _log_odds([probability])[0] - _log_odds(found)
    return {"shown": pieces.shown, "places": pieces.places, "weights": [round(float(w), 4) for w in weights]}


def _log_odds(probabilities: Iterable[float]) -> np.ndarray:
    import numpy as np

    p = np.asarray(probabilities, np.float64).clip(_EDGE, 1 - _EDGE)
    return np.asarray(np.log(p / (1 - p)))
