"""What the steps of a run on this machine have imported before they begin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sluice.core.warm.start import Plan, Set, Warm
from sluice.project import Project
from sluice.tasks import load_task

#: Nothing in it may start a thread: not ONNX Runtime, which does as it is imported (and takes no time to). `components` stays out as well:
#: it notes when a step began.
_SHARED = ("kfp.dsl.executor", "sluice.data.prepare", "sluice.kfp.form", "sluice.report.page", "sluice.steps.execute", "sluice.tasks")
_SETS = {
    "tracking": Set(
        (
            "sluice.tracking.mlflow:preload",
            "sluice.registry.versions",
            "sluice.problems.evaluator",
            "sluice.engines.predictor",
            "sluice.learners.crossvalidation",
            "sluice.rollouts.local",
            "sluice.rollouts.handover",
        )
    ),
    "baselines": Set(("sklearn.linear_model", "sluice.gates.features")),
}
#: `validate_data` and `preprocess` take what all share, and so need not wait for more.
_STEPS = {"train": "tracking", "evaluate": "tracking", "register": "tracking", "rollout": "tracking", "export_onnx": "export"}


def plan(project: Project, base_dir: Path) -> Plan:
    """What the steps of this project's run import."""
    ahead = load_task(project, base_dir).learner().ahead
    learner = {"training": Set(ahead.get("training", ())), "export": Set(ahead.get("export", ()), on="training")}
    tracking = Set((*_SETS["tracking"].modules, *ahead.get("train", ())))
    return Plan("kfp.dsl.executor_main", _SHARED, {**_SETS, "tracking": tracking, **learner}, _STEPS, {"_KFP_RUNTIME": "true"})


@contextlib.contextmanager
def warm(project: Project, base_dir: Path, log: TextIO) -> Iterator[None]:
    """The steps that begin in here are forks of a process that has imported this ahead; where that cannot be, `log` is told why."""
    process = Warm(plan(project, base_dir))
    if process.why is not None:
        log.write(f"each step imports for itself: {process.why}\n")
    try:
        with process.in_use():
            yield
    finally:
        process.stop()
