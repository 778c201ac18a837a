"""Forecasts by the better of a network and boosted trees, as the validation times say."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core import files
from sluice.learners.base import HISTORY, Job, Trained
from sluice.learners.forecasts.learner import TreesLearner
from sluice.learners.torch.learner import TorchLearner

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.learners.base import Learner

#: What they are compared by.
_BY = "pinball"


class AutoForecasts(TorchLearner):
    """Both are learnt, one after the other; the one with the smaller pinball loss of the validation forecasts is kept. ``train:`` is the network's."""

    name: ClassVar[str] = "forecast_auto"
    nodes, folds = False, False
    libraries: tuple[str, ...] = TreesLearner.libraries
    ahead: ClassVar[Mapping[str, tuple[str, ...]]] = TorchLearner.ahead

    def fit(self, job: Job) -> Trained:  # type: ignore[override]
        """See `Learner.fit`; without validation rows the network is kept."""
        work = job.out.with_name(f"{files.PARTIAL}{job.out.name}.tried-{secrets.token_hex(4)}")
        work.mkdir(parents=True)
        try:
            made: dict[str, Trained] = {"network": super().fit(dataclasses.replace(job, out=work / "network"))}
            tried: dict[str, float] = {}
            if job.dataset.manifest["splits"].get("validation", {}).get("rows"):
                made["boosted"] = self._trees.fit(dataclasses.replace(job, out=work / "boosted", checkpoints=None))
                tried = {name: _loss(model, job.dataset) for name, model in made.items()}
            kept = min(tried, key=lambda name: tried[name]) if tried else "network"
            said = ", ".join(f"{name} {loss:.4f}" for name, loss in tried.items()) or "no validation rows"
            job.on_event({"kind": "note", "text": f"kept: {kept} (pinball loss of the validation forecasts: {said})"})
            record: dict[str, Any] = files.read_json(work / kept / HISTORY)
            with files.new_dir(job.out) as out:
                shutil.copytree(work / kept, out, dirs_exist_ok=True)
                files.write_json(out / HISTORY, {**record, "kept": kept, "tried": tried})
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return self.load(job.out)

    def load(self, root: Path) -> Trained:  # type: ignore[override]
        """See `Learner.load`: whichever was kept."""
        from sluice.learners.forecasts.trained import STRETCH

        return self._trees.load(root) if (Path(root) / STRETCH).exists() else super().load(root)

    @property
    def _trees(self) -> Learner:
        return TreesLearner(self.task)


def _loss(trained: Trained, dataset: Dataset) -> float:
    """Of the validation forecasts."""
    from sluice.learners.answers import split_answers

    asked, labels = dataset.problem, trained.state.labels
    targets = asked.targets(dataset.read("validation", ["label"]).column("label"), labels)
    return float(asked.metrics()[_BY].value(asked.answers(split_answers(trained, dataset, "validation"), targets, labels)))
