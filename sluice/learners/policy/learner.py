"""The learner of policies: what is logged fits the encoding, the environment teaches, one small graph is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.core.errors import DataError
from sluice.learners.base import HISTORY, Job, Learner, Trained
from sluice.learners.config import TrainSection
from sluice.learners.policy.config import PolicyTrain
from sluice.learners.state import State

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from sluice.data.dataset import Dataset
    from sluice.environments.environment import Environment
    from sluice.learners.policy.network import PolicyNetwork

_TENSORS = "policy.safetensors"
_NETWORK = "policy"


class PolicyLearner(Learner):
    """Learns in the environment that the dataset's source names, in this process."""

    name: ClassVar[str] = "policy"
    Train: ClassVar[type[TrainSection]] = PolicyTrain
    folds: ClassVar[bool] = False
    resume: ClassVar[bool] = True
    libraries: tuple[str, ...] = ("stable-baselines3", "gymnasium", "torch")

    def fit(self, job: Job) -> PolicyTrained:
        """See `Learner.fit`; interrupted it goes on from `job.checkpoints`, to the same model bit for bit."""
        from sluice.learners.estimators.rounds import environment as machine
        from sluice.learners.policy.network import Encoding
        from sluice.learners.policy.training import Course, at_random_return, train
        from sluice.learners.tables.fit import fit_table

        started = time.perf_counter()
        settings, model = self._train, self.task.project.model
        environment, state = environment_of(job.dataset), fit_table(job.dataset)
        encoding = Encoding.fitted(state, environment.names, environment.states, model.normalise)
        place = place_of(job.dataset.labels, environment)
        if few := settings.few():
            job.on_event({"kind": "warning", "text": few})
        course = Course(environment, encoding, settings, model.hidden, model.activation, place, job.on_event, self._checkpoints(job))
        found = train(course)
        assert found.network is not None
        chance = at_random_return(environment, settings.validation_episodes)
        if found.mean <= chance:
            said = f"the policy's mean return {found.mean:.4g} is no better than the random policy's {chance:.4g} on the same episodes"
            job.on_event({"kind": "warning", "text": f"{said}: raise train.timesteps, or try the other algorithm"})
        record = {
            "history": found.history,
            "best_epoch": found.best,
            "seconds": time.perf_counter() - started,
            "ended": "epochs" if len(found.history) == settings.parts else "reached train.stop_at",
            "stopped_early": len(found.history) < settings.parts,
            "unit": "part",
            "world_size": 1,
            "random_return": chance,
            "algorithm": settings.algorithm,
            "cautions": [few] if few else [],
            "environment": machine(1, self.libraries),
        }
        made = PolicyTrained(state, record, found.network)
        with files.new_dir(job.out) as tmp:
            made.save(tmp)
        made.root = job.out
        course.checkpoints.forget()
        return made

    def load(self, root: Path) -> PolicyTrained:
        """See `Learner.load`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from sluice.learners.policy.network import PolicyNetwork

        root = Path(root)
        try:
            state, record = State.load(root), files.read_json(root / HISTORY)
            network = PolicyNetwork.load(files.read_json(root / f"{_NETWORK}.json"), load((root / _TENSORS).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
            raise DataError(f"cannot be read as a policy: {e}", field=str(root), fix="train again") from e
        found = PolicyTrained(state, record, network)
        found.root = root
        return found

    @property
    def _train(self) -> PolicyTrain:
        found = self.task.project.train
        assert isinstance(found, PolicyTrain)
        return found

    def _checkpoints(self, job: Job) -> Any:
        """Of runs of the same settings, data and code."""
        from sluice.learners.policy.checkpoint import Checkpoints

        if job.checkpoints is None:
            return Checkpoints(None)
        project = self.task.project
        key = files.digest_of(
            {"model": project.model.model_dump(mode="json"), "train": self._train.model_dump(mode="json"), "data": job.dataset.digest}
        )
        return Checkpoints(Path(job.checkpoints) / f"policy-{key[:16]}")


class PolicyTrained(Trained):
    """``policy.json`` and ``policy.safetensors``, ``state.json``, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], network: PolicyNetwork):
        self.state, self.record, self._network = state, record, network
        best = self.best
        self.text = (
            f"{record['algorithm'].upper()}: mean return {best['validation_metrics']['mean_return']:.4g} after {best['step']:,} steps kept"
            f" (part {record['best_epoch']} of {len(record['history'])}, the best on episodes of its own); at random {record['random_return']:.4g}"
        )

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Probabilities of the actions; see `Trained.run`."""
        return self._network.run(inputs)

    def graph(self, opset: int) -> onnx.ModelProto:
        """See `Trained.graph`."""
        from onnx import TensorProto, helper

        from sluice.learners.tables.nodes import Nodes
        from sluice.package import graph as graphs

        g, inputs = Nodes(), [t.name for t in self.state.processor.inputs]
        own = {name: f"input_{i}__" for i, name in enumerate(inputs)}
        output = self.state.output
        self._network.nodes(g, [own[name] for name in self._network.encoding.inputs], output.name)
        ends = [helper.make_tensor_value_info(own[name], TensorProto.FLOAT, ["batch", 1]) for name in inputs]
        shape = ["batch", *output.shape[1:]]
        model = g.model(ends, [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape)], opset)
        graphs.name_inputs(model, {new: name for name, new in own.items()})
        return model

    def save(self, root: Path) -> None:
        """Write the network, the state and the history."""
        from safetensors.numpy import save

        plain, tensors = self._network.dump()
        files.write_json(root / f"{_NETWORK}.json", plain)
        files.write_bytes(root / _TENSORS, save(tensors))
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)


def environment_of(dataset: Dataset) -> Environment:
    """The environment that a dataset was logged in. Raises `DataError`, `MissingExtra`."""
    from sluice.environments.address import address_of
    from sluice.environments.environment import Environment

    return Environment(address_of(str(dataset.manifest["source"]["uri"])))


def place_of(labels: list[str], environment: Environment) -> list[int]:
    """Of each label, which action of the environment it is. Raises `DataError`: they are not the environment's actions."""
    if sorted(labels) != sorted(environment.actions):
        missing = sorted(set(environment.actions) - set(labels)) or sorted(set(labels) - set(environment.actions))
        raise DataError(
            f"the logged rows do not hold the {len(environment.actions)} actions of {environment.address.id}",
            field="data.source",
            value=missing[:10],
            fix="raise rows=... of the address, so that the reference policy takes each action",
        )
    return [environment.actions.index(label) for label in labels]
