"""The step `evaluate`: judge the package as it will be served."""

from __future__ import annotations

from html import escape
from typing import Any, ClassVar

from sluice.core.check import Decision, own_sections, sections
from sluice.problems.problem import problem
from sluice.steps.step import SMALL, Evidence, Step

#: The checks whose parts of the report stand behind the pictures of the answers, in this order; of those that refuse before all else.
_BEHIND = (
    "prompts", "robustness", "importance", "standouts", "mistakes", "highlights", "slice_champion", "fairness", "behaviour", "doubtful", "drift", "slices",
)  # fmt: skip


class Evaluate(Step):
    """Judge the package as it will be served."""

    name, title, after = "evaluate", "Evaluation", "export_onnx"
    bounds = {"resources": {"requests": SMALL, "limits": {"cpu": "2", "memory": "4Gi"}}, "timeout": "2h"}
    component = "components.evaluate.component:evaluate"
    gives: ClassVar = {"judged": "gate", "project": "handed"}
    asks = True

    def section(self, e: Evidence) -> str:
        """What each check found, and the answers in pictures."""
        from sluice.report import classes, svg

        found, parts = e["evaluation"], sections("evaluate", Decision("pass", evidence=e))
        against = [parts.pop(name) for name in _BEHIND if name in (e.get("refused") or {})]  # what refused stands first
        out = "".join(against)
        out += f'<div class="grid2"><div>{parts["bar"]}</div><div>{parts["thresholds"]}{parts["champion"]}{parts["anchor"]}</div></div>{parts["floor"]}'
        matrix, bins = found.get("confusion"), (found.get("calibration") or {}).get("bins")
        out += (classes.answered(found) if matrix else "") + classes.curves(found) + '<div class="grid2">'
        if matrix:
            out += f"<div>{classes.confusion(matrix)}</div>"
        if bins:
            out += f"<div><h3>Calibration (expected error {_error(found['calibration'])})</h3>{svg.reliability(bins)}{parts['reliability']}</div>"
        if found.get("problem"):
            out += f"<div>{problem(found['problem']).section(found)}</div>"
        residuals = found.get("residuals")
        if residuals:
            out += (
                f"<div><h3>{escape(residuals.get('title', 'Residuals'))}</h3><figure>"
                + svg.histogram(residuals["edges"], residuals["counts"], residuals.get("axis", "prediction minus truth"))
                + "</figure></div>"
            )
        return (
            out
            + "</div>"
            + classes.per_label(found.get("per_label") or ())
            + "".join(parts[name] for name in _BEHIND if name in parts)
            + own_sections(e)
        )


def _error(found: dict[str, Any]) -> str:
    """The expected calibration error with its interval."""
    from sluice.report import svg

    limits = f", {svg.between(found['low'], found['high'], 3)}" if found.get("low") is not None else ""
    return svg.number(found["ece"], 3) + limits
