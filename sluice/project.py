"""The project file: the one file a user writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, SerializeAsAny, ValidationError

from sluice.core import files, yamlfile
from sluice.core.errors import ProjectError
from sluice.core.registry import Registry
from sluice.core.section import Section, explain
from sluice.data.config import DataConfig
from sluice.formats.base import formats_of
from sluice.formats.config import ExportConfig
from sluice.gates.check import own_checks
from sluice.gates.config import EvaluateConfig
from sluice.kfp.config import ClusterConfig
from sluice.learners.estimators.config import EstimatorModel, EstimatorTrain
from sluice.learners.estimators.config import model_section as estimator_section
from sluice.learners.torch.config import TrainConfig
from sluice.rollouts.spec import RolloutSpec
from sluice.steps.step import own_steps
from sluice.tasks.config import ImageModel, TabularModel, TextModel
from sluice.tracking.config import TrackingConfig
from sluice.tuning.config import TuneConfig

#: Every task there is by name.
TASKS = Registry(
    "task", {"image": "sluice.tasks.image:ImageTask", "tabular": "sluice.tasks.tabular:TabularTask", "text": "sluice.tasks.text:TextTask"}
)
#: The sections of the built-in ones, which are read without their code.
BUILT_IN: dict[str, type[Section]] = {"text": TextModel, "image": ImageModel, "tabular": TabularModel}


class ServeConfig(Section):
    """The model server's settings where the project runs it."""

    workers: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="ONNX Runtime threads a worker")
    max_batch: int = Field(32, ge=1)


class Drift(Section):
    """When the serving data counts as moved: the distance from the training profile."""

    method: Literal["psi", "js"] = "psi"
    threshold: float = Field(0.25, gt=0)


class Retrain(Section):
    """When to train again by itself."""

    schedule: str | None = Field(None, description="cron, five fields, in UTC")


class MonitorConfig(Section):
    """What is watched after the rollout."""

    drift: Drift = Drift()
    retrain: Retrain = Retrain()


class Project(Section):
    """``sluice.yaml``. `model` is checked against the task's own section."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$", description="DNS label; registry and cluster names follow from it")
    task: str = Field(description="text | image | tabular | my_package.my_module:MyTask")
    data: DataConfig
    model: Any = Field(default_factory=dict)
    train: SerializeAsAny[TrainConfig] = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()
    serve: ServeConfig = ServeConfig()
    rollout: RolloutSpec = RolloutSpec()
    monitor: MonitorConfig = MonitorConfig()
    tracking: TrackingConfig = TrackingConfig()
    cluster: ClusterConfig = ClusterConfig()
    tune: TuneConfig | None = None
    steps: dict[str, Any] = Field(
        {},
        description="steps of your own put between two others: module:Class, or an entry point's name, each with its section",
        exclude_if=lambda own: not own,
    )
    _base_dir: Path | None = PrivateAttr(None)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Project:
        """`load`, for notebooks: ``Project.load("sluice.yaml", ["train.epochs=5"])``. Raises `ProjectError`."""
        return load(Path(path), overrides)

    @property
    def base_dir(self) -> Path | None:
        """Where its relative paths start: the project file's folder; null for a project of no file."""
        return self._base_dir

    @property
    def digest(self) -> str:
        """sha256 over the settings that make the model, defaults filled in: the config's version.

        How a model is served, rolled out, watched and tracked, where its steps run, and how settings were searched for, does not change what it is.
        """
        return files.digest_of(self.model_dump(mode="json", exclude={"serve", "rollout", "monitor", "tracking", "cluster", "tune"}))


def load(path: Path, overrides: Sequence[str] = ()) -> Project:
    """Read, override and check a project file.

    Args:
        path: ``sluice.yaml``.
        overrides: ``a.b=value`` strings; the value is read as YAML.

    Raises:
        ProjectError: every fault found (those of `model:` once the rest is right), each with the path of its key, the value and the nearest valid name.
    """
    raw = read_yaml(path)
    for item in overrides:
        override(raw, item)
    return parse(raw, where=path.name, base_dir=path.resolve().parent)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds. Raises `ProjectError` for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        what = "is a directory" if path.is_dir() else e.strerror or str(e)
        near = sorted(p.name for p in path.parent.glob("*.y*ml"))[:5] if path.parent.is_dir() else []
        hint = f"there is {', '.join(near)} in {path.parent}" if near else "`sluice init` writes one"
        if path.is_dir() and (path / "sluice.yaml").exists():
            hint = f"name the file: {path / 'sluice.yaml'}"
        raise ProjectError(f"cannot read the project file: {what}", field=str(path), fix=hint) from e
    except UnicodeDecodeError as e:
        raise ProjectError(f"is not UTF-8 text: {e.reason} at byte {e.start}", field=str(path), fix="save it as UTF-8") from e
    return read_text(text, str(path))


def read_text(text: str, where: str) -> dict[str, Any]:
    """The mapping a YAML (or JSON) text holds; `where` names it in errors. Raises `ProjectError`."""
    raw = yamlfile.load(text, where)
    if not isinstance(raw, dict):
        kind = {list: "a list", type(None): "empty", str: "a text"}.get(type(raw), f"a {type(raw).__name__}")
        raise ProjectError(
            f"a project file is a mapping (name:, task:, data:), this one is {kind}", field=where, fix="`sluice init` writes one that runs"
        )
    return raw


