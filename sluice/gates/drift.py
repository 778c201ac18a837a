"""The drift: have the training rows moved away from those that the champion learnt from?"""

from __future__ import annotations

from html import escape
from typing import Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged

#: Population stability index from which a shift is large (Siddiqi 2006): a caution, where no limit is declared.
LARGE = 0.25
#: Parts that stand in the report, and columns in a sentence.
_SHOWN, _NAMED = 20, 5


class DriftConfig(Section):
    """How far the training rows may be from the champion's."""

    drift_max: float | None = Field(
        None,
        gt=0,
        description="largest distance (population stability index) of a column from the champion's training rows; null: a caution from 0.25 on",
        exclude_if=lambda most: most is None,
    )


class Drift(Check):
    """Refuses where a column is farther than `drift_max` from the champion's training rows, and than chance explains at so many rows.

    The champion's rows are those its package's profile was taken of; the bins are the profile's. Where rows belong together chance moves them
    further: by as much as a unit has rows, at most.
    """

    name, step, Config = "drift", "evaluate", DriftConfig
    then = "see what changed (`sluice data diff OLD NEW`), or where the change is meant leave evaluate.drift_max out for this run"

    def judge(self, facts: Judged, config: DriftConfig) -> Decision:
        """The decision of `decide`. Raises `PackageError`: the champion's profile cannot be read."""
        profile = None if facts.champion is None else facts.champion.profile()
        if profile is None or facts.champion is None:
            return Decision("pass")
        from sluice.data.drifted import distances
        from sluice.data.profile import label_values

        dataset = facts.dataset
        rows = dataset.read("train", [*dataset.columns, "label"])
        units = dataset.problem.units(dataset, "train")
        per_unit = rows.num_rows / units.effective if units is not None else 1.0
        same = profile.get("objective") == dataset.objective
        labels = label_values(dataset.problem, rows.column("label")) if same else None
        found = distances(profile, rows, labels, per_unit=per_unit)
        return decide([{"name": d.name, "psi": d.psi, "noise": d.noise} for d in found], facts.champion.digest, rows.num_rows, config)

    def section(self, decision: Decision) -> str:
        """Each column's distance, the farthest first, against what chance explains."""
        from sluice.report import svg
        from sluice.report.tables import Html, table

        found = decision.evidence.get("drift")
        if not found:
            return ""
        rows = [
            [p["name"], svg.number(p["psi"]), svg.number(p["noise"]), Html('<b class="warn-text">moved</b>' if p["moved"] else "")]
            for p in found["parts"]
        ]
        said = f"{found['moved']} of {found['compared']} moved" if found["moved"] else f"{found['compared']} compared, none moved"
        note = f"population stability index, against the profile of {found['champion'][:12]}; moved: above {found['threshold']:g} and above chance"
        body = table(["column", "distance", "by chance up to", ""], rows, (1, 2))
        return (
            f'<details><summary>Training rows against the champion\'s ({said})</summary>{body}<p class="note">{escape(note)}</p></details>'
        )


def decide(parts: list[dict[str, Any]], champion: str, rows: int, config: DriftConfig) -> Decision:
    """Whether too far, and what to say.

    Args:
        parts: ``name``, ``psi`` and ``noise`` (what chance alone exceeds once in 10,000), the farthest first.
        champion: its digest. rows: of training.
        config: the largest distance.
    """
    threshold = LARGE if config.drift_max is None else config.drift_max
    told = [{**p, "moved": p["psi"] > max(threshold, p["noise"])} for p in parts]
    moved = [p for p in told if p["moved"]]
    evidence = {
        "drift": {
            "champion": champion,
            "rows": rows,
            "threshold": threshold,
            "compared": len(told),
            "moved": len(moved),
            "parts": told[:_SHOWN],
        }
    }
    if not moved:
        return Decision("pass", evidence=evidence)
    named = ", ".join(f"{p['name']} ({p['psi']:.2g})" for p in moved[:_NAMED]) + (
        f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    )
    said = f"the training rows have moved away from the champion's ({champion[:12]}) in {named}, by population stability index"
    if config.drift_max is None:
        return Decision("pass", evidence=evidence, cautions=(f"{said}; see that this is meant, or set a limit with evaluate.drift_max",))
    return Decision(
        "refuse", (f"{said}, allowed are {config.drift_max:g}; look at the source, or raise evaluate.drift_max",), evidence=evidence
    )
