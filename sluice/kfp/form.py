"""What a compiled pipeline asks of whoever starts a run: the project as one object, `set`, and typed parameters that a person knows.

The project comes first; a typed parameter that differs from what was compiled in wins over it; `set` wins over both. So a typed
parameter that nobody touched never undoes what was edited in the project.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice import project as projects
from sluice.core import files, yamlfile
from sluice.core.errors import ProjectError
from sluice.kfp.struct import from_struct, to_struct
from sluice.project import Project

PROJECT, SET = "project", "set"
#: For the pipeline's page: the dashboard's form shows no descriptions of parameters.
RULE = "In the form a changed field wins over `project`, and `set` over both."


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A typed parameter of the form: one setting of the project.

    Attributes:
        name: in the form. setting: the path of its key in the project.
        does: what it is, in a few words, on one line.
        zero: what 0 stands for, where the setting may also be null: Kubeflow Pipelines' form has no empty number.
            ``automatic``: null. ``none``: null where the project has none, else the number 0.
    """

    name: str
    setting: str
    does: str
    zero: str = ""

    @property
    def description(self) -> str:
        """One line for the dashboard, with the rule of precedence."""
        zero = f"; 0: {self.zero}" if self.zero else ""
        return f"{self.does} ({self.setting}){zero}. Counts where it is changed: as it stands, `project` decides. `set` comes last."


_DATA = Parameter("data_source", "data.source", "Where the rows are: s3://bucket/prefix, sklearn://digits, a path on a volume")
_EPOCHS = Parameter("train_epochs", "train.epochs", "Passes over the training rows", "automatic")
_MINIMUM = Parameter("evaluate_minimum", "evaluate.minimum", "Worst value of the metric that is accepted", "none")
_REQUESTS = Parameter("rollout_minimum_requests", "rollout.minimum_requests", "Requests the new model must answer in each step")
_STEPS = Parameter("rollout_steps", "rollout.steps", "Per cent of traffic for the new model, step by step")

#: By pipeline. What a study searches for (`tune.space`) is no parameter of its form.
TRAINING = (
    _DATA,
    _MINIMUM,
    _REQUESTS,
    _STEPS,
    Parameter("train_batch_size", "train.batch_size", "Rows a training step", "automatic"),
    _EPOCHS,
    Parameter("train_learning_rate", "train.learning_rate", "Learning rate", "automatic"),
)
TUNING = (_DATA, _MINIMUM, _REQUESTS, _STEPS, Parameter("tune_trials", "tune.trials", "Trainings that are tried"))

_BY_NAME = {p.name: p for p in (*TRAINING, *TUNING)}
#: Of every parameter, a line each.
DESCRIPTIONS = {p.name: p.description for p in _BY_NAME.values()} | {
    PROJECT: "The project (sluice.yaml) as a JSON object. A typed parameter that was changed wins over it, and `set` over both.",
    SET: "Settings by path, as --set takes them: train.epochs=5 model.width=8. A value with spaces stands in quotes or brackets. Wins over all else.",
}


def defaults(raw: Mapping[str, Any], parameters: Sequence[Parameter] = TRAINING) -> dict[str, Any]:
    """What the form shows for a raw project, every parameter with a value.

    Returns:
        `project`, `set` (empty) and each typed parameter; none is null, for the form takes a parameter with no default as missing.

    Raises:
        ProjectError: the project is wrong.
    """
    project = projects.parse_sections(raw)
    return {PROJECT: to_struct(raw), SET: "", **{p.name: _shown(project, p) for p in parameters}}


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed ones among a form's values."""
    return {k: v for k, v in values.items() if k not in (PROJECT, SET)}


def resolve(
    project: Mapping[str, Any], set_: str, given: Mapping[str, Any], compiled: Mapping[str, Any], *, base_dir: Path | None = None
) -> tuple[Project, str]:
    """The one project that a filled-in form means.

    Args:
        project: the object, as `to_struct` made it or a person changed it.
        set_: ``key.path=value`` items, apart by spaces.
        given: the typed parameters. compiled: their values as they were compiled in: one that still has it does not count.
        base_dir: where a plug-in task's module may lie.

    Returns:
        The checked project, and it as text on one line.

    Raises:
        ProjectError: naming the form's parameter, its setting, the value and the fix.
    """
    raw, said_by = _merged(project, set_, {k: v for k, v in given.items() if k not in compiled or v != compiled[k]})
    return projects.parse(raw, where=PROJECT, base_dir=base_dir, said_by=said_by), yamlfile.line(raw)


