"""A trained model whose probabilities are calibrated: another model, which answers and is exported as any does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.engines.scoring import held_out_split
from sluice.learners.answers import split_answers
from sluice.learners.base import Trained
from sluice.learners.calibration import Curves, Fit, fit
from sluice.problems.evaluator import measured
from sluice.problems.metrics import TABLE
from sluice.problems.reliability import reliability

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.gates.config import EvaluateConfig
    from sluice.problems.answers import Answers
    from sluice.project import Project

#: What the model's own probabilities are called inside the graph.
_BEFORE = "uncalibrated__"
_LOSSES = ("brier", "log_loss")


class Calibrated(Trained):
    """A model with curves behind its probabilities.

    Args:
        trained: the model.
        curves: from its probabilities to how often they come true.
    """

    def __init__(self, trained: Trained, curves: Curves):
        self.trained, self.curves = trained, curves
        self.state, self.record, self.root = trained.state, trained.record, trained.root
        self.text = f"{trained.text}; calibrated ({curves.name})"

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Trained.run`."""
        return self.curves.of(self.trained.run(inputs))

    def graph(self, opset: int) -> onnx.ModelProto:
        """The model's graph with the curves as its last nodes; see `Trained.graph`."""
        from sluice.learners.tables.nodes import Nodes
        from sluice.package import graph as graphs

        model, name, g = self.trained.graph(opset), self.state.output.name, Nodes("calibrated_")
        graphs.name_inputs(model, {name: _BEFORE})
        end = next(v for v in model.graph.output if v.name.startswith(_BEFORE))
        self.curves.nodes(g, end.name, name)
        end.name = name
        model.graph.node.extend(g.nodes)
        model.graph.initializer.extend(g.constants)
        return model

    def shap(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """The model's own, before its curves."""
        return self.trained.shap(inputs)

    def save(self, root: Path) -> None:
        """The model alone: curves are fitted where it is exported."""
        self.trained.save(root)


def calibrated(trained: Trained, dataset: Dataset, project: Project) -> tuple[Trained, Fit | None]:
    """A model calibrated on the dataset's validation rows, as ``export.calibrate`` says, and how; the model itself where there are too few.

    Args:
        trained: the model.
        dataset: what it was trained on.
        project: the project.

    Returns:
        The model to export, and what was fitted: None where nothing is asked for.

    Raises:
        ProjectError: the model gives no probabilities.
    """
    method, labels = project.export.calibrate, trained.state.labels
    if method == "none":
        return trained, None
    project.export.suits(dataset.problem, labels)
    if "validation" not in dataset.manifest["splits"] or not dataset.rows("validation"):
        return trained, Fit(None, 0, why="there are no validation rows: raise data.split.validation")
    found = fit(method, split_answers(trained, dataset, "validation"), _targets(dataset, "validation", labels), labels)
    return (trained if found.curves is None else Calibrated(trained, found.curves)), found


def effect(
    own: Trained, served: Callable[[str], np.ndarray], found: Fit, dataset: Dataset, project: Project, positive: str | None
) -> tuple[dict[str, Any], str]:
    """What calibration did to the answers to the held-out rows.

    Args:
        own: the model without curves.
        served: the packaged graph's answers to a split.
        found: how they were fitted.
        positive: the label that the Brier score of two labels is of.

    Returns:
        Plain JSON: ``method``, ``fitted_on`` (validation rows), ``kept`` (labels whose probability has no curve) and ``why`` there is none, or
        ``rows`` (held-out ones), ``confidence``, ``before`` and ``after`` {brier, log_loss: {value, low, high}, calibration: of `reliability`} and
        ``gain`` {brier, log_loss: {value, low, high}}, above 0 where calibration is better. And a sentence.
    """
    method, asked = project.export.calibrate, dataset.problem
    said: dict[str, Any] = {"method": method, "fitted_on": found.rows, "kept": list(found.kept), "why": found.why}
    if found.curves is None:
        return said, f"not calibrated: {found.why}"
    split, labels = held_out_split(dataset), own.state.labels
    targets, units = _targets(dataset, split, labels), asked.units(dataset, split)
    sides = (split_answers(own, dataset, split), served(split))
    each = [asked.answers(p, targets, labels, positive=positive, units=units) for p in sides]
    told, gain = [_told(a, project.evaluate) for a in each], {}
    for name in _LOSSES:
        metric = TABLE[name]
        low, high = metric.difference(each[1], each[0], project.evaluate.confidence, project.evaluate.resamples) or (None, None)
        gain[name] = {"value": metric.value(each[0]) - metric.value(each[1]), "low": low, "high": high}
    moved = ", ".join(f"{name.replace('_', ' ')} {told[0][name]['value']:.4g} to {told[1][name]['value']:.4g}" for name in _LOSSES)
    text = f"calibrated ({method}, {found.rows} validation rows): {moved}, expected calibration error {_ece(told[0])} to {_ece(told[1])}"
    said |= {"rows": len(targets), "confidence": project.evaluate.confidence, "before": told[0], "after": told[1], "gain": gain}
    return said, f"{text}, on {len(targets)} held-out rows"


def _told(a: Answers, config: EvaluateConfig) -> dict[str, Any]:
    return {name: measured(TABLE[name], a, config) for name in _LOSSES} | {"calibration": reliability(a, config.confidence)}


def _ece(told: dict[str, Any]) -> str:
    return f"{told['calibration']['ece']:.4g}"


def _targets(dataset: Dataset, split: str, labels: list[str]) -> np.ndarray:
    return dataset.problem.targets(dataset.read(split, ["label"]).column("label"), labels)
