"""Checks: the worst decides, with its reasons; a project's own stand beside a step's, each with a section of its own."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core import check
from sluice.core.check import CHECKS, Check, Decision, built_in, make, own_checks, worst
from sluice.core.errors import ProjectError
from sluice.data.checks import validate
from sluice.data.checks.subject import Side, Subject
from sluice.data.config import Checks, Split
from sluice.fields import fields_of
from sluice.formats.config import ExportConfig
from sluice.gates.config import EvaluateConfig
from sluice.problems.problem import PROBLEMS

DOCS = Path(__file__).parents[3] / "docs" / "evaluation.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder with the check of the documentation in it, and some that are none."""
    own = DOCS.read_text().split("### A check of your own")[1].split("```python\n")[1].split("```")[0]
    more = """

        class OfData(NoFavourite):
            step = "validate_data"

        class Half(Check):
            step = "evaluate"

        none = 3
    """
    (tmp_path / "own_checks_here.py").write_text(own + textwrap.dedent(more))
    return tmp_path


@pytest.mark.parametrize(
    ("decisions", "verdict", "reasons"),
    [
        ([], "pass", ()),
        ([Decision("pass", ("a",)), Decision("pass", ("b",))], "pass", ("a", "b")),
        ([Decision("pass", ("a",)), Decision("inconclusive", ("b",))], "inconclusive", ("a", "b")),
        ([Decision("pass", ("a",)), Decision("inconclusive", ("b",)), Decision("refuse", ("c",))], "refuse", ("c",)),
        ([Decision("refuse", ("a",)), Decision("pass", ("b",), always=("z",)), Decision("refuse", ("c",))], "refuse", ("a", "c", "z")),
        ([Decision("pass", ("b",), always=("z",))], "pass", ("b",)),
    ],
)
def test_the_worst_decides_and_a_refusal_tells_all_that_speaks_against(
    decisions: list[Decision], verdict: str, reasons: tuple[str, ...]
) -> None:
    found = worst(decisions)
    assert (found.decision, found.reasons) == (verdict, reasons)


def test_evidence_and_cautions_of_all_checks_are_kept() -> None:
    found = worst([Decision("pass", evidence={"a": 1}, cautions=("x",)), Decision("refuse", ("no",), {"b": 2}, ("y",))])
    assert found.evidence == {"a": 1, "b": 2} and found.cautions == ("x", "y")


def test_a_refusal_says_what_can_be_done_about_each_check_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    class Says(Check):
        step = "evaluate"

        def judge(self, facts: Any, config: Any) -> Decision:
            return facts[self.name]

    made = [type(n, (Says,), {"name": n, "then": then})() for n, then in (("a", "mend a"), ("b", "mend b"), ("c", ""))]
    monkeypatch.setattr(check, "built_in", lambda step: list(made))
    refused = {"a": Decision("pass"), "b": Decision("refuse", ("no",)), "c": Decision("refuse", ("neither",))}
    assert make("evaluate", refused, None).evidence == {"refused": {"b": "mend b", "c": ""}}
    assert make("evaluate", dict.fromkeys("abc", Decision("pass")), None).evidence == {}


def test_each_check_that_can_refuse_an_evaluation_says_what_can_be_done() -> None:
    silent = {c.name for c in built_in("evaluate") if not c.then}
    assert silent == {
        "sound",
        "prompts",
        "doubtful",
        "importance",
        "standouts",
        "mistakes",
        "highlights",
    }  # reasons that say it, and what refuses nothing


@pytest.mark.parametrize(("problem", "trains"), [(PROBLEMS.get("classification"), True), (PROBLEMS.get("prompted"), False)])
def test_what_can_be_done_speaks_of_training_only_where_something_is_trained(monkeypatch, problem: type, trains: bool) -> None:
    facts = SimpleNamespace(dataset=SimpleNamespace(problem=problem))
    kinds = [
        type(c.name, (Check,), {"name": c.name, "then": c.then, "judge": lambda *_: Decision("refuse", ("no",))})
        for c in built_in("evaluate")
    ]
    monkeypatch.setattr(check, "built_in", lambda step: [k() for k in kinds])
    said = make("evaluate", facts, None).evidence["refused"]
    taught = {name for name, then in said.items() if "train" in then}
    assert not any("{" in then for then in said.values())
    assert (
        taught >= {"champion", "bar", "slices", "slice_champion", "thresholds"}
        if trains
        else not taught & {"champion", "bar", "slices", "slice_champion"}
    )
    assert trains or "change the prompt" in said["champion"]


def test_each_built_in_check_has_its_settings_in_the_steps_section() -> None:
    kinds = [CHECKS.get(name) for name in CHECKS.built_in]
    assert [kind.name for kind in kinds] == CHECKS.built_in
    assert all(issubclass(EvaluateConfig, kind.Config) for kind in kinds if kind.step == "evaluate")
    assert {c.step for step in ("validate_data", "export_onnx", "evaluate") for c in built_in(step) if c.step != step} == set()
    assert sum(len(built_in(step)) for step in ("validate_data", "export_onnx", "evaluate")) == len(kinds)
    assert [c.name for c in built_in("evaluate")] == [
        "bar",
        "thresholds",
        "reliability",
        "sound",
        "prompts",
        "slices",
        "floor",
        "champion",
        "anchor",
        "slice_champion",
        "fairness",
        "behaviour",
        "drift",
        "doubtful",
        "robustness",
        "importance",
        "standouts",
        "mistakes",
        "highlights",
    ]