def split(raw: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What of a project and its overrides is compiled in, and what a run of it is started with, as `set` takes it.

    Compiled in is what decides where steps run and what the pipeline is called, so that the same project is the same version
    whatever else it is started with. Where the file alone is no whole project, all of it is.
    """
    base, left = copy.deepcopy(dict(raw)), []
    try:
        projects.parse_sections(base)
    except ProjectError:
        return _with(base, overrides), ""
    for item in overrides:
        if re.match(r"\s*(name|cluster)\s*[.=]", item):
            projects.override(base, item)
        else:
            left.append(item if items(item) == [item] else _quoted(item))
    return base, " ".join(left)


def _with(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for item in overrides:
        projects.override(raw, item)
    return raw


def _quoted(item: str) -> str:
    """The item with its value as JSON, whose spaces stand in quotes or brackets."""
    value: Any = _with({}, [item])
    key = item.partition("=")[0].strip()
    for part in key.split("."):
        value = value[part]
    return f"{key}={files.canonical_json(value).decode()}"


def fill(compiled: Mapping[str, Any], given: Mapping[str, Any], raw: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every parameter of a run, so that two runs can be compared by them, as a person who filled in the form would have given them.

    Args:
        compiled: the values that are compiled in, `project` among them.
        given: what the run is asked for by name: any of the parameters.
        raw: the project to run in place of the one that is compiled in; `given` then says nothing of `project`.

    Returns:
        A value for each of `compiled` and `given`. A typed parameter shows what its setting comes to. What is said of such a
        setting in `set` moves there, so that in a copy of the run no field is overruled by a text beside it.

    Raises:
        ProjectError: the settings are wrong, as far as they can be checked without the task's own code.
    """
    known = {k: v for k, v in typed(compiled).items() if k in _BY_NAME}
    asked = {k: v for k, v in given.items() if k in known}
    if raw is None:
        project = given.get(PROJECT, compiled[PROJECT])
        asked = {k: v for k, v in asked.items() if v != known[k]}
    else:
        project, asked = to_struct(_merged(to_struct(raw), "", asked)[0]), {}
    parts = items(str(given.get(SET, compiled.get(SET, ""))))
    wanted, said_by = _merged(project, " ".join(parts), asked)
    settled = projects.parse_sections(wanted, said_by=said_by)
    shown = {name: _shown(settled, _BY_NAME[name]) for name in known}
    changed = {k: v for k, v in shown.items() if v != known[k]}
    for part in list(parts):
        rest = [p for p in parts if p is not part]
        if _means(project, " ".join(rest), changed, settled):
            parts = rest
    return {**compiled, **given, PROJECT: project, SET: " ".join(parts), **shown}


def _means(project: Mapping[str, Any], set_: str, changed: Mapping[str, Any], settled: Project) -> bool:
    try:
        found = projects.parse_sections(_merged(project, set_, changed)[0])
    except ProjectError:
        return False
    return files.canonical_json(found.model_dump(mode="json")) == files.canonical_json(settled.model_dump(mode="json"))


def _merged(project: Mapping[str, Any], set_: str, changed: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The raw project with changed typed parameters and then `set` in it, and who said what: path of a key -> parameter."""
    said_by: dict[str, str] = {}
    raw = dict(project)
    for name, value in changed.items():
        if value in ("", None):
            continue
        parameter = _BY_NAME[name]
        if _put(raw, parameter, value):
            said_by[parameter.setting] = name
    raw = from_struct(raw)
    for item in items(set_):
        try:
            projects.override(raw, item)
        except ProjectError as e:
            field = str(e.field or "").replace("--set", SET)
            raise ProjectError(
                e.message, field=field or SET, fix=str(e.fix or "").replace("--set ", ""), **({"value": e.value} if e.has_value else {})
            ) from e
        said_by[item.partition("=")[0].strip()] = SET
    return raw, said_by


def items(text: str) -> list[str]:
    """The ``key.path=value`` items of a text: apart by white space outside quotes and brackets."""
    found, begin, depth, quote = [], 0, 0, ""
    for i, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[i - 1] != "\\" else quote
        elif sign in "'\"" and (i == 0 or text[i - 1] in "=[{(,: \t\n"):
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth = max(depth - 1, 0)
        elif sign.isspace() and not depth:
            found.append(text[begin:i])
            begin = i + 1
    return [one for one in (*found, text[begin:]) if re.search(r"\S", one)]


def _shown(project: Project, parameter: Parameter) -> Any:
    value: Any = project
    for key in parameter.setting.split("."):
        value = getattr(value, key, None)
    return 0 if value is None else list(value) if isinstance(value, tuple) else value


def _put(raw: dict[str, Any], parameter: Parameter, value: Any) -> bool:
    """Whether it changed what the project says."""
    section, key = parameter.setting.split(".")
    there = raw.get(section)
    if there is not None and not isinstance(there, Mapping):
        raise ProjectError("is not a section", field=f"{PROJECT}: {section}", value=there, fix=f"write {section}: {{...}}, or leave it out")
    if value == 0 and parameter.zero == "none" and (there or {}).get(key) is None:
        return False
    raw[section] = {**(there or {}), key: None if value == 0 and parameter.zero == "automatic" else value}
    return True
