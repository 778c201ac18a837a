"""`sluice finetune PROJECT`: a small causal model learns to answer as items of a prompt do, by the torch learner."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from sluice import project as projects
from sluice.cli import show_json
from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.core.home import Home
from sluice.data.splits import SPLITS
from sluice.llm.items import key_of
from sluice.tasks.finetune import FinetuneModel, FinetuneTask, values_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from sluice.learners.base import Event
    from sluice.learners.torch.learner import TorchTrained
    from sluice.project import Project

_TASK = "sluice.tasks.finetune:FinetuneTask"
#: What an override may begin with; others are of `train:`.
_SECTIONS = ("data", "model", "train")
#: Share of the items that choose the epoch, where nothing is said.
_HELD = 0.1


def finetune(args: argparse.Namespace) -> int:
    """0 when it is done; whether the model is better `sluice run` says."""
    project = projects.load(args.project)
    if project.task != "llm":
        raise ProjectError("is not tuned by adapters", field="task", value=project.task, fix="name a project of task llm")
    _free(args.out)
    tuning, held = _tuning(project, args)
    task = _Items(tuning, project.base_dir or Path(), held)
    _not_judged(project, task)
    home = Home(args.home).root / "finetune"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as work:
        try:
            trained = _trained(task, Path(work), home / "checkpoints")
        except SluiceError as e:
            raise _as_asked(e, args) from e
        from sluice.learners.torch.causal import written

        told = written.write(task, trained.module, trained.state, trained.record, args.out)
    if args.json:
        show_json({**told, "out": str(args.out), "exit_code": 0})
        return 0
    first, best = told["history"][0]["loss"], min(h["loss"] for h in told["history"])
    print(f"{told['trained']:,} of {told['parameters']:,} weights tuned on {told['rows']['learnt']} items: loss {first:.4f} -> {best:.4f}")
    print(f"{args.out}/adapter, {args.out}/model (merged, {told['digest'][:12]})")
    print(f"serve {args.out}/model by any OpenAI-compatible server (transformers serve, vLLM, KServe's Hugging Face runtime), then:")
    print(f"  SLUICE_LLM_URL=http://HOST:PORT/v1 sluice run {args.project} --set model.endpoint.model=NAME")
    return 0


class _Items(FinetuneTask):
    """The task, whose items are divided into those learnt from and those that choose the epoch; the golden set judges.

    Args:
        held: share of the different items that choose the epoch.
    """

    def __init__(self, project: Project, base_dir: Path, held: float):
        super().__init__(project, base_dir)
        self._held = held

    def sides(self, table: pa.Table) -> np.ndarray:
        """By digest: equal items are on one side."""
        import numpy as np

        seed = self.project.train.seed
        keys = [
            hashlib.sha256(orjson.dumps([seed, row], option=orjson.OPT_SORT_KEYS)).hexdigest() for row in self.canonical(table).to_pylist()
        ]
        different = sorted(set(keys))
        held = set(different[: min(math.ceil(len(different) * self._held), len(different) - 1)])
        return np.array([SPLITS.index("validation" if key in held else "train") for key in keys], dtype=np.int8)


def _free(out: Path) -> None:
    if out.exists():
        raise ProjectError("is there already", field="--out", value=str(out), fix="name another folder, or remove it")


def _tuning(project: Project, args: argparse.Namespace) -> tuple[Project, float]:
    """The project of the tuning, and the share of the items that choose the epoch. Raises `ProjectError`: a setting that is not right."""
    raw: dict[str, Any] = {
        "name": project.name,
        "task": _TASK,
        "data": {**project.data.model_dump(mode="json", exclude_defaults=True), "source": str(args.data.absolute()), "test": None},
        "model": {"pretrained": str(args.base.absolute()), "prompt": project.model.prompt},
    }
    held: dict[str, Any] = {}
    for item in args.overrides:
        name = item.partition("=")[0].strip()
        if name == "validation":
            projects.override(held, item)
        else:
            section = "model." if name in FinetuneModel.model_fields else "" if name.partition(".")[0] in _SECTIONS else "train."
            projects.override(raw, f"{section}{item}")
    share = held.get("validation", _HELD)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share < 0.5:
        raise ProjectError("is no share from 0 to 0.5", field="--set validation", value=share, fix="for example --set validation=0.1")
    return projects.parse(raw, where="finetune", base_dir=project.base_dir), float(share)


def _not_judged(project: Project, task: FinetuneTask) -> None:
    """Raises `DataError`: items to learn from stand in the golden set too."""
    base, prompt = project.base_dir or Path(), task.prompt()
    golden = {_key(row, prompt) for row in _rows(str(project.data.source), project, base)}
    if both := {_key(row, prompt) for row in _rows(str(task.project.data.source), project, base)} & golden:
        raise DataError(
            f"{len(both)} of its items stand in the golden set too: the model would be judged on what it learnt",
            field="--data",
            value=orjson.loads(sorted(both)[0]),
            fix="take them out of one of the two",
        )


def _trained(task: FinetuneTask, work: Path, checkpoints: Path) -> TorchTrained:
    """Through the torch learner: one that was interrupted goes on from its last checkpoint."""
    from sluice.data.prepare import prepare
    from sluice.learners.base import Job

    dataset = prepare(task.project, task.base_dir, task, work / "data")
    return cast("TorchTrained", task.learner().fit(Job(dataset, work / "trained", _say, checkpoints)))


def _say(event: Event) -> None:
    """Epochs and what is notable, on stderr."""
    if event["kind"] == "epoch":
        loss = event["validation_loss"] if event["validation_loss"] is not None else event["train_loss"]
        print(f"epoch {event['epoch']} of {event['epochs']}: loss {loss:.4f}", file=sys.stderr)
    elif event["kind"] in ("note", "warning"):
        print(event["text"], file=sys.stderr)


def _as_asked(error: SluiceError, args: argparse.Namespace) -> SluiceError:
    """The same error under the names of this command."""
    names = {"model.pretrained": "--base", "data.source": "--data"}
    field = error.field or ""
    for setting, name in names.items():
        if field.startswith(setting):
            return type(error)(
                error.message, field=field.replace(setting, name, 1), fix=error.fix, **({"value": error.value} if error.has_value else {})
            )
    return error


def _rows(uri: str, project: Project, base: Path) -> list[dict[str, Any]]:
    from sluice.data.sources import load_source

    rows: list[dict[str, Any]] = load_source(uri, project.data.format, base, None, project.data.columns).to_pylist()
    return rows


def _key(row: dict[str, Any], prompt: Any) -> bytes:
    """An item by its variables, whatever the case and the white space of its texts."""
    return key_of(values_of(row, prompt))