def write_text(raw: dict[str, Any]) -> str:
    """A raw mapping as YAML for people; `read_text` gives the same mapping back."""
    text = yamlfile.dump(raw)
    try:
        same = files.canonical_json(read_text(text, "")) == files.canonical_json(raw)  # 1 and 1.0 and true are not the same
    except ProjectError:
        same = False
    return text if same else files.canonical_json(raw).decode()


def override(raw: dict[str, Any], item: str) -> None:
    """Apply one ``a.b=value`` to the raw mapping, in place."""
    key, eq, text = item.partition("=")
    parts = key.strip().split(".")
    if not eq or not all(parts):
        raise ProjectError("an override is written key.path=value", field="--set", value=item, fix="for example --set train.epochs=5")
    value = yamlfile.load(text, f"--set {key}") if text.strip() else None
    at = raw
    for part in parts[:-1]:
        nested = at.get(part)
        if nested is None:
            nested = at[part] = {}
        if not isinstance(nested, dict):
            raise ProjectError(f"{part} is not a section", field=f"--set {key}", value=nested, fix="name a key inside a section")
        at = nested
    at[parts[-1]] = value


def parse(
    raw: Mapping[str, Any], *, where: str = "project", base_dir: Path | None = None, said_by: Mapping[str, str] | None = None
) -> Project:
    """Check a raw mapping.

    Args:
        where: what to call it in errors.
        base_dir: where a plug-in task's module may lie.
        said_by: path of a key -> who gave its value, where that was not the mapping itself: named in errors.

    Raises:
        ProjectError: every fault of it.
    """
    project = parse_sections(raw, where=where, said_by=said_by)
    written = project.model if project.model is not None else {}
    section = model_section(project.task, base_dir, written)
    try:
        model = section.model_validate(written)
    except ValidationError as e:
        raise explain(e, section, ("model",), where, said_by or {}) from e
    update: dict[str, Any] = {"model": model}
    if isinstance(model, EstimatorModel):
        try:
            update["train"] = EstimatorTrain.model_validate(raw.get("train") or {})
        except ValidationError as e:
            raise explain(e, EstimatorTrain, ("train",), where, said_by or {}) from e
    metric = project.evaluate.metric
    if project.export.formats and len(set(project.export.formats)) != len(project.export.formats):
        raise ProjectError("names a format twice", field=f"{where}: export.formats", value=project.export.formats, fix="name each once")
    if any(":" in name for name in project.export.formats):
        formats_of(project.export.formats, base_dir)
    if metric is not None and project.task in BUILT_IN and "objective" not in section.model_fields:  # it can only classify
        from sluice.problems.metrics import TABLE, names

        if TABLE[metric].objective == "regression":
            raise ProjectError(
                f"is a regression metric, task {project.task} classifies",
                field=f"{where}: evaluate.metric",
                value=metric,
                fix=f"one of {', '.join(names('classification'))}",
            )
    own_steps(project.steps, beside=base_dir)
    own_checks("validate_data", project.data.checks.own, field="data.checks.own", beside=base_dir)
    own_checks("export_onnx", project.export.checks, field="export.checks", beside=base_dir)
    own_checks("evaluate", project.evaluate.checks, field="evaluate.checks", beside=base_dir)
    found = project.model_copy(update=update)
    found._base_dir = base_dir
    return found


def parse_sections(raw: Mapping[str, Any], *, where: str = "project", said_by: Mapping[str, str] | None = None) -> Project:
    """`parse` without the task's own section, `model`, which stays as it was written: it takes no code of the task's."""
    try:
        return Project.model_validate(raw)
    except ValidationError as e:
        raise explain(e, Project, (), where, said_by or {}) from e


def model_section(task: str, base_dir: Path | None = None, written: Any = None) -> type[BaseModel]:
    """The class that checks `model:` for a task.

    Args:
        task: its name.
        base_dir: where modules of the user's own may lie.
        written: the section as it was written, where that decides: a table's may name an estimator.

    Raises:
        ProjectError: a task, or an estimator, that is not there.
    """
    if task in BUILT_IN:
        names_one = BUILT_IN[task] is TabularModel and isinstance(written, Mapping) and "estimator" in written
        return estimator_section(written, base_dir) if names_one else BUILT_IN[task]
    kind = import_task(task, base_dir)
    return kind.Model  # type: ignore[no-any-return]


def import_task(task: str, base_dir: Path | None = None) -> Any:
    """The class of a task by its name; a user's ``module:Class`` may lie beside the project file. Raises `ProjectError`."""
    found = TASKS.get(task, field="task", beside=base_dir)
    if not (isinstance(found, type) and issubclass(getattr(found, "Model", object), BaseModel)):
        raise ProjectError(
            "is not a task class", field="task", value=task, fix="derive it from sluice.tasks.base.Task and give it a Model section"
        )
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema of ``sluice.yaml`` for editors: `model` depends on `task`."""
    out = Project.model_json_schema()
    defs = out["$defs"]
    branches = []
    for task, section in BUILT_IN.items():
        part = section.model_json_schema()
        defs.update(part.pop("$defs", {}))
        defs[section.__name__] = part
        branches.append(
            {"if": {"properties": {"task": {"const": task}}}, "then": {"properties": {"model": {"$ref": f"#/$defs/{section.__name__}"}}}}
        )
    out["allOf"] = branches
    out["properties"]["model"] = {"type": "object", "description": "settings of the task's model", "default": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **out}
