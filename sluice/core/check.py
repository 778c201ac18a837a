"""A check: facts in, a decision out, with its reasons, its evidence and its part of the report. A step's decision is the worst of its checks'.

A check of your own is a class in a file of yours, named in the project file under its step, with a section of its own there::

    evaluate:
      checks: {my_checks:NoFavourite: {most: 0.6}}

Another distribution brings checks as entry points of the group ``sluice.checks``. Nothing heavy is imported here or beside the
checks' settings: the project file is read with them.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.core.gate import Decision as Verdict
from sluice.core.registry import Registry
from sluice.core.section import Section, checked

#: The checks that a step always makes, in their order.
_BUILT_IN = {
    "validate_data": {
        "columns": "sluice.data.checks.columns:Columns",
        "times": "sluice.data.checks.times:ColumnTimes",
        "labels": "sluice.data.checks.labels:Labels",
        "rows": "sluice.data.checks.rows:Rows",
        "division": "sluice.data.checks.division:Division",
        "heuristics": "sluice.data.checks.heuristics:Heuristics",
        "likeness": "sluice.data.checks.likeness:Likeness",
    },
    "export_onnx": {"format": "sluice.gates.format:Format", "calibration": "sluice.gates.calibration:Calibration"},
    "evaluate": {
        "bar": "sluice.gates.bar:Bar",
        "thresholds": "sluice.gates.thresholds:Thresholds",
        "reliability": "sluice.gates.reliability:Reliability",
        "sound": "sluice.gates.sound:Sound",
        "prompts": "sluice.gates.prompts:Prompts",
        "slices": "sluice.gates.slices:Slices",
        "floor": "sluice.gates.floor:Floor",
        "champion": "sluice.gates.champion:Champion",
        "anchor": "sluice.gates.anchor:Anchor",
        "slice_champion": "sluice.gates.slice_champion:SliceChampion",
        "fairness": "sluice.gates.fairness:Fairness",
        "behaviour": "sluice.gates.behaviour.check:Behaviour",
        "drift": "sluice.gates.drift:Drift",
        "doubtful": "sluice.gates.doubtful:Doubtful",
        "robustness": "sluice.gates.robustness:Robustness",
        "importance": "sluice.gates.importance:Importance",
        "standouts": "sluice.gates.standouts:Standouts",
        "mistakes": "sluice.gates.mistakes:Mistakes",
        "highlights": "sluice.gates.highlights:Highlights",
    },
}
#: Every check there is by name.
CHECKS = Registry("check", {name: where for checks in _BUILT_IN.values() for name, where in checks.items()})
_WORST: tuple[Verdict, ...] = ("refuse", "inconclusive", "pass")


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a check, or a step by all of its checks, decided.

    Attributes:
        decision: ``pass``, ``refuse`` or ``inconclusive``.
        reasons: sentences: all that speaks against it where it is refused, else what was found.
        evidence: plain JSON values, which become evidence of the step's gate.
        cautions: what a person has to hear beside a verdict of ``pass``.
        always: what is said at the end of another check's refusal, too.
    """

    decision: Verdict
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


class Check(ABC):
    """One judgement of a step's facts.

    Attributes:
        name: in `CHECKS`, and what its evidence is called; of a class that gives none, ``module:Class``.
        step: the step that makes it: ``validate_data`` (its facts: `sluice.data.checks.subject.Subject`), ``evaluate``
            (`sluice.gates.facts.Judged`) or ``export_onnx`` (`sluice.gates.facts.Exported`).
        Config: its section. A built-in check's settings stand in the step's own section, another one's under its name.
        then: what a person can do after it refused, in one line; "": what its reasons say. ``{better}`` and ``{more}`` stand for what makes a model of the
            data's problem better (`sluice.problems.problem.Problem`): of a prompt nothing is trained.
    """

    name: ClassVar[str]
    step: ClassVar[str]
    Config: ClassVar[type[Section]] = Section
    then: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}:{cls.__qualname__}"

    @abstractmethod
    def judge(self, facts: Any, config: Any) -> Decision:
        """Decide.

        Args:
            facts: of its step.
            config: an instance of its `Config`.

        Raises:
            SluiceError: the facts cannot be judged, which ends the run as a failure; a refusal is a result.
        """

    def section(self, decision: Decision) -> str:
        """Its part of the step's report, as HTML; of a check that draws nothing, its reasons."""
        return "".join(f"<p>{escape(r)}</p>" for r in decision.reasons)


