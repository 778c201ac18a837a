"""A study: trials in a storage that outlives the processes which run them (Akiba et al. 2019, Optuna)."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core import files
from sluice.core.errors import MissingExtra, ProjectError, SluiceError, first_line
from sluice.core.home import Home
from sluice.problems.metrics import metric_of, sign
from sluice.project import Project, parse
from sluice.tuning.config import Choice, FloatRange, TuneConfig

if TYPE_CHECKING:
    import optuna

    from sluice.data.dataset import Dataset

#: Where trials are kept when the project does not say: shared by all tasks of a cluster.
STORAGE_ENV = "SLUICE_TUNE_STORAGE"
#: A trial's own attribute: why it has no value though it ended (a loss that was not finite).
DIVERGED = "diverged"


def settings_of(project: Project) -> TuneConfig:
    """The project's `tune:`. Raises `ProjectError` where there is none."""
    if project.tune is None:
        raise ProjectError(
            "is not in the project file",
            field="tune",
            fix="add tune: {space: {train.learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}}}",
        )
    return project.tune


def merged(raw: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of a project's raw mapping with dotted keys set, and without `tune`.

    Raises:
        ProjectError: a key's section is something else in the project.
    """
    out: dict[str, Any] = copy.deepcopy({k: v for k, v in raw.items() if k != "tune"})
    for key, value in values.items():
        at = out
        *path, last = key.split(".")
        for part in path:
            if at.get(part) is None:
                at[part] = {}
            at = at[part]
            if not isinstance(at, dict):
                raise ProjectError(
                    "is not a section of the project", field=f"tune.space.{key}", value=at, fix="name a key inside a section"
                )
        at[last] = value
    return out


def check_space(raw: dict[str, Any], tune: TuneConfig, base_dir: Path | None = None) -> None:
    """Parse the project at every edge of the space, before anything is trained.

    Raises:
        ProjectError: a key that is not there, or a value that it does not take; the range is named.
    """
    for key, range_ in tune.space.items():
        for value in range_.edges:
            try:
                parse(merged(raw, {key: value}), where="with this value", base_dir=base_dir)
            except ProjectError as e:
                raise ProjectError(f"the project does not take it: {e.message}", field=f"tune.space.{key}", value=value, fix=e.fix) from e


def metric(project: Project, objective: str) -> tuple[str, str]:
    """What trials are judged by, and ``minimize`` or ``maximize``.

    Raises:
        ProjectError: no metric of the objective.
    """
    tune = settings_of(project)
    name = metric_of(tune.metric, objective, "tune.metric", ("loss",)) if tune.metric else metric_of(project.evaluate.metric, objective)
    return name, tune.direction or ("minimize" if sign(name, objective) < 0 else "maximize")


def study_name(project: Project, dataset: Dataset) -> str:
    """The same settings, space and data give the same study again: it is gone on with. How many trials, and how many at a time, may change."""
    tune = settings_of(project).model_dump(mode="json", exclude={"trials", "parallel", "storage"})
    told = files.digest_of([project.model_dump(mode="json", include={"task", "model", "train", "evaluate"}), tune, dataset.digest])
    return f"{project.name}-{told[:10]}"


def open_study(project: Project, dataset: Dataset, home: Home | None, *, worker: int = 0) -> optuna.Study:
    """Open the study, or make it.

    Args:
        project: with `tune`.
        dataset: its data: of the study's identity.
        home: where a journal is kept when no storage is named.
        worker: which of the processes at work: their samplers draw differently.

    Raises:
        MissingExtra: optuna is not installed.
        ProjectError: no storage is named and there is no home; a metric that is not one.
        SluiceError: the storage cannot be used.
    """
    optuna = _optuna()
    tune, name = settings_of(project), study_name(project, dataset)
    _, direction = metric(project, dataset.objective)
    samplers, pruners = optuna.samplers, optuna.pruners
    sampler = (
        samplers.TPESampler(seed=tune.seed + worker, multivariate=True, constant_liar=tune.parallel > 1)
        if tune.sampler == "tpe"
        else samplers.RandomSampler(seed=tune.seed + worker)
    )
    epochs = (
        max([getattr(project.train, "epochs", None) or 0, *(int(e) for e in getattr(tune.space.get("train.epochs"), "edges", []))])
        or "auto"
    )
    pruner = {
        "asha": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        "none": pruners.NopPruner,
    }[tune.pruner]()
    where = tune.storage or os.environ.get(STORAGE_ENV) or _home_journal(home, name)
    try:
        return optuna.create_study(
            study_name=name, storage=_storage(optuna, where), sampler=sampler, pruner=pruner, direction=direction, load_if_exists=True
        )
    except (OSError, ImportError, ValueError, optuna.exceptions.OptunaError, *_database_errors()) as e:
        raise SluiceError(
            f"cannot be used: {type(e).__name__}: {first_line(e, 200)}",
            field="tune.storage",
            value=where,
            fix="journal:FILE on a disk all trials see, or a database whose driver is installed",
        ) from e


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as e:
        raise MissingExtra("needs optuna", field="tune", fix="pip install 'sluice-ml[tuning]'") from e
    import warnings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _home_journal(home: Home | None, name: str) -> str:
    if home is None:
        raise ProjectError(
            "is not set, and there is no home on a cluster",
            field="tune.storage",
            fix=f"name a database's URL, or journal:FILE on a shared volume, there or in {STORAGE_ENV}",
        )
    path = home.root / "studies" / f"{name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"journal:{path}"


def _storage(optuna: Any, where: str) -> Any:
    if not where.startswith("journal:"):
        return optuna.storages.RDBStorage(
            where, engine_kwargs={"connect_args": {"timeout": 60}} if where.startswith("sqlite") else {"pool_pre_ping": True}
        )
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = where.removeprefix("journal:")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))


def _database_errors() -> tuple[type[Exception], ...]:
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return ()
    return (SQLAlchemyError,)


def ended(trial: Any) -> bool:
    """Whether a trial counts: it has a value, was pruned, or diverged."""
    return trial.state.name in ("COMPLETE", "PRUNED") or (trial.state.name == "FAIL" and DIVERGED in trial.user_attrs)


def requeue(study: optuna.Study) -> int:
    """Have the settings of trials whose process was killed tried again; only while no process is at work. Returns how many."""
    optuna = _optuna()
    states = optuna.trial.TrialState
    lost = [t for t in study.get_trials(deepcopy=False) if t.state == states.RUNNING]
    for trial in lost:
        study.tell(trial.number, state=states.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return len(lost)


def suggest(trial: optuna.Trial, tune: TuneConfig) -> dict[str, Any]:
    """A value for each key of the space."""
    out: dict[str, Any] = {}
    for key, r in tune.space.items():
        if isinstance(r, Choice):
            out[key] = trial.suggest_categorical(key, r.choices)
        elif isinstance(r, FloatRange):
            out[key] = trial.suggest_float(key, r.low, r.high, log=r.log, step=r.step)
        else:
            out[key] = trial.suggest_int(key, r.low, r.high, log=r.log, step=r.step)
    return out


def best(study: optuna.Study) -> Any:
    """The best trial with a value. Raises `SluiceError` when none has one."""
    found = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE" and t.value is not None and math.isfinite(t.value)]
    if not found:
        raise SluiceError(
            "no trial came to a value", field="tune", fix="widen the space, or look at the trials' errors in the study's report"
        )
    sign = 1 if study.direction.name == "MINIMIZE" else -1
    return min(found, key=lambda t: (sign * float(t.value or 0.0), t.number))


def evidence(study: optuna.Study, project: Project, objective: str) -> dict[str, Any]:
    """The study as plain JSON values: its trials in order, the best, and how much each key matters (PED-ANOVA: Watanabe et al. 2023)."""
    trials = [
        {
            "number": t.number,
            "state": t.state.name.lower(),
            "value": t.value if t.value is None or math.isfinite(t.value) else None,
            "params": t.params,
            "seconds": t.duration.total_seconds() if t.duration else None,
            "error": t.user_attrs.get(DIVERGED),
            "curve": [[step, v] for step, v in sorted(t.intermediate_values.items()) if math.isfinite(v)],
        }
        for t in study.get_trials(deepcopy=False)
        if ended(t)
    ]
    chosen = best(study)
    name, direction = metric(project, objective)
    return {
        "study": study.study_name,
        "metric": name,
        "direction": direction,
        "trials": trials,
        "importance": _importance(study),
        "best": {"number": chosen.number, "value": chosen.value, "params": chosen.params},
    }


def _importance(study: optuna.Study) -> dict[str, float]:
    optuna = _optuna()
    try:
        found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):  # too few trials, or all alike
        return {}
    return {k: float(v) for k, v in found.items() if math.isfinite(v)}
