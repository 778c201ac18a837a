"""The learner of prompts, which trains nothing: it checks the prompt, makes its index, and asks the endpoint once what answers there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.core.datatypes import EngineSpec
from sluice.core.errors import DataError, SluiceError
from sluice.learners.base import HISTORY, Job, Learner, Shipped, Trained
from sluice.learners.config import TrainSection
from sluice.learners.state import State
from sluice.llm.package import ENGINE, PRECISION, PromptPackage, located

if TYPE_CHECKING:
    import numpy as np
    import onnx

_PACKAGE = "package"


class PromptsTrain(TrainSection):
    """Nothing is trained: there is nothing to set."""


class PromptsLearner(Learner):
    """Leaves the files of the package."""

    name: ClassVar[str] = "prompts"
    Train: ClassVar[type[TrainSection]] = PromptsTrain
    folds: ClassVar[bool] = False
    libraries: tuple[str, ...] = ("jinja2", "jsonschema")

    def fit(self, job: Job) -> PromptsTrained:
        """See `Learner.fit`. Raises `ProjectError`: the prompt, the documents or the key; `EndpointError`: the endpoint does not answer."""
        from sluice.llm.asking import Asker

        started, model = time.perf_counter(), self.task.project.model
        prompt = self.task.prompt()  # type: ignore[attr-defined]
        with files.new_dir(job.out) as tmp:
            into = tmp / _PACKAGE
            into.mkdir()
            count = 0
            if model.retrieval is not None:
                from sluice.llm.retrieval import write_index

                count = write_index(into, model.retrieval, self.task.base_dir)
            package = PromptPackage(into, prompt, model.endpoint, model.budget, model.price, model.retrieval)
            asker = Asker(dataclasses.replace(package, endpoint=located(model.endpoint)))
            try:
                said = asker.complete([{"role": "user", "content": "Reply with: ready"}], {"max_tokens": 4})
            finally:
                asker.close()
            dataclasses.replace(package, reported=said.model).write()
            record = {
                "history": [{"epoch": 1, "train_loss": None, "validation_loss": None, "validation_metrics": {}}],
                "best_epoch": 1,
                "seconds": time.perf_counter() - started,
                "ended": "nothing is trained",
                "unit": "prompt",
                "world_size": 1,
                "environment": {},
                "prompt": prompt.digest,
                "asked": package.model,
                "reported": said.model,
                "passages": count,
            }
            spec = {"kind": "variables", "names": list(prompt.variables)}
            made = PromptsTrained(State(job.dataset.objective, [], spec), record, into)
            made.save(tmp)
        return self.load(job.out)

    def load(self, root: Path) -> PromptsTrained:
        """See `Learner.load`."""
        root = Path(root)
        try:
            found = PromptsTrained(State.load(root), files.read_json(root / HISTORY), root / _PACKAGE)
        except (OSError, ValueError) as e:
            raise DataError(f"cannot be read as a prompt: {e}", field=str(root), fix="run the step again") from e
        found.root = root
        return found


class PromptsTrained(Trained):
    """``package/`` with what goes into the package, ``state.json``, ``training.json``."""

    def __init__(self, state: State, record: dict[str, Any], package: Path):
        self.state, self.record, self._package = state, record, package
        passages = f", {record['passages']:,} passages" if record["passages"] else ""
        self.text = f"prompt {record['prompt'][:12]}{passages}; {record['asked']} is answered by {record['reported'] or 'a model that does not say its name'}"

    def shipped(self) -> Shipped:
        """The prompt, its endpoint and its index."""
        listed = {p.relative_to(self._package).as_posix(): p.read_bytes() for p in sorted(self._package.rglob("*")) if p.is_file()}
        told = {"prompt": self.record["prompt"], "model": {"asked": self.record["asked"], "reported": self.record["reported"]}}
        return Shipped(PRECISION, EngineSpec(ENGINE), listed, told, self.text)

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The endpoint's answers."""
        from sluice.llm.engine import Prompted

        return Prompted.open(self._package / "prompt.json").run(inputs)["answer"]

    def graph(self, opset: int) -> onnx.ModelProto:
        """Raises `SluiceError`: a prompt is no graph."""
        raise SluiceError("a prompt is no graph", field="export", fix="it is packaged as it is")

    def save(self, root: Path) -> None:
        """The state and the record; the package's files lie there already."""
        self.state.save(root)
        files.write_json(root / HISTORY, self.record)
