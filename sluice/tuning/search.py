"""The work of one process of a study: ask, train, tell, until the study has its trials."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.dataset import Dataset
from sluice.learners.base import Trained
from sluice.learners.errors import NonFiniteError
from sluice.learners.fit import fit
from sluice.problems.metrics import need_positive
from sluice.project import Project, parse
from sluice.tuning.study import DIVERGED, _optuna, ended, merged, metric, settings_of, suggest

if TYPE_CHECKING:
    import optuna

#: What a trial does not do again: folds within trials, and a port that its neighbours serve on.
_NOT_IN_A_TRIAL = ("folds", "metrics_port")


def search(
    study: optuna.Study,
    raw: dict[str, Any],
    project: Project,
    dataset: Dataset,
    work: Path,
    *,
    base_dir: Path | None = None,
    on_trial: Callable[[dict[str, Any]], None] | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Run trials until the study has ``tune.trials``; returns how many this process ran.

    A trial that the pruner gives up on ends within the epoch. One whose loss is not finite counts as
    diverged. Trials train on this machine, whatever ``train.nodes`` says.

    Args:
        study: opened with `open_study`.
        raw: the project's raw mapping.
        project: the same, parsed.
        dataset: its data.
        work: where trials' models lie for a moment.
        base_dir: where relative paths in the project start.
        on_trial: told how each ended: number, state, value, params, history.
        on_event: told of the trainings' progress, with ``trial``.

    Raises:
        ProjectError, DataError, TrainingError: a trial met what would meet every trial.
    """
    tune, done = settings_of(project), 0
    name, _ = metric(project, dataset.objective)
    need_positive(name, None if len(dataset.labels) != 2 and project.evaluate.positive is None else 0, len(dataset.labels))
    states = _optuna().trial.TrialState
    while _before(study, None) < tune.trials:
        trial = study.ask()
        if _before(study, trial.number) >= tune.trials:  # a neighbour was quicker
            study.tell(trial, state=states.FAIL)
            break
        found = _run(study, trial, raw, project, name, dataset, work, base_dir, on_event)
        done += 1
        if on_trial:
            on_trial(found)
    return done


def _before(study: optuna.Study, number: int | None) -> int:
    """Trials that count or are at work, but for those from `number` on."""
    return sum((ended(t) or t.state.name == "RUNNING") and (number is None or t.number < number) for t in study.get_trials(deepcopy=False))


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    raw: dict[str, Any],
    project: Project,
    name: str,
    dataset: Dataset,
    work: Path,
    base_dir: Path | None,
    on_event: Callable[[dict[str, Any]], None] | None,
) -> dict[str, Any]:
    optuna = _optuna()
    states = optuna.trial.TrialState
    params = suggest(trial, settings_of(project))
    off = {f"train.{name}": None for name in _NOT_IN_A_TRIAL if name in type(project.train).model_fields}
    settings = parse(merged(raw, {**params, **off}), where=f"trial {trial.number}", base_dir=base_dir)
    history: list[dict[str, Any]] = []

    def watch(event: dict[str, Any]) -> None:
        if on_event:
            on_event({**event, "trial": trial.number})
        if event["kind"] == "epoch":
            history.append(event)
            value = event["validation_loss"] if name == "loss" else event["validation_metrics"].get(name)
            if value is not None and math.isfinite(value):
                trial.report(value, event["epoch"])
                if event["epoch"] < event["epochs"] and trial.should_prune():
                    raise optuna.TrialPruned

    state, value = states.COMPLETE, None
    with tempfile.TemporaryDirectory(dir=work, prefix=f"trial-{trial.number}-") as tmp:
        try:
            value = _value(fit(settings, dataset, Path(tmp) / "model", base_dir=base_dir, on_event=watch), name)
            if not math.isfinite(value):
                raise NonFiniteError(f"{name} of the validation rows is {value}", field="train")
        except optuna.TrialPruned:
            state, value = states.PRUNED, None
        except NonFiniteError as e:
            state, value = states.FAIL, None
            trial.set_user_attr(DIVERGED, str(e)[:500])
    study.tell(trial, value, state=state)
    return {"number": trial.number, "state": state.name.lower(), "value": value, "params": params, "history": history}


def _value(result: Trained, name: str) -> float:
    return result.metrics.get(name, float("nan"))
