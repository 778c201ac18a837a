"""The task: a declaration of what is learnt from which columns, and who learns it. Nothing heavy is imported for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import DataError, ProjectError
from sluice.core.registry import Registry
from sluice.core.section import Section
from sluice.learners.base import LEARNERS, Learner
from sluice.learners.state import State
from sluice.problems.problem import DEFAULT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from sluice.data.look import ColumnLook
    from sluice.data.timestamps import Times
    from sluice.fields.field import Field
    from sluice.llm.items import Items
    from sluice.problems.problem import Problem
    from sluice.project import Project

__all__ = ["State", "Task", "settings"]


#: Every task there is by name. Of those whose rows fit a file, `sluice init --data` takes the first.
TASKS = Registry(
    "task",
    {
        "tabular": "sluice.tasks.tabular:TabularTask",
        "text": "sluice.tasks.text:TextTask",
        "tagging": "sluice.tasks.tagging:TaggingTask",
        "similarity": "sluice.tasks.similarity:SimilarityTask",
        "image": "sluice.tasks.image:ImageTask",
        "audio": "sluice.tasks.audio:AudioTask",
        "transcribe": "sluice.tasks.transcribe:TranscribeTask",
        "anomaly": "sluice.tasks.anomaly:AnomalyTask",
        "forecast": "sluice.tasks.forecast:ForecastTask",
        "policy": "sluice.tasks.policy:PolicyTask",
        "bandit": "sluice.tasks.bandit:BanditTask",
        "recommend": "sluice.tasks.recommend:RecommendTask",
        "generate": "sluice.tasks.generate:GenerateTask",
        "llm": "sluice.tasks.llm:LlmTask",
    },
)


class Task(ABC):
    """What a project learns: its columns, its kind of answer, its settings, and the learner.

    A task of your own derives from this class or, to bring a network in the same class, from
    `sluice.learners.torch.task.TorchTask`; it sets `name` and `Model` (a `Section` that checks ``model:`` of the
    project file), and is named in ``task:`` as ``module:Class``.

    Args:
        project: the project; `project.model` is an instance of `Model`.
        base_dir: where relative paths in the project file start; null: the working directory.
    """

    name: ClassVar[str]
    #: The kind of field that a row is alone; None: rows are records of columns.
    value: ClassVar[str | None] = None
    #: The problems its rows may be of, where that does not depend on a setting; None: nobody knows before the rows are read.
    problems: ClassVar[tuple[str, ...] | None] = None
    #: Whether rows are learnt from. Where not, all of them are held out, and are the reference of drift as well.
    learns: ClassVar[bool] = True
    #: Whether the source has a column of labels (``data.columns.label``); else `canonical` makes them.
    labelled: ClassVar[bool] = True
    #: Whether ``sluice init --data`` may take it by what the columns hold; others are asked for by name.
    assumed: ClassVar[bool] = False
    #: Whether records may hold columns of free text.
    texts: ClassVar[bool] = False
    #: Whether its answers are billed: a rollout then compares what they cost, unless the project says otherwise.
    billed: ClassVar[bool] = False
    #: Whether a source may do without that column.
    label_optional: ClassVar[bool] = False
    #: Whether that column has to hold numbers.
    label_number: ClassVar[bool] = False
    #: Whether its rows are the source's, one to one, each column of which can be read by itself: then sources of any size are read in pieces;
    #: of a task with a `value` those whose rows are files, stored as they are; it says so itself, since what inherits from it may make other rows.
    streams: ClassVar[bool] = False
    Model: ClassVar[type[Section]]

    def __init__(self, project: Project, base_dir: Path | None = None):
        self.project = project
        self.base_dir = base_dir or Path()

    # --- the data side: pyarrow only ---

    @abstractmethod
    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The features of a source's table and their kind: ``text``, ``image``, ``numeric``, ``categorical`` or ``timestamp``.

        Raises:
            DataError: a column is missing or of a type the task cannot read.
        """

    def objective(self, table: pa.Table) -> str:
        """The name of its problem; default: that of labels."""
        return DEFAULT

    @abstractmethod
    def canonical(self, table: pa.Table) -> pa.Table:
        """The source's table under the dataset's column names and types, `label` among them.

        Raises:
            DataError: as `kinds`.
        """

    @classmethod
    def label_in(cls, columns: Sequence[ColumnLook]) -> str | None:
        """Of a file's columns the label, where its name or its values say so to this task alone. Default: nobody knows."""
        return None

    @classmethod
    def called(cls, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What `sluice init --data` writes of a file's columns by what they are called: sections of the project file. Default: nothing.

        Args:
            names: of the columns, in the file's order.
        """
        return {}

    @classmethod
    def of_labels(cls, counts: Mapping[str, int], validation: float) -> dict[str, dict[str, Any]]:
        """What `sluice init --data` writes where labels are rare by nature: sections of the project file. Default: nothing.

        Args:
            counts: label -> rows.
            validation: the share of the rows that validate.
        """
        return {}

    @classmethod
    def mended(cls, raw: dict[str, Any], error: Exception) -> str | None:
        """For a task that makes its labels itself: adds to a project that `sluice init --data` writes what its rows need to be read. Default: nothing.

        Args:
            raw: the project file, which is changed.
            error: why its rows cannot be used.

        Returns:
            What was added, in a sentence; null where nothing helps.
        """
        return None

    @classmethod
    def known_as(cls, path: Path) -> DataError | None:
        """What `sluice init --data` says of a file or folder that is known by its form, and read by this task in another. Default: nothing.

        Returns:
            What it is, and the command that converts it.
        """
        return None

    @classmethod
    def items(cls, path: Path, label: str | None = None, *, sure: bool = False) -> Items | None:
        """A prompt's items in a file, of which `sluice init --data` writes a project with a prompt and a golden set. Default: none.

        Args:
            path: the file. label: the answer's column; null: found. sure: only where it can hardly be anything else.

        Raises:
            DataError: it cannot be read.
        """
        return None

    def shown(self) -> dict[str, list[str]]:
        """What `sluice init --data` writes under ``model:`` since rows that are learnt nothing from show it: those after the last label. Default: nothing."""
        return {}

    def times(self, table: pa.Table) -> dict[str, Times]:
        """How the features of kind ``timestamp`` are written in a source's table. Default: there is none."""
        return {}

    def reading(self, times: Mapping[str, Times]) -> Task:
        """The same task, for a table whose times are written like another's. Default: itself."""
        return self

    def settled_for(self, kinds: Mapping[str, str], times: Mapping[str, Times], objective: str) -> Task:
        """The same task with nothing to find out, for pieces of a table of which this was found out. Default: itself.

        Args:
            kinds, times, objective: of the whole table.
        """
        return self

    def sides(self, table: pa.Table) -> np.ndarray | None:
        """For a task that divides its rows by itself: of each row of `canonical` the index of its part in `SPLITS`, int8 [rows]. Default: ``data.split`` does."""
        return None

    def keys(self, table: pa.Table, by: str) -> pa.ChunkedArray | None:
        """What keeps the rows of `canonical` apart, a key a row, for a task that makes rows of its own of a source's. Default: None, ``data.split.column`` does.

        Args:
            table: the source's.
            by: of ``data.split``: for ``time`` times or numbers, else groups (strings).

        Raises:
            DataError: there is nothing to split so by.
        """
        return None

    def found(self, table: pa.Table) -> dict[str, Any]:
        """What it found out of a source's table, plain JSON: it goes with the dataset (`Dataset.found`). Default: nothing."""
        return {}

    def notes(self, table: pa.Table) -> list[str]:
        """What a person should know of how it read a source's table, in sentences, for the report of its checks. Default: nothing."""
        return []

    def fields(self, table: pa.Table) -> dict[str, Field]:
        """`kinds` as objects, by name. Raises as `kinds`."""
        from sluice.fields.field import fields_of

        return fields_of(self.kinds(table))

    def problem(self, table: pa.Table) -> Problem:
        """`objective` as an object: what an answer is and how it is judged."""
        from sluice.problems.problem import problem

        return problem(self.objective(table), beside=self.base_dir)

    # --- who learns it ---

    @classmethod
    def section(cls, raw: Mapping[str, Any], beside: Path | None = None) -> type[Section]:
        """The class that checks such a ``model:``, whose keys are not checked yet. Default: `Model`.

        Args:
            raw: as it was written.
            beside: the project file's folder, where what it names may lie.

        Raises:
            ProjectError: it names what is not there.
        """
        return cls.Model

    @classmethod
    def settled(cls, project: Mapping[str, Any]) -> Any:
        """``model:`` of a project as it was written, with what it leaves open filled in: who learns it where nothing says so. Default: as it was written.

        Args:
            project: the whole of it; its keys are not checked yet.
        """
        return project.get("model") or {}

    @classmethod
    def sections(cls) -> tuple[str, Mapping[str, type[Section]]]:
        """The key of ``model:`` by whose value another class than `Model` checks it, and these by the value. Default: no key."""
        return "", {}

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """The learner's name in `LEARNERS`, or ``module:Class``, for a checked ``model:``."""
        return "torch"

    @classmethod
    def proposal(cls, problem: Problem, rows: int, texts: bool = False) -> tuple[dict[str, Any], str]:
        """What `sluice init` writes as ``model:`` for rows of such a problem, and says beside it. Default: nothing of either.

        Args:
            problem: of the label.
            rows: how many there are.
            texts: whether there are columns of free text among others.
        """
        return {}, ""

    def learner(self) -> Learner:
        """Who learns this task, with the project's settings. Raises `ProjectError`: there is none of that name."""
        kind: type[Learner] = LEARNERS.get(self.learnt_by(self.project.model), beside=self.base_dir)
        return kind(self)

    def resolve(self, path: str) -> Path:
        """A path of the project file, which may be relative to it."""
        return (self.base_dir / Path(path).expanduser()).resolve()


def settings(task: Task, kind: type[Section]) -> Any:
    """The project's `model` section as the class the task checks it with.

    Raises:
        ProjectError: it was not parsed with that class.
    """
    model = task.project.model
    if isinstance(model, kind):
        return model
    if isinstance(model, dict):
        return kind.model_validate(model)
    raise ProjectError(f"is not a {kind.__name__}", field="model", value=model, fix="read the project with sluice.project.load or parse")
