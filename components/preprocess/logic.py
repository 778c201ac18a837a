"""Turn the project's source into a dataset with a digest."""

from __future__ import annotations

import shutil
from pathlib import Path

from components import STARTED
from components.rayjob import RESULT, on_cluster
from sluice.core import files
from sluice.core.gate import Gate
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.project import Project
from sluice.steps.execute import open_project, run_step
from sluice.tasks import Task, load_task


def run(project: str, base_dir: str, *, dataset_path: str, gate_path: str) -> str:
    """Returns the dataset's digest."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        task = load_task(settings, base)
        made = _prepared(settings, base, task, Path(dataset_path))
        rows = {split: made.rows(split) for split in ("train", "validation", "test")} | ({} if task.learns else {"train": 0})
        shards = {split: len(made.shards(split)) for split in rows}
        told = ", ".join(f"{n:,} {split}" for split, n in rows.items()) + f" rows; data {made.digest[:12]}"
        return Gate(
            "preprocess",
            "pass",
            (told,),
            {
                "digest": made.digest,
                "rows": rows,
                "shards": shards,
                "labels": made.labels,
                "objective": made.objective,
                "columns": made.columns,
                "split": made.manifest["source"]["split"],
            },
        )

    return str(run_step(work, gate_path, step="preprocess", started=STARTED).evidence["digest"])


def _prepared(settings: Project, base: Path, task: Task, out: Path) -> Dataset:
    """Here; or by a RayJob, where the project and the cluster say so."""
    if not on_cluster(settings.data.engine):
        return prepare(settings, base, task, out)
    from components.rayjob.step import handed

    with handed("preprocess", settings.name, {"project": settings.model_dump_json(), "base_dir": str(base)}) as folder:
        Dataset.open(folder / RESULT)  # as it was written
        with files.new_dir(out) as tmp:
            shutil.copytree(folder / RESULT, tmp, dirs_exist_ok=True)
    return Dataset.open(out, verify=False)
