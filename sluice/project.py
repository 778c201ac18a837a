"""The project file: the one file a user writes."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, create_model

from sluice.core import files, yamlfile
from sluice.core.check import own_checks
from sluice.core.errors import ProjectError
from sluice.core.section import Section, explain
from sluice.formats.base import formats_of
from sluice.learners.base import LEARNERS, Learner
from sluice.problems.problem import DEFAULT
from sluice.steps.step import own_steps
from sluice.tasks import import_task, load_task, section_of, settled
from sluice.tasks.base import TASKS, Task

if TYPE_CHECKING:
    from sluice.data.config import DataConfig
    from sluice.formats.config import ExportConfig
    from sluice.gates.config import EvaluateConfig
    from sluice.kfp.config import ClusterConfig
    from sluice.learners.torch.config import TrainConfig
    from sluice.monitor.config import MonitorConfig
    from sluice.proof.config import CardConfig, ProvenanceConfig
    from sluice.rollouts.serve import ServeConfig
    from sluice.rollouts.spec import RolloutSpec
    from sluice.tracking.config import TrackingConfig
    from sluice.tuning.config import TuneConfig

#: What is set besides a project file: ``a.b=value``, one or many, or values by path or section.
Overrides = str | Sequence[str] | Mapping[str, Any]
#: The sections that every project has, each with what it configures. `model` is its task's, `train` its learner's.
SECTIONS = {
    "data": "sluice.data.config:DataConfig",
    "evaluate": "sluice.gates.config:EvaluateConfig",
    "export": "sluice.formats.config:ExportConfig",
    "serve": "sluice.rollouts.serve:ServeConfig",
    "rollout": "sluice.rollouts.spec:RolloutSpec",
    "monitor": "sluice.monitor.config:MonitorConfig",
    "tracking": "sluice.tracking.config:TrackingConfig",
    "cluster": "sluice.kfp.config:ClusterConfig",
    "tune": "sluice.tuning.config:TuneConfig",
    "provenance": "sluice.proof.config:ProvenanceConfig",
    "card": "sluice.proof.config:CardConfig",
}


class _File(Section):
    """``sluice.yaml`` without the sections of `SECTIONS`."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$", description="DNS label; registry and cluster names follow from it")
    task: str = Field(description=" | ".join((*sorted(TASKS.built_in, reverse=True), "my_package.my_module:MyTask")))
    model: Any = Field(default_factory=dict)
    steps: dict[str, Any] = Field(
        {},
        description="steps of your own put between two others: module:Class, or an entry point's name, each with its section",
        exclude_if=lambda own: not own,
    )
    _base_dir: Path | None = PrivateAttr(None)

    @classmethod
    def load(cls, path: str | Path, overrides: Overrides = ()) -> Project:
        """`load`, for notebooks: ``Project.load("sluice.yaml", {"train.epochs": 5})``. Raises `ProjectError`."""
        return load(Path(path), overrides)

    @property
    def base_dir(self) -> Path | None:
        """Where its relative paths start: the project file's folder; null for a project of no file."""
        return self._base_dir

    def portable(self, base_dir: Path | None = None) -> Portable:
        """The project for another process, which sees the same folder."""
        base = base_dir or self._base_dir
        return Portable(self.model_dump_json(), base.absolute() if base else None)

    @property
    def digest(self) -> str:
        """sha256 over the settings that make the model, defaults filled in: the config's version.

        How a model is served, rolled out, watched, tracked, signed and told of, where its steps run, and how settings were searched for,
        does not change what it is.
        """
        left = {"serve", "rollout", "monitor", "tracking", "cluster", "tune", "provenance", "card"}
        how = {"engine", "memory", "parts"}  # what is read is the same
        return files.digest_of(self.model_dump(mode="json", exclude={**dict.fromkeys(left, True), "data": how}))


@dataclasses.dataclass(frozen=True)
class Portable:
    """A project on its way to another process: as text, which is read there."""

    text: str
    base_dir: Path | None

    def task(self) -> Task:
        """The project's task; a process reads a project once. Raises `ProjectError`."""
        return _task_of(self)


@functools.lru_cache(maxsize=4)
def _task_of(told: Portable) -> Task:
    project = parse(orjson.loads(told.text), base_dir=told.base_dir)
    return load_task(project, told.base_dir)


