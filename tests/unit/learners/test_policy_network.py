"""A policy's encoding and its graph: the same numbers in memory and in ONNX Runtime; and what `train:` refuses."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from sluice.learners.policy.checkpoint import Checkpoints
from sluice.learners.policy.config import PolicyTrain
from sluice.learners.policy.network import Encoding, PolicyNetwork
from sluice.learners.tables.nodes import Nodes


def network(states: list[int], activation: str = "tanh", place: tuple[int, ...] = (0, 1, 2), temperature: float = 1.0) -> PolicyNetwork:
    """A perceptron of random weights over such numbers of an observation."""
    rng, n = np.random.default_rng(3), len(states)
    encoding = Encoding([f"x{i}" for i in range(n)], states, [0.0, 5.0, 0.0][:n], [0.5] * n, [0.1] * n, [2.0] * n)
    sizes = [encoding.features, 8, 3]
    weights = [
        (rng.standard_normal((b, a)).astype(np.float32), rng.standard_normal(b).astype(np.float32)) for a, b in zip(sizes, sizes[1:])
    ]
    return PolicyNetwork(encoding, weights, activation, temperature, list(place))


def of_graph(made: PolicyNetwork, x: np.ndarray) -> np.ndarray:
    g, inputs = Nodes(), made.encoding.inputs
    made.nodes(g, inputs, "probabilities")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in inputs]
    model = g.model(ends, [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(made.place)])], 20)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {name: x[:, [i]] for i, name in enumerate(inputs)})[0])


@pytest.mark.parametrize("states", [[0, 0, 0], [4, 0, 0], [3, 2, 5], [6]], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_graph_answers_as_the_network_in_memory(states: list[int], activation: str):
    made, rng = network(states, activation), np.random.default_rng(1)
    x = np.stack([rng.integers(-1, n + 1, 50) if n else rng.normal(0, 3, 50) for n in states], axis=1).astype(np.float32)
    x[::7, 0] = np.nan
    ours = made.run({name: x[:, [i]] for i, name in enumerate(made.encoding.inputs)})
    assert np.abs(of_graph(made, x) - ours).max() < 1e-6
    assert np.allclose(ours.sum(axis=1), 1, atol=1e-6)


def test_labels_in_another_order_get_their_own_action():
    straight, turned = network([0, 0]), network([0, 0], place=(2, 0, 1))
    x = {name: np.ones((4, 1), dtype=np.float32) for name in straight.encoding.inputs}
    assert np.allclose(turned.run(x), straight.run(x)[:, [2, 0, 1]])
    assert np.allclose(of_graph(turned, np.ones((4, 2), dtype=np.float32)), turned.run(x), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 40.0])
def test_the_likeliest_action_is_the_greedy_one_at_every_temperature(temperature: float):
    made = network([0, 3], temperature=temperature)
    seen = np.stack([np.linspace(-40, 40, 60), np.arange(60) % 3], axis=1).astype(np.float32)
    tensors = seen - np.array(made.encoding.centre, dtype=np.float32)
    chosen = made.run({name: tensors[:, [i]] for i, name in enumerate(made.encoding.inputs)}).argmax(axis=1)
    assert np.array_equal(chosen, made.choose(seen)) and len(set(chosen.tolist())) > 1


def test_a_state_is_one_of_its_own_and_an_unknown_one_is_none():
    encoding = Encoding(["s"], [3], [0.0], [0.0], [0.0], [1.0])
    assert encoding.of(np.array([[0], [2], [3], [np.nan]], dtype=np.float32)).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_what_is_written_is_read_back():
    made = network([2, 0])
    plain, tensors = made.dump()
    back = PolicyNetwork.load(plain, tensors)
    x = {name: np.ones((2, 1), dtype=np.float32) for name in made.encoding.inputs}
    assert np.array_equal(back.run(x), made.run(x)) and back.encoding == made.encoding


def test_too_few_steps_are_said_with_their_number():
    assert "too few to learn from" in PolicyTrain(timesteps=2000, parts=2).few()
    assert PolicyTrain().few() == PolicyTrain(algorithm="dqn").few() == ""
    assert PolicyTrain(algorithm="dqn", timesteps=1500).few()


@pytest.mark.parametrize("bad", [{"folds": 5}, {"timesteps": 5}, {"algorithm": "sac"}, {"gamma": 1.5}, {"threads": 2}], ids=str)
def test_settings_that_no_policy_learns_by_are_refused(bad: dict[str, object]):
    with pytest.raises(ValidationError):
        PolicyTrain.model_validate(bad)


def test_the_last_whole_checkpoint_is_taken_and_a_broken_one_passed_over(tmp_path):
    kept = Checkpoints(tmp_path / "run")
    assert kept.latest() is None
    kept.save(1, {"part": 1}, {"a": np.arange(3)})
    kept.save(2, {"part": 2}, {"a": np.arange(4)})
    found = kept.latest()
    assert found is not None and found[0]["part"] == 2 and len(list((tmp_path / "run").iterdir())) == 1
    (tmp_path / "run" / "part-00003").mkdir()
    (tmp_path / "run" / "part-00002" / "state.safetensors").write_bytes(b"torn")
    assert kept.latest() is None
    kept.forget()
    assert not (tmp_path / "run").exists()
    Checkpoints(None).save(1, {}, {})