class OwnChecks(Section):
    """Of a step's section: the checks that the project brings itself."""

    checks: dict[str, Any] = Field(
        {},
        description="checks of your own beside the step's: module:Class, or an entry point's name, each with its section",
        exclude_if=lambda own: not own,
    )


def built_in(step: str) -> list[Check]:
    """The checks that a step always makes."""
    return [CHECKS.get(name)() for name in _BUILT_IN.get(step, ())]


def own_checks(step: str, named: Mapping[str, Any], *, field: str, beside: Path | None = None) -> list[tuple[str, Check, Section]]:
    """The checks that a project names under a step, with their checked sections.

    Args:
        step: the step's name.
        named: name of the check -> its section as it was written.
        field: where they are named, for errors: ``evaluate.checks``.
        beside: the project file's folder.

    Raises:
        ProjectError: there is no such check, it is none of that step, or its section is wrong.
    """
    found = []
    for name, raw in named.items():
        kind = CHECKS.get(name, field=f"{field}.{name}", beside=beside)
        if not (isinstance(kind, type) and issubclass(kind, Check)) or kind.__abstractmethods__:
            raise ProjectError(
                "is no check", field=field, value=name, fix="derive it from sluice.core.check.Check and give it a step and judge()"
            )
        if kind.step != step or name in CHECKS.built_in:
            fix = "its settings stand in the step's own section" if name in CHECKS.built_in else f"name it where {kind.step} has its checks"
            raise ProjectError(
                f"is a check that {kind.step} makes{' by itself' if name in CHECKS.built_in else ''}", field=field, value=name, fix=fix
            )
        found.append((name, kind(), checked(kind.Config, raw, f"{field}.{name}")))
    return found


def make(step: str, facts: Any, config: Any, own: Iterable[tuple[str, Check, Section]] = ()) -> Decision:
    """Make a step's checks: its own, then those of the project.

    Args:
        step: the step's name.
        facts: what its checks are given.
        config: the step's section, which is an instance of each built-in check's `Config`.
        own: of `own_checks`. What they found stands in the evidence under ``checks``, with their section of the report, so that
            whoever draws it needs none of their code. Evidence ``refused``: {each check that refuses: what can be done about it}.
    """
    checks, evidence = built_in(step), {}
    decisions = [check.judge(facts, config) for check in checks]
    for name, check, section in own:
        found = check.judge(facts, section)
        checks.append(check)
        decisions.append(dataclasses.replace(found, evidence={}))
        evidence[name] = {
            "decision": found.decision,
            "reasons": list(found.reasons),
            "evidence": found.evidence,
            "section": check.section(found),
        }
    whole = worst(decisions)
    told: dict[str, Any] = {"checks": evidence} if evidence else {}
    refused = {check.name: _then(check, facts) for check, found in zip(checks, decisions, strict=True) if found.decision == "refuse"}
    told |= {"refused": refused} if refused else {}
    return dataclasses.replace(whole, evidence={**whole.evidence, **told}) if told else whole


def _then(check: Check, facts: Any) -> str:
    problem, said = getattr(getattr(facts, "dataset", None), "problem", None), check.then
    for word in ("better", "more"):
        said = said.replace(f"{{{word}}}", getattr(problem, word, ""))
    return said


def worst(decisions: Iterable[Decision]) -> Decision:
    """The worst of several decisions, with the reasons for it; the evidence and the cautions of all."""
    every = list(decisions)
    verdict: Verdict = next((w for w in _WORST if any(d.decision == w for d in every)), "pass")
    if verdict == "refuse":
        reasons = [r for d in every if d.decision == "refuse" for r in d.reasons] + [r for d in every for r in d.always]
    else:
        reasons = [r for d in every for r in d.reasons]
    evidence = {key: value for d in every for key, value in d.evidence.items()}
    return Decision(
        verdict, tuple(reasons), evidence, tuple(c for d in every for c in d.cautions), tuple(a for d in every for a in d.always)
    )


def sections(step: str, decision: Decision) -> dict[str, str]:
    """Each built-in check's part of a step's report, by the check's name: drawn from the whole step's evidence."""
    return {check.name: check.section(decision) for check in built_in(step)}


def own_sections(evidence: Mapping[str, Any]) -> str:
    """The parts of the project's own checks, as they drew them."""
    return "".join(
        f'<h3>{escape(name)} <span class="badge {escape(str(found["decision"]), quote=True)}">{escape(str(found["decision"]))}</span></h3>{found["section"]}'
        for name, found in (evidence.get("checks") or {}).items()
        if isinstance(found, Mapping)
    )
