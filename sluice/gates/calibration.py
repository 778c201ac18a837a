"""The calibration: do probabilities come true as often as they say, and what did the curves behind them change?"""

from __future__ import annotations

from html import escape
from typing import Any

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Exported

_NAMES = {"brier": "Brier score", "log_loss": "log loss"}


class Calibration(Check):
    """Refuses nothing; warns where the curves of ``export.calibrate`` made the log loss worse beyond doubt. Its setting is `export`'s."""

    name, step, Config = "calibration", "export_onnx", Section

    def judge(self, facts: Exported, config: Any) -> Decision:
        """What the export measured, which stands in its evidence."""
        found = facts.result.evidence.get("calibration") or {}
        loss = (found.get("gain") or {}).get("log_loss") or {}
        if loss.get("high") is None or loss["high"] >= 0:
            return Decision("pass")
        said = f"warning: calibration ({found['method']}) made the log loss worse by {-loss['value']:.4g} on the held-out rows: set export.calibrate: none"
        return Decision("pass", (said,), cautions=(said,))

    def section(self, decision: Decision) -> str:
        """Losses and reliability without and with the curves."""
        found = decision.evidence.get("calibration")
        if not found:
            return ""
        out = f"<h3>Calibration ({escape(found['method'])})</h3>"
        if "after" not in found:
            return f'{out}<p class="note">not calibrated: {escape(found["why"])}</p>'
        return out + _table(found) + _pictures(found)


def _table(found: dict[str, Any]) -> str:
    from sluice.report.tables import table

    before, after, gain = found["before"], found["after"], found["gain"]
    rows = [[text, _of(before[name]), _of(after[name]), _of(gain[name])] for name, text in _NAMES.items()]
    error = [{"value": side["calibration"]["ece"], **side["calibration"]} for side in (before, after)]
    rows.append(["expected calibration error", _of(error[0]), _of(error[1]), ""])
    note = f"fitted on {found['fitted_on']:,} validation rows, measured on {found['rows']:,} held-out ones, {found['confidence']:.0%} intervals"
    if found["kept"]:
        note += f"; too few rows for a curve: {', '.join(found['kept'])}"
    return table(["", "model alone", "calibrated", "better by"], rows, (1, 2, 3)) + f'<p class="note">{escape(note)}</p>'


def _of(found: dict[str, Any]) -> str:
    from sluice.report import svg

    limits = f" ({svg.between(found['low'], found['high'], 3)})" if found.get("low") is not None else ""
    return svg.number(found["value"]) + limits


def _pictures(found: dict[str, Any]) -> str:
    from sluice.report import svg

    sides = (("model alone", found["before"]), ("calibrated", found["after"]))
    return (
        '<div class="grid2">'
        + "".join(f"<div><b>{name}</b>{svg.reliability(s['calibration']['bins'])}</div>" for name, s in sides)
        + "</div>"
    )
