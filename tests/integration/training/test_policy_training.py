"""A policy learnt in parts: interrupted and gone on with it is the same bit for bit; and what stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.learners.base import Job
from sluice.learners.policy.learner import PolicyTrained, place_of
from sluice.problems.comparison import compare
from sluice.problems.config import MetricConfig
from sluice.project import Project, parse
from sluice.tasks import load_task

SOURCE = "gym://tests.tools.corridor:Corridor-v0?rows=400&episodes=20"


def project(source: str = SOURCE, **train: Any) -> Project:
    """A corridor, learnt in three parts."""
    return parse(
        {
            "name": "walker",
            "task": "policy",
            "data": {"source": source, "split": {"by": "group", "column": "episode"}},
            "model": {"hidden": [16]},
            "train": {"timesteps": 1536, "parts": 3, "n_envs": 4, "validation_episodes": 5, "learning_rate": 0.003, **train},
        }
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """What the reference policy logged."""
    found = project()
    return prepare(found, Path(), load_task(found), tmp_path_factory.mktemp("corridor") / "data")


class Killed(Exception):
    """What a process that is killed never says."""


def learnt(
    dataset: Dataset, out: Path, checkpoints: Path | None, after: int | None, **train: Any
) -> tuple[PolicyTrained, list[dict[str, Any]]]:
    """The policy, and what was told; `after`: the part after whose checkpoint it is killed."""
    events: list[dict[str, Any]] = []

    def told(event: dict[str, Any]) -> None:
        if after is not None and event.get("epoch") == after + 1:
            raise Killed
        events.append(event)

    made = load_task(project(**train)).learner().fit(Job(dataset, out, told, checkpoints))
    assert isinstance(made, PolicyTrained)
    return made, events


QUICK_DQN = {"learning_starts": 100, "train_freq": 8, "gradient_steps": 8, "buffer_size": 600, "target_update_interval": 32}


@pytest.mark.parametrize("train", [{}, {"algorithm": "dqn", "dqn": QUICK_DQN}], ids=["ppo", "dqn"])
def test_a_killed_job_goes_on_to_the_same_bits(dataset: Dataset, tmp_path: Path, train: dict[str, Any]) -> None:
    whole, _ = learnt(dataset, tmp_path / "whole", None, None, **train)
    with pytest.raises(Killed):
        learnt(dataset, tmp_path / "broken", tmp_path / "kept", 1, **train)
    assert not (tmp_path / "broken").exists() and list((tmp_path / "kept").rglob("part-00001"))
    gone_on, told = learnt(dataset, tmp_path / "again", tmp_path / "kept", None, **train)
    assert any("goes on after part 1" in str(e.get("text")) for e in told)
    assert [e["epoch"] for e in told if e["kind"] == "epoch"] == [2, 3], "the first part is not learnt twice"
    one, two = ((tmp_path / name / "policy.safetensors").read_bytes() for name in ("whole", "again"))
    assert one == two
    assert gone_on.history == whole.history
    assert not list((tmp_path / "kept").rglob("part-*")), "checkpoints of a job that is done are deleted"


def test_another_seed_is_another_policy_and_other_settings_take_no_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        learnt(dataset, tmp_path / "a", tmp_path / "kept", 1)
    _, told = learnt(dataset, tmp_path / "b", tmp_path / "kept", None, seed=18)
    assert [e["epoch"] for e in told if e["kind"] == "epoch"] == [1, 2, 3]


def test_few_steps_are_a_caution_before_they_are_taken(dataset: Dataset, tmp_path: Path) -> None:
    made, told = learnt(dataset, tmp_path / "few", None, None, timesteps=256, parts=1)
    first = next(e for e in told if e["kind"] == "warning")
    assert "train.timesteps 256 are 2 updates" in first["text"] and told.index(first) < next(
        i for i, e in enumerate(told) if e["kind"] == "epoch"
    )
    assert made.record["cautions"] == [first["text"]]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"data": {"source": "rows.csv"}}, "is no environment"),
        ({"evaluate": {"slices": ["label"]}}, "evaluate.slices"),
        ({"data": {"source": SOURCE, "columns": {"features": ["place"]}}}, "data.columns.features"),
    ],
    ids=["no environment", "slices", "features"],
)
def test_settings_that_mean_nothing_to_a_policy_are_refused_with_their_name(tmp_path: Path, raw: dict[str, Any], words: str) -> None:
    (tmp_path / "rows.csv").write_text("a,label\n" + "1,x\n2,y\n" * 20)
    found = parse({"name": "walker", "task": "policy", "data": {"source": SOURCE}, **raw})
    with pytest.raises(ProjectError, match=words) as e:
        validate_project_data(found, tmp_path, load_task(found))
    assert e.value.fix


def test_a_reward_that_is_no_number_ends_the_job_before_anything_is_trained() -> None:
    found = project(SOURCE + "&broken=reward")
    with pytest.raises(DataError, match="not a finite number"):
        validate_project_data(found, Path(), load_task(found))


def test_logs_without_one_of_the_actions_are_refused(dataset: Dataset) -> None:
    from sluice.learners.policy.learner import environment_of

    environment = environment_of(dataset)
    assert place_of(["right", "left"], environment) == [1, 0]
    with pytest.raises(DataError, match="do not hold the 2 actions") as e:
        place_of(["left"], environment)
    assert e.value.value == ["right"] and "rows=" in str(e.value.fix)


def test_a_policy_with_other_actions_is_not_judged_in_this_environment(dataset: Dataset) -> None:
    with pytest.raises(ProjectError, match=r"has the actions \['left', 'right'\]") as e:
        dataset.problem.judged(lambda rows: np.ones((len(rows), 3)), lambda split: np.ones((1, 3)), dataset, "test", ["0", "1", "2"])
    assert e.value.value == ["0", "1", "2"] and "give the project another name" in str(e.value.fix)


def test_two_policies_play_the_same_episodes_and_are_paired_by_seed(dataset: Dataset) -> None:
    asked, config = dataset.problem, MetricConfig()

    def always(label: str) -> np.ndarray:
        one = np.array([float(label == other) for other in dataset.labels])
        return asked.judged(lambda rows: np.tile(one, (len(rows), 1)), lambda split: one, dataset, "test", dataset.labels)[0]

    right, left = always("right"), always("left")
    found = compare(right, left, np.zeros(20), dataset.labels, dataset.labels, config, asked=asked)
    assert (found["rows"], found["verdict"], found["n_discordant"], found["candidate_better"]) == (20, "better", 20, 20)
    assert found["difference"] == pytest.approx(float((right[:, 0] - left[:, 0]).mean()))
    assert np.array_equal(right[:, 0], always("right")[:, 0]), "the same seeds, the same episodes"
    same = compare(right, right, np.zeros(20), dataset.labels, dataset.labels, config, asked=asked)
    assert same["verdict"] == "no_worse" and "of 20 episodes" not in same["note"]
    name, chance = asked.trivial(dataset, dataset.labels, "mean_return", None)
    assert name == "acting at random" and left[:, 0].mean() < chance[:, 0].mean() < right[:, 0].mean()
