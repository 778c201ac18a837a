"""Evidence cut down for a line of a log: short, and what is kept is kept whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sluice.core.files import canonical_json
from sluice.core.gate import Gate, brief, hand_on, handed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=60,
)


def subset(part: Any, whole: Any) -> bool:
    if part == whole:
        return True
    return isinstance(part, dict) and isinstance(whole, dict) and all(k in whole and subset(v, whole[k]) for k, v in part.items())


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=6))
def test_what_is_kept_is_unchanged_and_every_short_value_is_kept(evidence: dict[str, Any]) -> None:
    found = brief(evidence, limit=256)
    assert subset(found, evidence)
    assert all(key in found for key, value in evidence.items() if len(canonical_json(value)) <= 256)


def test_what_is_handed_on_is_the_gate_without_long_evidence_and_no_tag_of_a_template(tmp_path: Path) -> None:
    whole = Gate(
        "evaluate", "refuse", ("label '{{workflow.name}}' is wrong",), {"rows": 5, "history": list(range(10**5)), "label": "{{{x}}}"}, 1.5
    )
    whole.write(tmp_path / "gate.json")
    hand_on(str(tmp_path / "gate"))
    text = (tmp_path / "gate").read_text()
    assert "{{" not in text and len(text) < 1000
    assert handed(text) == dataclasses.replace(whole, evidence={"rows": 5, "label": "{{{x}}}"})
    assert Gate.read(tmp_path / "gate.json") == whole


def test_a_long_list_goes_and_its_neighbours_stay() -> None:
    found = brief(
        {"outcome": "promoted", "evaluation": {"metrics": {"accuracy": {"value": 0.9}}, "rows": list(range(10**5))}, "log": "x" * 10**6}
    )
    assert found == {"outcome": "promoted", "evaluation": {"metrics": {"accuracy": {"value": 0.9}}}}
