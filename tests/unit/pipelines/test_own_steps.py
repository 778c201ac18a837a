"""Steps in their order, and a project's own among them: in a run's states, its gates and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluice.core.gate import Gate
from sluice.kfp.runs import step_of, step_states
from sluice.report import page
from sluice.steps.outcome import conclude
from sluice.steps.step import NAMES, STEPS, Step, in_order, line, read_gates


class Between(Step):
    title, after = "Between <two>", "train"


class AlsoThere(Step):
    after = "train"


def own(name: str, after: str, **more: Any) -> Gate:
    return Gate(name, "pass", ("seen",), {"after": after, "title": "Own <b>", "section": "<p>drawn there</p>", **more})


def test_each_built_in_step_comes_behind_the_one_before_it() -> None:
    steps = line()
    assert [s.name for s in steps] == list(NAMES) and [s.after for s in steps] == ["", *NAMES[:-1]]
    assert all(s.title and s.component.startswith(f"components.{s.name}.") for s in steps)


def test_own_steps_stand_behind_the_one_they_name_in_the_order_they_are_named() -> None:
    found = [s.name for s in line([Between(), AlsoThere()])]
    assert found[found.index("train") : found.index("export_onnx")] == ["train", "between", "also_there"]
    assert (AlsoThere.title, Between.title) == ("Also there", "Between <two>")


def test_gates_come_in_the_order_of_the_run(tmp_path: Path) -> None:
    made = [own("also_there", "train"), Gate("train", "pass"), Gate("evaluate", "pass"), own("first", "validate_data")]
    assert [g.step for g in in_order({g.step: g for g in made})] == ["first", "train", "also_there", "evaluate"]
    for gate in made:
        gate.write(tmp_path / "run" / gate.step / "gate.json")
    assert [g.step for g in read_gates(tmp_path)] == ["first", "train", "also_there", "evaluate"]


@pytest.mark.parametrize(
    ("task", "step"),
    [
        ("export-onnx", "export_onnx"),
        ("own-enough-of-each", "enough_of_each"),
        ("own-enough-of-each-driver", None),
        ("own-enough-of-each(0)", None),
        ("tune-begin", None),
        ("report", None),
    ],
)
def test_a_task_of_a_cluster_is_known_as_its_step(task: str, step: str | None) -> None:
    assert step_of(task) == step


def test_states_tell_of_own_steps_too() -> None:
    tasks = [{"display_name": n, "state": "SUCCEEDED"} for n in ("own-between", "train", "own-between-driver")]
    assert step_states({"run_details": {"task_details": tasks}}) == {"train": "SUCCEEDED", "between": "SUCCEEDED"}


def test_a_report_shows_an_own_step_where_its_code_is_not() -> None:
    html = page.section(own("between", "train"))
    assert "Own &lt;b&gt;" in html and "<p>drawn there</p>" in html and 'id="between"' in html
    boxes = page.strip({"outcome": "running"}, [Gate("train", "pass"), own("between", "train")])
    assert boxes.index("Training") < boxes.index("Own &lt;b&gt;") < boxes.index("Package")
    assert boxes.count('class="step ') == len(NAMES) + 1


def test_a_refusal_of_an_own_step_is_what_the_run_came_to() -> None:
    refused = Gate("between", "refuse", ("too few",), {"after": "train"})
    found = conclude(in_order({"train": Gate("train", "pass"), "between": refused}), None)
    assert (found["outcome"], found["exit_code"], found["gate"], found["reasons"]) == ("refused", 3, "between", ["too few"])


def test_bounds_are_a_steps_own_and_nobody_changes_them() -> None:
    from sluice.kfp.config import ClusterConfig

    before = STEPS.get("train").bounds["resources"]["requests"].copy()
    wide = ClusterConfig.model_validate({"steps": {"train": {"resources": {"requests": {"cpu": "3"}}}}})
    assert wide.of("train").resources.requests.cpu == "3" and STEPS.get("train").bounds["resources"]["requests"] == before
    assert ClusterConfig().of("a_step_of_their_own").resources.limits.memory == "2Gi"