def _project(train: type[Section], base: type[Section]) -> Any:
    """`base` with its `train` section, and what it lacks of `SECTIONS`."""
    fields: dict[str, Any] = {"train": (train, train())}
    for name, where in SECTIONS.items():
        if name not in base.model_fields:
            module, _, attribute = where.partition(":")
            kind = getattr(importlib.import_module(module), attribute)
            required = any(f.is_required() for f in kind.model_fields.values())
            fields[name] = (kind, ...) if name == "data" else (kind | None, None) if required else (kind, kind())
    made = create_model("Project", __base__=base, __module__=__name__, **fields)
    made.__doc__ = "``sluice.yaml``: `model` is an instance of the task's own section, `train` of its learner's."
    return made


if TYPE_CHECKING:

    class Project(_File):
        """``sluice.yaml``: `model` is an instance of the task's own section, `train` of its learner's."""

        data: DataConfig
        train: TrainConfig
        evaluate: EvaluateConfig
        export: ExportConfig
        serve: ServeConfig
        rollout: RolloutSpec
        monitor: MonitorConfig
        tracking: TrackingConfig
        cluster: ClusterConfig
        tune: TuneConfig | None
        provenance: ProvenanceConfig
        card: CardConfig

else:
    Project = _project(LEARNERS.get(LEARNERS.built_in[0]).Train, _File)


@functools.cache
def _project_of(train: type[Section]) -> type[Project]:
    """The class of the projects of a learner."""
    return Project if Project.model_fields["train"].annotation is train else _project(train, Project)


def load(path: Path, overrides: Overrides = ()) -> Project:
    """Read, override and check a project file.

    Args:
        path: ``sluice.yaml``.
        overrides: ``a.b=value`` strings, whose value is read as YAML; or a mapping, by path or by section: ``{"train.epochs": 5}``.

    Raises:
        ProjectError: every fault found (those of `model:` once the rest is right), each with the path of its key, the value and the nearest valid name.
    """
    raw = read_yaml(path)
    for item in items(overrides):
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


def items(overrides: Overrides) -> list[str]:
    """Overrides one by one, as ``a.b=value``.

    Raises:
        ProjectError: a value that a project file cannot hold.
    """
    if isinstance(overrides, str):
        return [overrides]
    if not isinstance(overrides, Mapping):
        return list(overrides)
    out = []
    for key, value in overrides.items():
        if isinstance(value, Mapping) and value:
            out += [f"{key}.{item}" for item in items(value)]
            continue
        # numpy's numbers are what a loop over settings in a notebook draws
        plain = value.item() if hasattr(value, "item") else str(value) if isinstance(value, PurePath) else value
        try:
            # JSON has no word for what is no number: it would be null, which is the default
            lost = isinstance(plain, float) and not math.isfinite(plain)
            out.append(f"{key}={plain if lost else files.canonical_json(plain).decode()}")
        except (TypeError, ValueError) as e:
            fix = "a number, a text, true or false, null, or a list of these"
            raise ProjectError("is nothing that a project file holds", field=str(key), value=value, fix=fix) from e
    return out


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
    project = _checked(raw, _learner(raw, base_dir), where, said_by)
    task = import_task(project.task, base_dir)
    written = settled(task, raw)
    section = section_of(task, written, base_dir)
    try:
        model = section.model_validate(written)
    except ValidationError as e:
        raise explain(e, section, ("model",), where, said_by or {}) from e
    metric = project.evaluate.metric
    if project.export.formats and len(set(project.export.formats)) != len(project.export.formats):
        raise ProjectError("names a format twice", field=f"{where}: export.formats", value=project.export.formats, fix="name each once")
    if any(":" in name for name in project.export.formats):
        formats_of(project.export.formats, base_dir)
    if metric is not None and (asked := _problems(task)):
        from sluice.problems.metrics import metric_of, names

        if not any(metric in names(name) for name in asked):
            metric_of(metric, asked[0], field=f"{where}: evaluate.metric")
    own_steps(project.steps, beside=base_dir)
    own_checks("validate_data", project.data.checks.own, field="data.checks.own", beside=base_dir)
    own_checks("export_onnx", project.export.checks, field="export.checks", beside=base_dir)
    own_checks("evaluate", project.evaluate.checks, field="evaluate.checks", beside=base_dir)
    if base_dir is not None:
        project.evaluate.reads(base_dir)
    found = project.model_copy(update={"model": model})
    found._base_dir = base_dir
    return found


