"""The behaviour gate: the package, as it will be served, answers the cases of a file beside the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.section import Names
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig

if TYPE_CHECKING:
    from sluice.problems.problem import Problem

_SHOWN = 3


class BehaviourConfig(MetricConfig):
    """Where the cases stand."""

    behaviour: Annotated[str | None, Names("file")] = Field(
        None, description="a YAML file beside the project file: cases that the model must pass", exclude_if=lambda path: path is None
    )

    def reads(self, folder: Path) -> None:
        """Raises `ProjectError` where the file is not there or not as `sluice.gates.behaviour.suite` says."""
        super().reads(folder)
        if self.behaviour is not None:
            from sluice.gates.behaviour.suite import read_suite

            read_suite(folder / self.behaviour)

    def meets(self, kinds: Mapping[str, str], asked: Problem, labels: Sequence[str], folder: Path) -> None:
        """Raises `ProjectError` where a test names a column, a label or a file that is not there, or a change that does not fit."""
        super().meets(kinds, asked, labels, folder)
        if self.behaviour is not None:
            from sluice.gates.behaviour.fitting import check_suite

            check_suite(folder / self.behaviour, kinds, asked, labels)


class Behaviour(Check):
    """Refuses where a test passes fewer of its cases than its pass rate, or all together fewer than theirs."""

    name, step, Config = "behaviour", "evaluate", BehaviourConfig
    then = "look at the cases that fail in the report, {more} like them, or lower the test's pass_rate in the file of cases"

    def judge(self, facts: Judged, config: BehaviourConfig) -> Decision:
        """The decision of `decide`; ``behaviour`` of `sluice.gates.behaviour.running.run`."""
        if config.behaviour is None:
            return Decision("pass")
        from sluice.gates.behaviour.running import run

        base = facts.project.base_dir or Path()
        return decide(run(facts, base / config.behaviour))

    def section(self, decision: Decision) -> str:
        """Each test's share of cases that pass, and those that fail."""
        found = decision.evidence.get("behaviour")
        return _drawn(found) if found else ""


def decide(found: dict[str, Any]) -> Decision:
    """What `sluice.gates.behaviour.running.run` found, against the pass rates."""
    evidence = {"behaviour": found}
    failed = [t for t in found["tests"] if t["verdict"] == "failed"]
    against = [f"behaviour: {t['name']}: {_rate(t)}; {_case(t['failures'][0])}" for t in failed]
    if found["verdict"] == "failed":
        against.append(f"behaviour in all: {_rate(found)}")
    empty = tuple(f"behaviour: {t['name']} has no case: its change applies to none of its inputs" for t in found["tests"] if not t["cases"])
    if against:
        return Decision("refuse", tuple(against), evidence, empty)
    return Decision(
        "pass", (f"behaviour: {found['passed']:,} of {found['cases']:,} cases of {len(found['tests'])} tests pass",), evidence, empty
    )


def _rate(t: dict[str, Any]) -> str:
    return f"{t['passed']:,} of {t['cases']:,} cases pass ({t['rate']:.1%}), {t['pass_rate']:.1%} must"


def _case(f: dict[str, Any]) -> str:
    """A failing case in a sentence."""
    changed = f" changed to {f['changed']}" if f["changed"] else ""
    before = f"answered {f['before']} before and " if f["before"] else "answered "
    return f"{f['input']}{changed} is {before}{f['after']}{' after' if f['before'] else ''}, {f['wanted']}"


def _drawn(found: dict[str, Any]) -> str:
    from sluice.report.tables import Html, table

    words = {"failed": '<b class="bad-text">failed</b>', "passed": "passed", "no cases": "no cases"}
    rows = [
        [
            t["name"],
            t["type"],
            t["cases"],
            t["passed"],
            f"{t['rate']:.1%}" if t["cases"] else "",
            f"{t['pass_rate']:.1%}",
            Html(words[t["verdict"]]),
        ]
        for t in found["tests"]
    ]
    head = ["test", "type", "cases", "passed", "rate", "must", ""]
    out = f"<h3>Behaviour: {found['passed']:,} of {found['cases']:,} cases pass</h3>{table(head, rows, (2, 3, 4, 5))}"
    for t in found["tests"]:
        if not t["failures"]:
            continue
        cases = [[_shown(f, "input"), _shown(f, "changed"), f["before"], f["after"], f["wanted"]] for f in t["failures"]]
        more = t["cases"] - t["passed"] - len(cases)
        left = f"<p class='note'>and {more:,} more</p>" if more > 0 else ""
        is_open = " open" if t["verdict"] == "failed" else ""
        told = table(["input", "changed to", "answered before", "answered after", "wanted"], cases)
        out += f"<details{is_open}><summary>{escape(t['name'])}: cases that fail</summary>{told}{left}</details>"
    return out + f"<p class='note'>{escape(found['file'])}, sha256 {found['sha256'][:12]}; asked of the package as it is served</p>"


def _shown(f: dict[str, Any], which: str) -> Any:
    from sluice.report.tables import Html

    picture = f.get(f"{which}_picture")
    if picture is None:
        return f[which]
    return Html(f'<img alt="{escape(f[which], quote=True)}" width="64" src="data:image/png;base64,{picture}"> {escape(f[which])}')
