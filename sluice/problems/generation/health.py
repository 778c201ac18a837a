"""Whether a generator has collapsed: it makes the same few pictures, or leaves out most of what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Share of made pictures with a twin, from which on a generator repeats itself; a hundredth is what real pictures have, by how a twin is told.
_SOME, _MOST = 0.2, 0.5
#: Recall below which most of what there is, or nearly all, is left out.
_LITTLE, _HARDLY = 0.3, 0.05
_FIX = "train longer, with more noise (model.noise) or less difference in strength (model.width), or with model.kind: vae"


def faults(found: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What speaks against a model, and what a person has to hear of it: sentences.

    Args:
        found: of `sluice.problems.evaluator.evaluate`.
    """
    against, said = [], []
    twins, recall = found.get("repeated"), found["metrics"].get("recall", {}).get("value")
    if twins is not None and twins >= _SOME:
        line = f"{twins:.0%} of the made pictures have a twin among them, where 1% of real ones do"
        if twins >= _MOST:
            against.append(f"the generator has collapsed: {line}; {_FIX}")
        else:
            said.append(f"warning: the generator repeats itself: {line}")
    if recall is not None and recall < _LITTLE:
        line = f"{recall:.0%} of the held-out pictures lie among the made ones (recall)"
        if recall < _HARDLY:
            against.append(f"the generator has collapsed: {line}; {_FIX}")
        else:
            said.append(f"warning: the generator leaves out much of what there is: {line}")
    return against, said
