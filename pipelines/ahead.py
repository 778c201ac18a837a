"""What the steps of a run on this machine have imported before they begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TextIO

from sluice.core.warm.start import Plan, Warm

#: Nothing in it may start a thread: not ONNX Runtime, which does as it is imported (and takes no time to). `components` stays out as well:
#: it notes when a step began.
PLAN = Plan(
    shared=("kfp.dsl.executor", "sluice.data.prepare", "sluice.kfp.form", "sluice.report.page", "sluice.steps.execute", "sluice.tasks"),
    sets={
        "tracking": (
            "sluice.tracking.mlflow:preload",
            "sluice.registry.versions",
            "sluice.problems.evaluator",
            "sluice.engines.predictor",
            "sluice.learners.torch.fit",
            "sluice.rollouts.local",
            "sluice.rollouts.handover",
        ),
        "training": ("torch", "sluice.learners.torch.worker", "sluice.formats.export", "onnxscript", "torch.onnx"),
    },
    steps={"train": "tracking", "evaluate": "tracking", "register": "tracking", "rollout": "tracking", "export_onnx": "training"},
    env={"_KFP_RUNTIME": "true"},
)


@contextlib.contextmanager
def warm(log: TextIO) -> Iterator[None]:
    """The steps that begin in here are forks of a process that has imported this ahead; where that cannot be, `log` is told why."""
    process = Warm(PLAN)
    if process.why is not None:
        log.write(f"each step imports for itself: {process.why}\n")
    try:
        with process.in_use():
            yield
    finally:
        process.stop()
