"""A project through ``google.protobuf.Struct``, where every number is a float, comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from kfp.compiler.pipeline_spec_builder import to_protobuf_value

from sluice import project
from sluice.core.errors import ProjectError
from sluice.kfp.struct import NOTES, from_struct, to_struct

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(ROOT.glob("examples/*/sluice.yaml"))


def travelled(made: dict[str, Any]) -> dict[str, Any]:
    """As Kubeflow Pipelines carries it: a Struct on the wire, then JSON text in which all numbers are floats."""
    struct = json_format.ParseDict(made, struct_pb2.Struct())
    arrived = struct_pb2.Struct.FromString(struct.SerializeToString())
    return floats(json.loads(json_format.MessageToJson(arrived)))


def floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [floats(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def spelt(value: Any) -> str:
    """Equal texts are equal values of equal types."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
def test_every_example_comes_back(path: Path) -> None:
    raw = project.read_yaml(path)
    back = from_struct(travelled(to_struct(raw)))
    assert NOTES not in to_struct(raw), "what the schema says needs no note"
    assert spelt(project.parse(back, base_dir=path.parent).model_dump(mode="json")) == spelt(
        project.parse(raw, base_dir=path.parent).model_dump(mode="json")
    )


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["12", "12.0", "1e3", "true", ""]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["scale", "a/b", "a~b", "12", "x.y"]), values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_task_of_ones_own_gets_its_settings_as_they_were_written(model: dict[str, Any]) -> None:
    raw = {"name": "mine", "task": "no_such_module:Task", "data": {"source": "x.csv"}, "model": model}
    assert spelt(from_struct(travelled(to_struct(raw)))) == spelt(raw)
    here = to_struct(raw, nulls=False)
    to_protobuf_value(here)  # kfp.local takes no null
    assert spelt(from_struct(travelled(here))) == spelt(raw)


@given(
    seed=st.integers(0, 2**63 - 1),
    rate=st.floats(1e-9, 1e9) | st.integers(1, 10**9),
    epochs=st.none() | st.integers(1, 2**53),
    steps=st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True).map(sorted),
    choices=st.lists(st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from([True, None, "2.0", 2.0]), min_size=1, max_size=4),
    cpu=st.sampled_from([1, 1.0, "1.0", 2.5]),
)
@settings(max_examples=60, deadline=None)
def test_sections_come_back_by_their_schema(
    seed: int, rate: float, epochs: int | None, steps: list[int], choices: list[Any], cpu: Any
) -> None:
    raw = {
        "name": "mine",
        "task": "image",
        "data": {"source": "x.csv"},
        "train": {"seed": seed, "learning_rate": rate, "epochs": epochs},
        "rollout": {"steps": steps},
        "cluster": {"defaults": {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": 4}}}},
        "tune": {
            "space": {
                "model.width": {"type": "int", "low": 8, "high": 32},
                "train.warmup": {"type": "float", "low": 0, "high": 1.0},
                "model.kind": {"type": "categorical", "choices": choices},
            }
        },
    }
    before, after = project.parse(raw), project.parse(from_struct(travelled(to_struct(raw))))
    assert spelt(after.model_dump(mode="json")) == spelt(before.model_dump(mode="json"))


def test_an_integer_that_arrives_in_the_shortest_digits_of_its_float_is_itself() -> None:
    raw = {"name": "mine", "task": "image", "data": {"source": "x"}, "train": {"seed": 2**60 + 1}}
    sent = to_struct(raw)
    sent["train"] = {"seed": 1152921504606847000}  # as a browser and Kubeflow Pipelines write it
    assert from_struct(sent) == raw


def test_an_edited_number_counts_and_its_note_no_longer() -> None:
    raw = {"name": "mine", "task": "my:Task", "data": {"source": "x"}, "model": {"scale": 12.0, "big": 2**60 + 1}}
    sent = travelled(to_struct(raw))
    assert sent[NOTES] == {"/model/big": str(2**60 + 1), "/model/scale": "12.0"}
    sent["model"] |= {"scale": 13.0, "big": 7.0, "new": 4.0}
    assert spelt(from_struct(sent)["model"]) == spelt({"scale": 13, "big": 7, "new": 4})


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"train": {"seed": 2.0**60}}, "project: train.seed", "more digits than a JSON form keeps"),
        ({NOTES: {"/model/scale": "many"}}, f"project: {NOTES}", "no mapping of places to numbers"),
        ({NOTES: [1.0]}, f"project: {NOTES}", "no mapping of places to numbers"),
    ],
)
def test_what_cannot_be_read_exactly_is_said(change: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ProjectError, match=said) as caught:
        from_struct({"name": "mine", "task": "image", "data": {"source": "x"}, **change})
    assert caught.value.field == field and caught.value.fix