def facts(share: float) -> Any:
    answers = np.eye(2)[(np.arange(100) >= share * 100).astype(int)]
    return SimpleNamespace(outputs=answers)


@pytest.mark.parametrize(("share", "decision"), [(0.5, "pass"), (0.7, "refuse")])
def test_a_check_of_a_projects_own_decides_beside_the_steps(
    folder: Path, share: float, decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "built_in", lambda step: [])
    own = own_checks("evaluate", {"own_checks_here:NoFavourite": {"most": 0.6}}, field="evaluate.checks", beside=folder)
    found = make("evaluate", facts(share), EvaluateConfig(), own)
    assert found.decision == decision and f"{share:.0%} of all" in found.reasons[0]
    told = found.evidence["checks"]["own_checks_here:NoFavourite"]
    assert told["evidence"] == {"share": share} and told["decision"] == decision
    assert f"{share:.0%} of all" in check.own_sections(found.evidence)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"own_checks_here:NoFavourite": {"mots": 0.6}}, r"evaluate.checks.own_checks_here:NoFavourite.mots: unknown key.*\n.*'most'"),
        ({"own_checks_here:NoFavourite": {"most": 2}}, "less than or equal to 1"),
        ({"own_checks_here:OfData": {}}, "is a check that validate_data makes"),
        ({"own_checks_here:Half": {}}, "is no check"),
        ({"own_checks_here:none": {}}, "is no check"),
        ({"own_checks_here:Nofavourite": {}}, "has no Nofavourite"),
        ({"bar": {}}, "by itself"),
        ({"sliecs": {}}, "did you mean 'slices'"),
    ],
)
def test_a_wrong_name_or_section_is_told_with_its_place(folder: Path, named: dict[str, Any], says: str) -> None:
    with pytest.raises(ProjectError, match=says) as told:
        own_checks("evaluate", named, field="evaluate.checks", beside=folder)
    assert "evaluate.checks" in str(told.value.field) and told.value.fix


def test_what_no_check_of_ones_own_adds_leaves_the_settings_as_they_were() -> None:
    assert "checks" not in EvaluateConfig().model_dump()
    assert EvaluateConfig(checks={"a:B": {"c": 1}}).model_dump()["checks"] == {"a:B": {"c": 1}}


def test_a_section_says_the_reasons_as_text_unless_the_check_draws_more() -> None:
    class Bare(Check):
        step = "evaluate"

        def judge(self, facts: Any, config: Any) -> Decision:
            return Decision("pass", ("<b>all</b> well",))

    assert Bare().section(Bare().judge(None, None)) == "<p>&lt;b&gt;all&lt;/b&gt; well</p>"
    assert Bare.name.endswith(":test_a_section_says_the_reasons_as_text_unless_the_check_draws_more.<locals>.Bare")


class Even(Check):
    """Of data: an even number of rows."""

    name, step = "even", "validate_data"

    def judge(self, facts: Any, config: Any) -> Decision:
        return Decision("pass" if facts.train.rows % 2 == 0 else "refuse", (f"{facts.train.rows} rows",))


@pytest.mark.parametrize(("rows", "status"), [(40, "pass"), (41, "refuse")])
def test_a_check_of_ones_own_is_a_line_of_the_datas_report(rows: int, status: str) -> None:
    table = pa.table({"a": np.arange(rows, dtype=np.float64), "label": ["x", "y"] * (rows // 2) + ["x"] * (rows % 2)})
    told = validate(
        table,
        None,
        kinds={"a": "numeric"},
        objective="classification",
        checks=Checks(own={"even": {}}),
        split=Split(),
        own=[("even", Even(), Even.Config())],
    )
    (line,) = [c for c in told.checks if c.name == "even"]
    assert (line.status, line.message, told.decision) == (status, f"{rows} rows", status)


@pytest.mark.parametrize("decision", ["pass", "refuse"])
def test_the_export_decides_as_its_formats_do_and_keeps_their_evidence(decision: Any) -> None:
    result = SimpleNamespace(decision=decision, reasons=("as it was",), evidence={"formats": [], "chosen": None})
    found = make("export_onnx", SimpleNamespace(result=result), ExportConfig())
    refused = {"refused": {"format": ""}} if decision == "refuse" else {}
    assert (found.decision, found.reasons, found.evidence) == (decision, ("as it was",), result.evidence | refused)


def test_a_built_in_check_of_rows_decides_by_its_own_looks() -> None:
    table = pa.table({"a": np.arange(40, dtype=np.float64), "label": ["x"] * 40})
    side = Side(table, fields_of({"a": "numeric"}), "train", None)
    found = {c.name: c.judge(Subject(side, None, "classification", Checks(), Split(), {}), Checks()) for c in built_in("validate_data")}
    assert [name for name, d in found.items() if d.decision == "refuse"] == ["labels"]
    assert [line["name"] for line in found["labels"].evidence["checks"] if line["status"] == "refuse"] == ["one_class"]
