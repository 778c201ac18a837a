"""The form of a compiled pipeline: who wins over whom, and what is said of a wrong value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from sluice import project
from sluice.core.errors import ProjectError
from sluice.kfp import form
from tests.unit.cluster.test_struct import EXAMPLES, travelled

RAW: dict[str, Any] = {
    "name": "mine",
    "task": "image",
    "data": {"source": "s3://b/x"},
    "train": {"epochs": 20, "learning_rate": 3e-3},
    "evaluate": {"minimum": 0.9},
    "rollout": {"steps": [10, 50]},
}
COMPILED = form.defaults(RAW)


def settled(values: dict[str, Any], compiled: dict[str, Any] = COMPILED) -> project.Project:
    """What a run with these values works on, its project and lists having gone through Struct."""
    sent = travelled({"all": values})["all"]
    return form.resolve(sent["project"], values["set"], form.typed(sent), form.typed(compiled))[0]


def filled_in(**changes: Any) -> project.Project:
    edited = {**COMPILED, **{k: v for k, v in changes.items() if k in COMPILED}}
    return settled(edited)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
@pytest.mark.parametrize("parameters", [form.TRAINING, form.TUNING], ids=["training", "tuning"])
def test_an_untouched_form_is_the_project(path: Path, parameters: tuple[form.Parameter, ...]) -> None:
    raw = project.read_yaml(path) | (
        {"tune": {"trials": 3, "space": {"train.warmup": {"type": "float", "low": 0, "high": 0.5}}}} if parameters is form.TUNING else {}
    )
    made = form.defaults(raw, parameters)
    assert settled(made, made) == project.parse(raw)
    assert all(v is not None for v in made.values()), "the form takes an empty one as missing"


def test_an_untouched_field_never_undoes_what_was_edited_in_the_project() -> None:
    edited = {**COMPILED["project"], "train": {"epochs": 5.0, "learning_rate": 1e-4}}
    found = filled_in(project=edited)
    assert (found.train.epochs, found.train.learning_rate) == (5, 1e-4)
    assert filled_in(project=edited, train_epochs=7.0).train.epochs == 7
    assert filled_in(project=edited, train_epochs=7.0, set="train.epochs=9").train.epochs == 9
    assert filled_in(project=edited, train_epochs=20.0).train.epochs == 5


def test_zero_is_automatic_and_an_emptied_field_is_left_alone() -> None:
    found = filled_in(train_epochs=0.0, train_learning_rate=0.0, evaluate_minimum=0.0, data_source="")
    assert (found.train.epochs, found.train.learning_rate, found.evaluate.minimum, found.data.source) == (None, None, 0.0, "s3://b/x")
    none = form.defaults({**RAW, "evaluate": {}})
    assert none["evaluate_minimum"] == 0 and settled(none, none).evaluate.minimum is None
    assert settled({**none, "evaluate_minimum": 0.5}, none).evaluate.minimum == 0.5


def test_set_takes_values_with_spaces_and_exact_numbers() -> None:
    found = filled_in(
        set=f"""rollout.steps=[5, 20] train.seed={2**60 + 1}
        data.source='s3://b/two words'   train.early_stopping={{metric: accuracy, patience: 2}}"""
    )
    assert (found.rollout.steps, found.train.seed, found.data.source) == ([5, 20], 2**60 + 1, "s3://b/two words")
    assert found.train.early_stopping is not None and found.train.early_stopping.patience == 2


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"train_epochs": -3.0}, "train_epochs: train.epochs", -3),
        ({"train_epochs": 2.5}, "train_epochs: train.epochs", 2.5),
        ({"rollout_steps": [50.0, 10.0]}, "rollout_steps: rollout.steps", [50, 10]),
        ({"rollout_steps": []}, "rollout_steps: rollout.steps", []),
        ({"set": "train.epochs=many"}, "set: train.epochs", "many"),
        ({"set": "train.epoch=3"}, "set: train.epoch", 3),
        ({"set": "epochs 5"}, "set", "epochs"),
        ({"set": "train.epochs=[5"}, "set train.epochs:1:3", None),
        ({"project": {**RAW, "train": {"epoch": 5.0}}}, "project: train.epoch", 5),
        ({"project": {**RAW, "train": 3.0}, "train_epochs": 4.0}, "project: train", 3),
    ],
)
def test_a_wrong_value_names_the_field_of_the_form_the_value_and_a_fix(changes: dict[str, Any], field: str, value: Any) -> None:
    with pytest.raises(ProjectError) as caught:
        filled_in(**changes)
    assert caught.value.field == field and caught.value.fix
    assert value is None or caught.value.value == value


# -- the values a run is started with


def test_a_run_shows_every_setting_it_was_started_with() -> None:
    other = {**RAW, "train": {"epochs": 40}, "evaluate": {}}
    made = form.fill(COMPILED, {"rollout_steps": [5], "set": "train.batch_size=8 train.seed=3"}, other)
    assert {k: v for k, v in made.items() if k != "project"} == {
        "data_source": "s3://b/x",
        "evaluate_minimum": 0,
        "rollout_minimum_requests": 300,
        "rollout_steps": [5],
        "set": "train.seed=3",
        "train_batch_size": 8,
        "train_epochs": 40,
        "train_learning_rate": 0,
    }
    assert settled(made).evaluate.minimum is None and settled(made).train.seed == 3


def test_a_value_that_is_asked_for_counts_even_where_it_is_the_one_compiled_in() -> None:
    made = form.fill(COMPILED, {"train_epochs": 20}, {**RAW, "train": {"epochs": 40}})
    assert made["train_epochs"] == 20 and settled(made).train.epochs == 20


def test_a_setting_said_in_set_stands_in_its_own_field_so_that_a_copy_of_the_run_can_change_it() -> None:
    made = form.fill(COMPILED, {"set": "train.epochs=5 model.width=8"})
    assert (made["train_epochs"], made["set"], made["project"]) == (5, "model.width=8", COMPILED["project"])
    assert settled({**made, "train_epochs": 7}).train.epochs == 7
    kept = form.fill(COMPILED, {"set": "evaluate.minimum=null"})
    assert kept["set"] == "evaluate.minimum=null" and settled(kept).evaluate.minimum is None


sections = st.fixed_dictionaries(
    {},
    optional={
        "train": st.fixed_dictionaries(
            {}, optional={"epochs": st.none() | st.integers(1, 30), "learning_rate": st.none() | st.floats(1e-6, 1.0)}
        ),
        "evaluate": st.fixed_dictionaries({}, optional={"minimum": st.none() | st.floats(-1, 1)}),
    },
)
words = st.lists(
    st.sampled_from(
        [
            "train.epochs=20",
            "train.epochs=null",
            "train.epochs=7",
            "evaluate.minimum=0",
            "evaluate.minimum=null",
            "model.width=8",
            "evaluate.minimum=0.9",
            "train={epochs: 3}",
            "rollout.steps=[1, 2]",
            "train.learning_rate=3e-3",
        ]
    ),
    max_size=4,
)


@drawn(
    base=sections,
    other=st.none() | sections,
    words=words,
    typed=st.fixed_dictionaries(
        {}, optional={"train_epochs": st.sampled_from([0, 7, 20]), "evaluate_minimum": st.sampled_from([0.0, 0.5, 0.9])}
    ),
)
@settings(max_examples=80, deadline=None)
def test_what_a_run_is_started_with_means_what_was_asked_for(
    base: dict[str, Any], other: dict[str, Any] | None, words: list[str], typed: dict[str, Any]
) -> None:
    head = {"name": "mine", "task": "image", "data": {"source": "x"}}
    compiled = form.defaults({**head, **base})
    raw = None if other is None else {**head, **other}
    started = {**typed, "set": " ".join(words)}
    made = form.fill(compiled, started, raw)
    wanted, _ = form._merged(
        form.to_struct(raw or {**head, **base}), started["set"], {k: v for k, v in typed.items() if raw or v != compiled[k]}
    )
    assert settled(made, compiled) == project.parse(wanted)
    assert form.fill(compiled, made) == made, "what was started so can be started so again"
