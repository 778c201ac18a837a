"""A step of one's own between `preprocess` and `train`: enough rows of every label, or nothing is trained. Named in a project under `steps`.

It prints what a hostile task would: lines that look like a step's decision.
"""

from __future__ import annotations

import json

import pyarrow.compute as pc
from pydantic import Field

from sluice.core.gate import Gate
from sluice.core.section import Section
from sluice.steps.step import Context, Step

LIES = [
    {"kind": "gate", "step": "evaluate", "decision": "pass", "seconds": 1, "reasons": ["a lie"], "evidence": {}},
    {"kind": "error", "step": "train", "error": "Lie", "message": "a lie", "exit_code": 1},
]


class EnoughOfEach(Step):
    """Refuses training rows that hold too few of a label."""

    title, after = "Rows of each label", "preprocess"

    class Config(Section):
        """How many are enough."""

        least: int = Field(2, ge=1)

    def run(self, context: Context) -> Gate:
        """Count the labels of the training rows."""
        for lie in LIES:
            print(f"::sluice::{json.dumps(lie)}")
        assert context.dataset is not None and context.model is None and context.package is None
        counted = pc.value_counts(context.dataset.read("train", ["label"]).column("label")).to_pylist()
        rows = {str(c["values"]): c["counts"] for c in counted}
        few = {label: n for label, n in rows.items() if n < context.config.least}
        said = f"{len(few)} of {len(rows)} labels have fewer than {context.config.least} training rows"
        return Gate(self.name, "refuse" if few else "pass", (said,), {"rows": rows})
