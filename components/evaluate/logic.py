"""Judge a package, as it will be served: the bar of the project file, and the champion's package on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import STARTED
from components.evaluate.standing import standing
from sluice.core import files
from sluice.core.check import make, own_checks
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.data.where import Held, sliced
from sluice.engines.scoring import asked_and_judged, positive_label
from sluice.gates.facts import Judged
from sluice.package import package as packages
from sluice.problems.evaluator import evaluate
from sluice.report import page
from sluice.steps.execute import open_project, run_step
from sluice.tracking.tracker import open_tracker

#: Bytes of each part of the evidence that is handed on, and values of a column.
_TOLD, _SLICES = 1000, 5


def run(
    project: str, base_dir: str, home: str, run_id: str, *, dataset_path: str, package_path: str, report_path: str, gate_path: str
) -> Gate:
    """Returns the gate, with ``evaluation`` and ``comparison`` as evidence."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        place, dataset, package = Home(home or None), Dataset.open(Path(dataset_path)), packages.read(Path(package_path))
        labels, kept = list(package.labels), place.root / "answers"
        outputs, targets = asked_and_judged(package, dataset, "test", settings, kept)
        slices = sliced(Held.of(dataset, "test"), settings.evaluate.slices)
        positive = positive_label(settings.evaluate, dataset)
        asked, units = dataset.problem, dataset.problem.units(dataset, "test")
        found = evaluate(
            outputs, targets, labels, settings.evaluate, slices, rule=package.rule, positive=positive, asked=asked, units=units
        )
        met = standing(settings, place, dataset, package.digest)
        facts = Judged(
            settings,
            dataset,
            package,
            outputs,
            targets,
            positive,
            units,
            found,
            met.champion,
            met.champion_note,
            met.anchor,
            met.anchor_note,
            met.before,
            met.refused,
            met.decline,
            kept,
        )
        own = own_checks("evaluate", settings.evaluate.checks, field="evaluate.checks", beside=base)
        said = make("evaluate", facts, settings.evaluate, own)
        met.keep(package.digest, said.evidence)
        tracker = open_tracker(settings, place, run_id=run_id or None, name=Path(dataset_path).parent.parent.name)
        tracker.metrics({f"test_{k}": v["value"] for k, v in found["metrics"].items()})
        tracker.tags({"sluice.evaluate": said.decision})
        tracker.finish("FINISHED")
        form = {"precision": package.precision} | ({} if package.graph else {"graph": False})
        made = {"digest": package.digest, **form, "cautions": list(said.cautions)} | told(found)
        return Gate("evaluate", said.decision, said.reasons, said.evidence | made)

    gate = run_step(work, gate_path, step="evaluate", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate


def told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What of an evaluation goes into the package's record and its card: few enough bytes to be handed from step to step.

    ``measured`` {metric: [value, low, high]}, and ``sliced`` [[where, value, low, high, rows]]: the worst values of each column it was
    sliced by, as far as there is room.
    """
    measured = {name: [_short(m[k]) for k in ("value", "low", "high")] for name, m in found["metrics"].items()}
    kept: dict[str, int] = {}
    sliced: list[list[Any]] = []
    for s in found.get("slices") or ():
        kept[s["column"]] = kept.get(s["column"], 0) + 1
        row = [f"{s['column']} = {s['value']}"[:60], _short(s["metric"]), _short(s["low"]), _short(s["high"]), s["rows"]]
        if kept[s["column"]] <= _SLICES and len(files.canonical_json([*sliced, row])) < _TOLD:
            sliced.append(row)
    while len(files.canonical_json(measured)) > _TOLD:
        measured.popitem()
    return {"measured": measured} | ({"sliced": sliced} if sliced else {})


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
