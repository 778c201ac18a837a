"""A step of the training pipeline: what it is called, what it comes after, what bounds it on a cluster, its part of the report.

The built-in ones are KFP components of their own (``components/``). A step of your own is put between two of them by a class in a
file of yours, named in the project file with a section of its own::

    steps: {my_steps:NoRareWords: {least: 5}}

Another distribution brings steps as entry points of the group ``sluice.steps``. Nothing heavy is imported here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import ProjectError
from sluice.core.gate import Gate
from sluice.core.registry import Registry
from sluice.core.section import Section, checked

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.package.package import Package
    from sluice.project import Project

Evidence = dict[str, Any]
#: Every step there is by name; the built-in ones in the order in which they run.
STEPS = Registry(
    "step",
    {
        "validate_data": "sluice.steps.validate_data:ValidateData",
        "preprocess": "sluice.steps.preprocess:Preprocess",
        "train": "sluice.steps.train:Train",
        "export_onnx": "sluice.steps.export_onnx:ExportOnnx",
        "evaluate": "sluice.steps.evaluate:Evaluate",
        "register": "sluice.steps.register:Register",
        "rollout": "sluice.steps.rollout:Rollout",
    },
)
#: Their names, in the order in which they run.
NAMES = tuple(STEPS.built_in)
#: A task of a step of a project's own: what its name begins with on Kubeflow Pipelines.
OWN = "own-"
#: Where what a page leaves out is.
REST = "all are in the step's gate (gates/{}.json of a run on this machine)"
#: Requests small enough for a laptop's cluster.
SMALL = {"cpu": "200m", "memory": "512Mi"}


@dataclasses.dataclass(frozen=True)
class Context:
    """What a step of a project's own is given.

    Attributes:
        project: the settings.
        config: its own section, checked.
        base_dir: where relative paths of the project start.
        home: the local home; None on a cluster.
        dataset: from `preprocess` on.
        model: what `train` left, a folder; from there to `export_onnx`, and behind.
        package: from `export_onnx` on.
        run_id: of the tracking run; from `train` on, empty where there is none.
        digest: of the registered package; from `register` on.
    """

    project: Project
    config: Any
    base_dir: Path
    home: Path | None = None
    dataset: Dataset | None = None
    model: Path | None = None
    package: Package | None = None
    run_id: str = ""
    digest: str = ""


class Step:
    """One step.

    Attributes:
        name: of letters, digits and ``_``; of a class that gives none its own name, as ``no_rare_words``.
        title: of its part of the report.
        after: the step it comes behind.
        Config: its section of the project file; of a built-in step its settings stand where they always did.
        bounds: what its pod asks of a cluster at the least, and may take at the most: as ``cluster.steps.NAME``.
        component: ``module:attribute`` of its KFP component.
        gives: what later steps are given under a name -> the component's output.
        asks: what is behind it runs only where it decides ``pass``.
        cached: an earlier result may stand in for it, since it reads and moves nothing outside its inputs.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    after: ClassVar[str]
    Config: ClassVar[type[Section]] = Section
    bounds: ClassVar[dict[str, Any]] = {"resources": {"requests": SMALL, "limits": {"cpu": "2", "memory": "2Gi"}}, "timeout": "2h"}
    component: ClassVar[str] = "components.step.component:step"
    gives: ClassVar[Mapping[str, str]] = {"project": "handed"}
    asks: ClassVar[bool] = False
    cached: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if "title" not in cls.__dict__:
            cls.title = cls.name.replace("_", " ").capitalize()

    def run(self, context: Context) -> Gate:
        """Do the work of a step of a project's own, and decide. Raises `SluiceError` where it fails; a refusal is a result."""
        raise NotImplementedError

    def section(self, e: Evidence) -> str:
        """Its part of the report, as HTML, from its gate's evidence."""
        rows = "".join(f"<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td></tr>" for k, v in e.items())
        return f'<div class="scroll" tabindex="0"><table><tbody>{rows}</tbody></table></div>' if rows else ""


def own_steps(named: Mapping[str, Any], *, beside: Path | None = None) -> list[tuple[str, Step, Section]]:
    """The steps a project brings, as ``(where it is, step, its section)``.

    Args:
        named: the project's ``steps``: name or ``module:Class`` -> the section as it was written.
        beside: the project file's folder.

    Raises:
        ProjectError: there is no such step, it is no step of one's own, it comes behind none, or its section is wrong.
    """
    found: list[tuple[str, Step, Section]] = []
    for where, raw in named.items():
        field = f"steps.{where}"
        kind = STEPS.get(where, field=field, beside=beside)
        if not (isinstance(kind, type) and issubclass(kind, Step)) or kind.run is Step.run:
            raise ProjectError(
                "is no step of your own",
                field="steps",
                value=where,
                fix="derive it from sluice.steps.step.Step and give it after and run()",
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", kind.name) or kind.name in NAMES or kind.name in [s.name for _, s, _ in found]:
            raise ProjectError(
                "cannot be a step's name, or is another's",
                field=field,
                value=kind.name,
                fix="give the class a name of a-z, 0-9 and _ that no other step has",
            )
        if getattr(kind, "after", None) not in NAMES[:-1]:
            raise ProjectError(
                "is no step that another can follow",
                field=f"{field}: after",
                value=getattr(kind, "after", None),
                fix=f"one of {', '.join(NAMES[:-1])}",
            )
        found.append((where, kind(), checked(kind.Config, raw, field)))
    return found


def line(own: Iterable[Step] = ()) -> list[Step]:
    """The steps of a run in their order: the built-in ones, a project's own behind those they come after, as they are named."""
    every = list(own)
    return [s for name in NAMES for s in (STEPS.get(name)(), *(o for o in every if o.after == name))]


def in_order(gates: Mapping[str, Gate]) -> list[Gate]:
    """Gates by their step's name, in the order of the run; one of a project's own says itself what it comes after."""
    own = [g for name, g in gates.items() if name not in NAMES]
    return [g for name in NAMES for g in ([gates[name]] if name in gates else []) + [o for o in own if o.evidence.get("after") == name]]


def read_gates(root: Path) -> list[Gate]:
    """The gates of a local run's folder of artifacts, in pipeline order."""
    found = [Gate.read(p) for p in root.glob("*/*/gate.json")]
    return in_order({g.step: g for g in found})


def title(gate: Gate) -> str:
    """Of a gate's part of the report."""
    return STEPS.get(gate.step).title if gate.step in NAMES else str(gate.evidence.get("title") or gate.step)


def section(gate: Gate) -> str:
    """A gate's part of the report, as HTML. That of a project's own step was drawn where its code is."""
    if gate.step in NAMES:
        return str(STEPS.get(gate.step)().section(gate.evidence))
    return str(gate.evidence.get("section") or "")
