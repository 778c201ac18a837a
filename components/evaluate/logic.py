"""Judge a trained model: the bar of the project file, and the champion on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components import STARTED
from sluice import files
from sluice.data.dataset import Dataset
from sluice.errors import DataError, InputError, PackageError
from sluice.evaluation import compare, decide, evaluate
from sluice.gates import Gate
from sluice.home import Home
from sluice.packaging.package import Package
from sluice.packaging.predictor import Predictor
from sluice.packaging.rows import rows_from_arrow
from sluice.packaging.store import open_store
from sluice.project import Project
from sluice.report import page
from sluice.step import open_project, run_step
from sluice.tracking.registry import CHAMPION, Registry
from sluice.tracking.tracker import open_tracker, tracking_uri
from sluice.training.fit import load_trained, predict


def run(project: str, base_dir: str, home: str, run_id: str, *, dataset_path: str, model_path: str, report_path: str, gate_path: str) -> Gate:
    """Returns the gate, with ``evaluation`` and ``comparison`` as evidence."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        place, dataset = Home(home or None), Dataset.open(Path(dataset_path))
        test = dataset.read("test")
        task, state, module = load_trained(settings, Path(model_path), base)
        outputs = predict(task, state, module, dataset, "test", settings.train.batch_size or 64)
        targets = targets_of(test, state.labels, dataset.objective)
        slices = {c: [str(v) for v in test.column(c).to_pylist()] for c in settings.evaluate.slices}
        found = evaluate(outputs, targets, state.labels, settings.evaluate, slices)
        champion, note = champion_package(settings, place)
        comparison = None
        if champion is not None:
            comparison, note = against(champion, test, dataset, outputs, targets, state.labels, settings)
        decision, reasons = decide(found, comparison, settings.evaluate)
        tracker = open_tracker(settings, place, run_id=run_id or None, name=Path(dataset_path).parent.parent.name)
        tracker.metrics({f"test_{k}": v["value"] for k, v in found["metrics"].items()})
        tracker.tags({"sluice.evaluate": decision})
        tracker.finish("FINISHED")
        return Gate("evaluate", decision, tuple(reasons), {"evaluation": found, "comparison": comparison, "champion_note": note})

    gate = run_step(work, gate_path, step="evaluate", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate


def targets_of(table: pa.Table, labels: list[str], objective: str) -> np.ndarray:
    """Held-out answers: class indices int64 [N] (-1 for a label never seen in training), or values float64 [N]."""
    column = table.column("label")
    if objective == "regression":
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    index = {label: i for i, label in enumerate(labels)}
    return np.array([index.get(v, -1) for v in column.to_pylist()], dtype=np.int64)


def champion_package(settings: Project, home: Home) -> tuple[Package | None, str]:
    """The model in production, and why there is none if there is none."""
    version = Registry(tracking_uri(settings, home)).by_alias(settings.name, CHAMPION)
    if version is None:
        return None, "there is no champion yet: this is the first model"
    try:
        return open_store(version.uri, home).get(version.digest), f"version {version.number}, {version.digest[:12]}"
    except PackageError as e:
        raise PackageError(f"the champion's package cannot be read: {e.message}", field=f"{settings.name}@{CHAMPION}", value=version.digest,
                           fix="put the package back into the store, or drop the alias `champion` in the registry to start anew") from e  # fmt: skip


def against(champion: Package, test: pa.Table, dataset: Dataset, outputs: np.ndarray, targets: np.ndarray, labels: list[str],
            settings: Project) -> tuple[dict[str, Any] | None, str]:  # fmt: skip
    """Candidate and champion on the same rows; the champion runs from its package, as it does in production."""
    if champion.objective != dataset.objective or champion.task != settings.task:
        return None, f"the champion solves another problem ({champion.task}, {champion.objective}): not comparable"
    try:
        theirs = Predictor(champion).predict(rows_from_arrow(champion.preprocess, test))
    except (InputError, DataError) as e:
        return None, f"the champion cannot read these rows, so nothing was compared: {e.message}"
    result = compare(outputs, theirs, targets, labels, list(champion.labels), settings.evaluate)
    return {**result, "champion_digest": champion.digest}, ""
