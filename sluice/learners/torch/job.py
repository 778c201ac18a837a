"""A training job on disk: what the processes that train are given, and what they leave."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.core import files
from sluice.learners.torch.mirror import mirror
from sluice.learners.torch.plan import Plan
from sluice.project import Project, parse

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.learners.state import State
    from sluice.learners.torch.network import Network

#: `train:` settings that change where, how long or how safely a run goes, but not what it computes.
NOT_THE_MODEL = frozenset(
    {
        "checkpoint",
        "restarts",
        "hang_seconds",
        "processes",
        "nodes",
        "threads",
        "workers",
        "device",
        "parallel",
        "launcher",
        "metrics_port",
        "folds",
        "fold_groups",
    }
)

#: Folder of a job's encoded rows, a folder a split.
ENCODED = "encoded"
#: Folders of the library whose code makes the weights.
_MAKES_WEIGHTS = ("learners", "tasks", "fields")


@dataclasses.dataclass(frozen=True)
class TorchJob:
    """Paths and settings of a job, the same for all its processes.

    Attributes:
        root: its directory; ``encoded/``, ``state/``, ``result/``, ``errors/`` and ``train.log`` lie in it.
        project: the project's settings.
        plan: its `train:` with nothing left open.
        base_dir: where relative paths in them start.
        data: the dataset's digest.
        checkpoints: where its checkpoints are kept.
        key: digest of all that makes the weights but for the number of processes: only checkpoints of the same key are resumed.
        world_size: processes, over all nodes.
    """

    root: Path
    project: Project
    plan: Plan
    base_dir: Path
    data: str
    checkpoints: Path
    key: str
    world_size: int

    @property
    def state(self) -> Path:
        """Folder of what was fitted before the network."""
        return self.root / "state"

    @property
    def result(self) -> Path:
        """Folder of the trained model; there once it is whole."""
        return self.root / "result"

    @property
    def errors(self) -> Path:
        """Folder in which processes leave why they failed."""
        return self.root / "errors"

    @property
    def log(self) -> Path:
        """What the processes print."""
        return self.root / "train.log"

    @property
    def stop(self) -> Path:
        """A file that is there once a process was told to end: word for the first of them."""
        return self.root / "stop"

    def encoded(self, split: str) -> Path:
        """Folder of a split's encoded rows."""
        return self.root / ENCODED / split

    def forget_checkpoints(self, warn: Callable[[str], None]) -> None:
        """Delete the job's checkpoints, here and in the store: the model they were for is written."""
        name = self.key[:16]
        shutil.rmtree(self.checkpoints / name, ignore_errors=True)
        if there := mirror(self.project.train.checkpoint.store, name, warn):
            there.keep(set())

    def save(self) -> Path:
        """Write ``job.json``; returns its path."""
        where = self.root / "job.json"
        files.write_json(
            where,
            {
                "project": self.project.model_dump(mode="json"),
                "plan": self.plan.model_dump(mode="json"),
                "base_dir": str(self.base_dir),
                "data": self.data,
                "checkpoints": str(self.checkpoints),
                "key": self.key,
                "world_size": self.world_size,
                "path": [p for p in sys.path if p],
            },
        )
        return where

    @classmethod
    def load(cls, where: Path) -> TorchJob:
        """Read ``job.json``; the import path of who wrote it is taken over, for tasks of the user's own."""
        raw = files.read_json(where)
        sys.path.extend(p for p in raw["path"] if p not in sys.path)
        base = Path(raw["base_dir"])
        return cls(
            root=where.parent,
            project=parse(raw["project"], base_dir=base),
            plan=Plan.model_validate(raw["plan"]),
            base_dir=base,
            data=raw["data"],
            checkpoints=Path(raw["checkpoints"]),
            key=raw["key"],
            world_size=raw["world_size"],
        )


def key_of(project: Project, plan: Plan, dataset: Dataset, network: Network, state: State) -> str:
    """sha256 of all that makes the weights: the model's and the loop's settings, the data, what was fitted, the task's code and the library's."""
    train = plan.model_dump(mode="json", exclude=set(NOT_THE_MODEL))
    sources = {type(network.task), type(network)}
    return files.digest_of(
        {
            "task": project.task,
            "model": project.model.model_dump(mode="json"),
            "train": train,
            "data": dataset.digest,
            "state": {"preprocess": state.preprocess, "extra": state.extra, "labels": state.labels, "files": digests(state.files)},
            "code": sorted({files.sha256_file(Path(source)) for kind in sources if (source := inspect.getsourcefile(kind))}),
            "library": library_code(),
        }
    )


@functools.cache
def library_code() -> str:
    """sha256 of the library's own code that makes weights: of another version's checkpoints nobody knows what they would have become."""
    import sluice

    root = Path(sluice.__file__).parent
    found = sorted(p for folder in _MAKES_WEIGHTS for p in (root / folder).rglob("*.py"))
    return files.digest_of({p.relative_to(root).as_posix(): files.sha256_file(p) for p in found})


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    """name -> sha256 (hex) of some files' bytes."""
    import hashlib

    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}


def read_errors(root: Path) -> list[dict[str, Any]]:
    """What failed processes wrote below ``errors/``, the earliest first."""
    found = []
    for path in root.glob("rank-*.json"):
        try:
            found.append(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda e: float(e["time"]))


def causes(root: Path) -> list[dict[str, Any]]:
    """`read_errors` without those of processes that only lost a neighbour."""
    return [e for e in read_errors(root) if not e["lost_peer"]]


def forget_errors(root: Path) -> None:
    """Before another attempt."""
    for path in root.glob("rank-*.json"):
        path.unlink()
    (root.parent / "stop").unlink(missing_ok=True)
