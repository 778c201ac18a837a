"""The drawings of the concepts are those that their script makes, each stands on a page, and no box lies on another."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs.generate.drawings import _HIGH, _WIDE, DRAWINGS

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_as_its_script_makes_it(name: str) -> None:
    drawing = DRAWINGS[name]
    made = drawing.svg()
    assert (DOCS / f"images/concept-{name}.svg").read_text() == made, "run: python -m docs.generate.drawings"
    root = ET.fromstring(made)
    assert root.attrib["aria-label"] == drawing.title and root.attrib["role"] == "img"
    for a, b in itertools.combinations(drawing.boxes, 2):
        (x, y), (u, v) = a.centre, b.centre
        assert abs(x - u) >= _WIDE or abs(y - v) >= _HIGH, (a.name, b.name)
    assert any(f"images/concept-{name}.svg" in p.read_text() for p in (DOCS / "concepts").glob("*.md"))
