"""Conditions without boxes: what was inside a `dsl.If` asks for itself, here and on a cluster."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl, local

from pipelines import flat


@dsl.component(base_image="x/y:1", install_kfp_package=False)
def say(word: str, into: str) -> str:
    with open(into, "a") as file:  # noqa: PTH123 (KFP runs this source alone)
        file.write(f"{word} ")
    return word


@dsl.component(base_image="x/y:1", install_kfp_package=False)
def each(word: str) -> list:
    return [word]


def nested(first: str = "go", second: str = "go", into: str = ""):
    a = say(word=first, into=into)
    with dsl.If(a.outputs["Output"] == "go"):
        b = say(word=second, into=into)
        c = say(word="inner", into=into).after(b)
        with dsl.If(b.outputs["Output"] == "go"):
            say(word=c.outputs["Output"], into=into)


def built(function: Any) -> dict[str, Any]:
    return json_format.MessageToDict(flat.pipeline(function, name="p", description="d").pipeline_spec)


def test_tasks_of_nested_conditions_stand_side_by_side_with_what_they_need() -> None:
    found = built(nested)["root"]["dag"]["tasks"]
    assert {n: t.get("dependentTasks", []) for n, t in found.items()} == {
        "say": [],
        "say-2": ["say"],
        "say-3": ["say-2"],
        "say-4": ["say-3"],
    }
    first, second = (
        "inputs.parameter_values['pipelinechannel--say-Output'] == 'go'",
        "inputs.parameter_values['pipelinechannel--say-2-Output'] == 'go'",
    )
    assert [found[n].get("triggerPolicy", {}).get("condition") for n in sorted(found)] == [None, first, first, second]
    assert found["say-4"]["inputs"]["parameters"]["into"] == {"componentInputParameter": "into"}
    assert found["say-4"]["inputs"]["parameters"]["word"]["taskOutputParameter"]["producerTask"] == "say-3"


def test_on_a_cluster_only_the_first_of_a_group_asks_since_nothing_starts_behind_it() -> None:
    spec = flat.pipeline(nested, name="p", description="d", here=False).pipeline_spec
    asked = {n: bool(t.trigger_policy.condition) for n, t in spec.root.dag.tasks.items()}
    assert asked == {"say": False, "say-2": True, "say-3": False, "say-4": True}


def test_a_condition_on_a_parameter_holds_inside_one_on_a_result_too() -> None:
    def both(switch: str = "on", into: str = ""):
        with dsl.If(switch == "on"):
            a = say(word="go", into=into)
            with dsl.If(switch == "on"):
                with dsl.If(a.outputs["Output"] == "go"):
                    say(word="x", into=into)

    found = built(both)["root"]["dag"]["tasks"]
    assert found["say"]["triggerPolicy"]["condition"] == "inputs.parameter_values['pipelinechannel--switch'] == 'on'"
    assert found["say"]["inputs"]["parameters"]["pipelinechannel--switch"] == {"componentInputParameter": "switch"}
    assert "say-Output" in found["say-2"]["triggerPolicy"]["condition"] and found["say-2"]["dependentTasks"] == ["say"]


def test_a_loop_stays_a_box_and_a_condition_in_it_is_flat() -> None:
    def looped(word: str = "go", into: str = ""):
        a = each(word=word)
        with dsl.If(word == "go"):
            b = say(word=word, into=into)
            with dsl.ParallelFor(a.outputs["Output"], name="turns") as item:
                c = say(word=item, into=into).after(b)
                with dsl.If(c.outputs["Output"] == "go"):
                    say(word=item, into=into)

    spec = built(looped)
    loop = next(t for t in spec["root"]["dag"]["tasks"].values() if t["taskInfo"]["name"] == "turns")
    assert "say" in loop["dependentTasks"]
    inside = spec["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert {n: t.get("dependentTasks", []) for n, t in inside.items()} == {"say-2": [], "say-3": ["say-2"]}
    assert "say-2-Output" in inside["say-3"]["triggerPolicy"]["condition"]


def test_a_group_whose_outputs_are_used_is_refused() -> None:
    def chosen(word: str = "go", into: str = ""):
        a = say(word=word, into=into)
        with dsl.If(a.outputs["Output"] == "go"):
            b = say(word="b", into=into)
        with dsl.Else():
            c = say(word="c", into=into)
        say(word=dsl.OneOf(b.outputs["Output"], c.outputs["Output"]), into=into)

    with pytest.raises(ValueError, match="has outputs"):
        built(chosen)


def test_what_stands_behind_a_shut_gate_does_not_run_here_either(tmp_path: Path) -> None:
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    flat.pipeline(nested, name="p", description="d")(first="go", second="no", into=str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "go no inner "
