"""Begin a study, run its trials side by side, and merge the best one's settings into the project."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from components import STARTED
from components.train.logic import BackgroundTracker, curve_point
from sluice.core import events, files, yamlfile
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.project import Project, read_text
from sluice.report.study import study_page
from sluice.steps.execute import open_project, run_step
from sluice.tuning.search import search
from sluice.tuning.study import best, check_space, evidence, merged, open_study, requeue, settings_of


def begin(project: str, base_dir: str, home: str, *, dataset_path: str, gate_path: str) -> list[str]:
    """Check the space and open the study; what a killed one left unfinished is put in line again.

    Returns:
        A number for each of the processes that will work on it.
    """

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        tune = settings_of(settings)
        check_space(read_text(project, "parameter `project`"), tune, base)
        study = open_study(settings, Dataset.open(Path(dataset_path)), _home(home))
        again = requeue(study)
        told = f"study {study.study_name}: {tune.trials} trials over {', '.join(tune.space)}" + (
            f"; {again} of a killed process again" if again else ""
        )
        return Gate("tune", "pass", (told,), {"study": study.study_name, "workers": [str(i + 1) for i in range(tune.parallel)]})

    return list(run_step(work, gate_path, step="tune", started=STARTED).evidence["workers"])


def trials(project: str, base_dir: str, home: str, worker: str, *, dataset_path: str, gate_path: str) -> int:
    """Run trials until the study has all of its own; returns how many this process ran."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        dataset = Dataset.open(Path(dataset_path))
        study = open_study(settings, dataset, _home(home), worker=int(worker))
        place = Path(gate_path).absolute().parent
        place.mkdir(parents=True, exist_ok=True)

        def on_trial(found: dict[str, Any]) -> None:
            shown = f"{found['value']:.4g}" if found["value"] is not None else found["state"]
            events.emit("note", text=f"trial {found['number']}: {shown}  {_told(found['params'])}")
            _track(settings, Home(home or None), study.study_name, found)

        with tempfile.TemporaryDirectory(dir=place, prefix=files.PARTIAL) as tmp:
            done = search(
                study,
                read_text(project, "parameter `project`"),
                settings,
                dataset,
                Path(tmp),
                base_dir=base,
                on_trial=on_trial,
                on_event=lambda event: events.emit("progress", step="tune", data=event),
            )
        return Gate("tune", "pass", (f"{done} trials by process {worker}",), {"trials": done})

    return int(run_step(work, gate_path, step="tune", started=STARTED).evidence["trials"])


def choose(project: str, base_dir: str, home: str, *, dataset_path: str, report_path: str, gate_path: str) -> str:
    """The project with the best trial's settings in it, on one line; draws the study."""

    def work() -> Gate:
        settings, _ = open_project(project, base_dir)
        dataset = Dataset.open(Path(dataset_path))
        study = open_study(settings, dataset, _home(home))
        found = evidence(study, settings, dataset.objective)
        text = yamlfile.line(merged(read_text(project, "parameter `project`"), best(study).params))
        files.write_text(Path(report_path), study_page(settings.name, found))
        reason = f"trial {found['best']['number']} of {len(found['trials'])}: {found['metric']} {found['best']['value']:.4g} with {_told(found['best']['params'])}"
        return Gate("tune", "pass", (reason,), {**found, "project": text})

    return str(run_step(work, gate_path, step="tune", started=STARTED).evidence["project"])


def _home(home: str) -> Home | None:
    return Home(home) if home else None


def _told(params: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in params.items())


def _track(settings: Project, home: Home, study: str, found: dict[str, Any]) -> None:
    tracker = BackgroundTracker(settings, home, f"{study}-trial-{found['number']}")
    tracker.put("params", found["params"])
    tracker.put(
        "tags",
        {
            "sluice.project": settings.name,
            "sluice.study": study,
            "sluice.trial": str(found["number"]),
            "sluice.trial.state": found["state"],
        },
    )
    for entry in found["history"]:
        tracker.put("metrics", curve_point(entry), int(entry["epoch"]))
    tracker.put("finish", "FINISHED" if found["state"] == "complete" else "KILLED" if found["state"] == "pruned" else "FAILED")
    tracker.close()
