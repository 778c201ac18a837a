"""An environment as rows and names, and what is refused of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluice.core.errors import DataError, MissingExtra
from sluice.data.config import Columns
from sluice.data.scheme import Asked, bring
from sluice.environments.address import Address, address_of
from sluice.environments.environment import Environment
from sluice.environments.play import JUDGED, TRAINING, at_random, play, records, seeds

CORRIDOR = "gym://tests.tools.corridor:Corridor-v0"


def test_an_address_tells_apart_what_is_ours_and_what_is_the_environments():
    found = address_of("gym://FrozenLake-v1?rows=500&seed=3&is_slippery=false&map_name=4x4&episodes=40&max_steps=60")
    assert found == Address("FrozenLake-v1", {"is_slippery": False, "map_name": "4x4"}, 500, 3, 40, 60)
    assert address_of("gym://CartPole-v1") == Address("CartPole-v1")


@pytest.mark.parametrize(
    ("uri", "field", "words"),
    [
        ("gym://", "data.source", "names no environment"),
        ("s3://CartPole-v1", "data.source", "names no environment"),
        ("gym://CartPole-v1?rows=ten", "data.source, rows", "no whole number"),
        ("gym://CartPole-v1?rows=3", "data.source, rows", "from 50"),
        ("gym://CartPole-v1?episodes=1", "data.source, episodes", "from 2"),
    ],
)
def test_an_address_that_cannot_be_is_refused(uri: str, field: str, words: str):
    with pytest.raises(DataError, match=words) as e:
        address_of(uri)
    assert e.value.field == field and e.value.fix


@pytest.mark.parametrize(
    ("uri", "words", "fix"),
    [
        ("gym://CartPol-v1", "no such environment", "CartPole-v1"),
        ("gym://cartpole-v1", "no such environment", "CartPole-v1"),
        ("gym://CartPole-v9", "no such environment", "CartPole-v1"),
        ("gym://nowhere:Grid-v0", "no such environment", "nowhere.py beside sluice.yaml"),
        ("gym://CartPole-v1?colour=red", "colour", "behind the ?"),
        ("gym://Pendulum-v1", r"continuous actions \(Box\)", "Discrete actions"),
        (f"{CORRIDOR}?broken=continuous", "continuous actions", "Discrete actions"),
        (f"{CORRIDOR}?broken=dict", "observations of a Dict", "Tuple"),
        (f"{CORRIDOR}?broken=picture", "12,288 numbers", "pictures are not learnt"),
        (f"{CORRIDOR}?broken=names", "does not name each one", "2 different texts"),
        (f"{CORRIDOR}?actions=1", "has 1 actions", "2 to"),
    ],
)
def test_an_environment_that_cannot_be_learnt_is_refused_with_what_can(uri: str, words: str, fix: str):
    with pytest.raises(DataError, match=words) as e:
        Environment(address_of(uri))
    assert fix in str(e.value.fix)


def test_what_an_environment_needs_beside_gymnasium_is_named():
    with pytest.raises(MissingExtra) as e:
        Environment(address_of("gym://LunarLander-v3"))
    assert e.value.fix == "pip install 'gymnasium[box2d]'"


def test_numbers_states_and_tuples_of_them_have_names():
    cart = Environment(address_of("gym://CartPole-v1"))
    assert (cart.names, cart.states, cart.actions) == (["obs_0", "obs_1", "obs_2", "obs_3"], [0] * 4, ["0", "1"])
    cards = Environment(address_of("gym://Blackjack-v1"))
    assert cards.states == [32, 11, 2] and cards.flat((20, 10, 1)).tolist() == [20, 10, 1]
    corridor = Environment(address_of(CORRIDOR))
    assert (corridor.names, corridor.states, corridor.actions) == (["place"], [7], ["left", "right"])
    assert corridor.flat(1).tolist() == [0], "states count from 0"


def test_episodes_are_decided_by_their_seeds_and_by_nothing_else():
    corridor = Environment(address_of(CORRIDOR))
    right = play(corridor, lambda rows: np.ones(len(rows), dtype=np.int64), seeds(17, JUDGED, 30))
    assert right.returns.min() > 0.9 and right.actions.tolist() == [0, int(right.lengths.sum())] and not right.cut.any()
    again = play(corridor, lambda rows: np.ones(len(rows), dtype=np.int64), seeds(17, JUDGED, 12))
    assert np.array_equal(again.returns, right.returns[:12]), "the first of more are the same"
    assert not set(seeds(17, JUDGED, 50)) & set(seeds(17, TRAINING, 50))
    endless = Environment(address_of(f"{CORRIDOR}?max_steps=9"))
    turns = play(endless, lambda rows: (rows[:, 0] % 2).astype(np.int64), seeds(17, JUDGED, 20))
    assert turns.cut.any() and turns.lengths[turns.cut].tolist() == [9] * int(turns.cut.sum())


def test_a_reward_that_is_no_number_is_refused_where_it_is_met():
    broken = Environment(address_of(f"{CORRIDOR}?broken=reward"))
    with pytest.raises(DataError, match="not a finite number") as e:
        play(broken, at_random(broken, 1), seeds(1, JUDGED, 3))
    assert "reward" in str(e.value.field) and "step()" in str(e.value.fix)
    with pytest.raises(DataError, match="not a finite number"):
        bring(Asked(f"{CORRIDOR}?broken=reward&rows=100", "", Path(), Columns()), Path())


def test_the_source_logs_as_many_rows_as_are_asked_for_and_the_same_each_time(tmp_path: Path):
    uri = "gym://CartPole-v1?rows=200&seed=5"
    one, two = (bring(Asked(uri, uri[6:], tmp_path, Columns()), tmp_path) for _ in range(2))
    assert not isinstance(one, list) and not isinstance(two, list)
    assert one.equals(two) and one.num_rows == 200
    assert one.column_names == ["obs_0", "obs_1", "obs_2", "obs_3", "label", "episode", "step", "reward"]
    assert set(one["label"].to_pylist()) == {"0", "1"}
    assert len(set(one["episode"].to_pylist())) >= 20, "a long episode is cut: some have to be held out"
    other = bring(Asked(uri.replace("seed=5", "seed=6"), "", tmp_path, Columns()), tmp_path)
    assert not isinstance(other, list) and not other.equals(one)


def test_rows_for_a_package_have_the_observations_names():
    corridor = Environment(address_of(CORRIDOR))
    assert records(corridor, np.array([[3.0], [0.0]], dtype=np.float32)) == [{"place": 3.0}, {"place": 0.0}]
