"""Whether a generator has collapsed: it makes the same few pictures, or leaves out most of what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Share of made pictures with a twin, from which on a generator repeats itself, and from which on it has collapsed.
_SOME, _MOST = 0.1, 0.5
#: Recall below which much of what there is, or nearly all, is left out.
_LITTLE, _HARDLY = 0.3, 0.05
#: Pictures that differ so much less than real ones are all but one.
_ALIKE = 0.25
_FIX = "train longer, give it more noise (model.noise) and width (model.width), or take another model.kind"


def faults(found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What speaks against a model, and what a person has to hear of it: sentences.

    Args:
        found: of `sluice.problems.evaluator.evaluate`.
    """
    against, said = [], []
    twins, recall, spread = found.get("repeated"), found["metrics"].get("recall", {}).get("value"), found.get("spread", 1.0)
    if twins is not None and twins >= _SOME:
        line = f"{twins:.0%} of the made pictures have a twin among them"
        if twins >= _MOST:
            against.append(f"the generator has collapsed: {line}; {_FIX}")
        else:
            said.append(f"warning: the generator repeats itself: {line}")
    if recall is not None and recall < _LITTLE:
        line = f"{recall:.0%} of the held-out pictures lie among the made ones (recall), which differ {spread:.0%} as much as real ones"
        if recall < _HARDLY and spread < _ALIKE:
            against.append(f"the generator has collapsed: {line}; {_FIX}")
        else:
            said.append(f"warning: the generator leaves out much of what there is: {line}")
    return against, said
