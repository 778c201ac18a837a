"""Judge a package, as it will be served: the bar of the project file, and the champion's package on the same rows."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from components import STARTED
from sluice.core import files
from sluice.core.errors import DataError, InputError, PackageError, SluiceError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.core.spelling import Spelling
from sluice.data.dataset import Dataset
from sluice.engines.predictor import Predictor
from sluice.engines.rows import spelled_by
from sluice.engines.scoring import answers, positive_label, targets_of
from sluice.gates.baselines import simple, trivial
from sluice.gates.champion import compare
from sluice.gates.floor import judge
from sluice.gates.quality import cautions, decide, never_predicted, too_narrow
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.package.store import open_store
from sluice.problems.evaluator import evaluate
from sluice.project import Project
from sluice.registry.serving import BY
from sluice.registry.versions import CHAMPION, Registry, Version
from sluice.report import page
from sluice.rollouts.handover import serving, target
from sluice.steps.execute import open_project, run_step
from sluice.tracking.tracker import open_tracker, tracking_uri


def run(
    project: str, base_dir: str, home: str, run_id: str, *, dataset_path: str, package_path: str, report_path: str, gate_path: str
) -> Gate:
    """Returns the gate, with ``evaluation`` and ``comparison`` as evidence."""

    def work() -> Gate:
        settings, _ = open_project(project, base_dir)
        place, dataset, package = Home(home or None), Dataset.open(Path(dataset_path)), packages.read(Path(package_path))
        labels = list(package.labels)
        test = dataset.read("test", list(dict.fromkeys(["label", *settings.evaluate.slices])))
        outputs = answers(Predictor(package).predict, package.preprocess, dataset, "test")
        targets = targets_of(test.column("label"), labels)
        slices = {c: [str(v) for v in test.column(c).to_pylist()] for c in settings.evaluate.slices}
        positive = positive_label(settings.evaluate, dataset)
        found = evaluate(outputs, targets, labels, settings.evaluate, slices, rule=package.rule, positive=positive)
        champion, note = champion_package(settings, place)
        comparison = None
        if champion is not None:
            comparison, note = against(champion, dataset, outputs, targets, package, settings, positive)
        baselines = (
            trivial(dataset, labels, found["metric"], positive),
            simple(dataset, labels, package.preprocess, package.root, settings.evaluate, positive),
        )
        floor = judge(outputs, targets, labels, found, *baselines, settings.evaluate, rule=package.rule, positive=positive)
        decision, reasons = decide(found, comparison, settings.evaluate, floor)
        tracker = open_tracker(settings, place, run_id=run_id or None, name=Path(dataset_path).parent.parent.name)
        tracker.metrics({f"test_{k}": v["value"] for k, v in found["metrics"].items()})
        tracker.tags({"sluice.evaluate": decision})
        tracker.finish("FINISHED")
        evidence = {
            "evaluation": found,
            "comparison": comparison,
            "champion_note": note,
            "digest": package.digest,
            "precision": package.precision,
            "floor": floor,
            "cautions": cautions(floor) + never_predicted(found) + too_narrow(found),
        }
        return Gate("evaluate", decision, tuple(reasons), evidence)

    gate = run_step(work, gate_path, step="evaluate", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate


def champion_version(registry: Registry, name: str) -> Version | None:
    """On a cluster what serves, where it can be asked for and has a version: the registry may be behind. Else the registry's champion."""
    where, digest = target(), None
    if where is not None:
        try:
            digest = serving(name, where)
        except SluiceError as e:
            print(f"what serves could not be asked for, the registry's champion is taken: {e}", file=sys.stderr)
    return (registry.by_digest(name, digest) if digest else None) or registry.by_alias(name, CHAMPION)


def champion_package(settings: Project, home: Home) -> tuple[Package | None, str]:
    """The model in production, and why there is none if there is none."""
    version = champion_version(Registry(tracking_uri(settings, home)), settings.name)
    if version is None:
        return None, "there is no champion yet: this is the first model"
    try:
        return open_store(version.uri, home).get(version.digest), f"version {version.number}, {version.digest[:12]}"
    except PackageError as e:
        if BY in version.tags:
            # Applied by hand, from where only KServe can fetch: no run could do anything about it.
            return (
                None,
                f"the champion, version {version.number}, was registered by {version.tags[BY]} and cannot be read here, so nothing was compared: {e.message}",
            )
        raise PackageError(
            f"the champion's package cannot be read: {e.message}",
            field=f"{settings.name}@{CHAMPION}",
            value=version.digest,
            fix="put the package back into the store, or drop the alias `champion` in the registry to start anew",
        ) from e


def against(
    champion: Package,
    dataset: Dataset,
    outputs: np.ndarray,
    targets: np.ndarray,
    candidate: Package,
    settings: Project,
    positive: str | None,
) -> tuple[dict[str, Any] | None, str]:
    """Candidate and champion on the same rows; the champion runs from its package, as it does in production."""
    if champion.objective != dataset.objective or champion.task != settings.task:
        return None, f"the champion solves another problem ({champion.task}, {champion.objective}): not comparable"
    try:
        predict, spelled = Predictor(champion).predict, spelled_by(champion)
        theirs = answers(lambda rows: predict(spelled(list(rows))), champion.preprocess, dataset, "test")
    except (InputError, DataError) as e:
        return None, f"the champion cannot read these rows, so nothing was compared: {e.message}"
    labels, rule = list(champion.labels), champion.rule
    if not set(labels) & set(candidate.labels):  # made when 1.0 was another class than 1
        spelling = Spelling.kept(candidate.labels)
        labels = [spelling.text(v) for v in labels]
        rule = dataclasses.replace(rule, label=spelling.text(rule.label)) if rule is not None else None
    result = compare(
        outputs,
        theirs,
        targets,
        list(candidate.labels),
        labels,
        settings.evaluate,
        rule=candidate.rule,
        champion_rule=rule,
        positive=positive,
    )
    return {**result, "champion_digest": champion.digest}, ""