def _problems(task: type[Task]) -> tuple[str, ...]:
    """The problems that a task's rows may be of, as far as that is known before they are read."""
    if (told := getattr(task, "problems", None)) is not None:
        return tuple(told)
    return (DEFAULT,) if getattr(task, "objective", None) is Task.objective else ()


def parse_sections(raw: Mapping[str, Any], *, where: str = "project", said_by: Mapping[str, str] | None = None) -> Project:
    """`parse` without the task's own section, `model`, which stays as it was written: it takes no code of the user's.

    Where the task is the user's own, `train` is checked as of the default learner.

    Raises:
        ProjectError: every fault found.
    """
    return _checked(raw, _learner(raw), where, said_by)


def _checked(raw: Mapping[str, Any], learner: type[Learner], where: str, said_by: Mapping[str, str] | None) -> Project:
    kind = _project_of(learner.Train)
    try:
        return kind.model_validate(raw)
    except ValidationError as e:
        raise explain(e, kind, (), where, said_by or {}) from e


def _learner(raw: Mapping[str, Any], base_dir: Path | None = None) -> type[Learner]:
    """Who learns a project that is not checked yet; the default where that cannot be told, because something else is wrong.

    Args:
        raw: the project as it was written.
        base_dir: where modules of the user's own may lie; None: they are not imported.
    """
    default: type[Learner] = LEARNERS.get(LEARNERS.built_in[0])
    if not isinstance(raw, Mapping) or (base_dir is None and raw.get("task") not in TASKS.built_in):
        return default
    try:
        task = import_task(raw["task"], base_dir)
        model = settled(task, raw)
        return LEARNERS.get(task.learnt_by(section_of(task, model, base_dir).model_validate(model)), beside=base_dir)  # type: ignore[no-any-return]
    except (ProjectError, ValidationError, KeyError, TypeError, AttributeError):
        return default


def model_section(task: str, base_dir: Path | None = None, written: Mapping[str, Any] | None = None) -> type[BaseModel]:
    """The class that checks `model:` for a task.

    Args:
        task: its name.
        base_dir: where modules of the user's own may lie.
        written: the project as it was written, where that decides.

    Raises:
        ProjectError: a task, or what its section names, is not there.
    """
    kind = import_task(task, base_dir)
    return section_of(kind, None if written is None else settled(kind, written), base_dir)


def schema() -> dict[str, Any]:
    """The JSON Schema of ``sluice.yaml`` for editors: `model` depends on `task`, and so does `train` where the task's learner is not the default one."""
    out = Project.model_json_schema()
    defs = out["$defs"]
    branches = []
    train, other = out["properties"]["train"], []
    for task in sorted(TASKS.built_in, reverse=True):
        model, (key, others) = _defined(model_section(task), defs), TASKS.get(task).sections()
        if others:
            each = [{"if": {"properties": {key: {"const": name}}}, "then": _defined(kind, defs)} for name, kind in others.items()]
            model = {"if": {"required": [key]}, "then": {"allOf": each}, "else": model}
        then = {"model": model}
        learner = LEARNERS.get(TASKS.get(task).learnt_by(TASKS.get(task).Model.model_construct()))
        if learner.Train is not Project.model_fields["train"].annotation:
            other.append(task)
            then["train"] = _defined(learner.Train, defs)
        branches.append({"if": {"properties": {"task": {"const": task}}}, "then": {"properties": then}})
    if other:
        out["properties"]["train"] = {"type": "object", "description": "settings of the task's learner"}
        branches.append({"if": {"properties": {"task": {"enum": other}}}, "else": {"properties": {"train": train}}})
    out["allOf"] = branches
    out["properties"]["model"] = {"type": "object", "description": "settings of the task's model", "default": {}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **out}


def _defined(section: type[BaseModel], defs: dict[str, Any]) -> dict[str, Any]:
    """A reference to a section's schema, which is put among the definitions."""
    part = section.model_json_schema()
    defs.update(part.pop("$defs", {}))
    defs[section.__name__] = part
    return {"$ref": f"#/$defs/{section.__name__}"}
