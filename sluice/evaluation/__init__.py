"""Judging a model on held-out rows: metrics with intervals, slices, the champion beside it, the gate.

Imported on first use, so that reading a project file costs no numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluice.evaluation.comparison import compare
    from sluice.evaluation.evaluator import evaluate, values
    from sluice.evaluation.gate import decide

__all__ = ["compare", "decide", "evaluate", "values"]

_HOME = {"compare": "comparison", "evaluate": "evaluator", "decide": "gate", "values": "evaluator"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
