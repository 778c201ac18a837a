"""Prompts: an endpoint's model asked with a template, judged on a golden set. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from sluice.core.errors import DataError, InputError, ProjectError
from sluice.core.section import Names, Section
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig, RetrievalConfig
from sluice.tasks.base import Task

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from sluice.llm.items import Items
    from sluice.llm.prompt import Prompt
    from sluice.problems.problem import Problem


class LlmModel(Section):
    """The prompt, who answers it, and by what answers are judged."""

    prompt: str = Field("prompt.yaml", description="the prompt's file, beside sluice.yaml")
    endpoint: EndpointConfig
    budget: BudgetConfig = BudgetConfig()
    price: PriceConfig = PriceConfig()
    retrieval: RetrievalConfig | None = None
    scorers: dict[str, dict[str, Any] | None] = Field(
        {"exact": {}}, min_length=1, description="by what an answer is scored; the first one decides unless some say `decides`"
    )
    samples: int = Field(1, ge=1, le=50, description="answers asked for each item; an item's score is their mean")
    failures: float = Field(0.02, ge=0, lt=1, description="share of answers that may not come at all, after retries")
    tests: str | None = Field(None, description="file of prompt tests, beside sluice.yaml: cases and properties that must hold")
    columns: Annotated[list[str], Names("held")] = Field([], description="further columns of the golden set that scorers read")

    def meets(self, kinds: Mapping[str, str], asked: Problem, labels: Sequence[str], folder: Path) -> None:
        """See `Section.meets`: scorers and tests can be read, and what scorers read is there."""
        from sluice.llm.scorers.base import scorers_of

        needed = {c for _, s in scorers_of(self.scorers, folder) for c in s.columns()}
        if missing := sorted(needed - set(self.columns) - set(kinds)):
            raise ProjectError(
                "is read by a scorer", field="model.columns", value=missing[0], fix=f"columns: [{', '.join(sorted(needed))}]"
            )
        if self.tests is not None:
            from sluice.llm.cases import read_cases

            read_cases(folder / self.tests)


class LlmTask(Task):
    """Rows are items of a golden set: the prompt's variables and the expected answer."""

    name: ClassVar[str] = "llm"
    learns: ClassVar[bool] = False
    label_optional: ClassVar[bool] = True
    billed: ClassVar[bool] = True
    Model = LlmModel
    starter: ClassVar[str | None] = "llm"

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """By nobody: it is checked and packaged."""
        return "prompts"

    @classmethod
    def items(cls, path: Path, label: str | None = None, *, sure: bool = False) -> Items | None:
        """See `Task.items`."""
        from sluice.llm.items import items_of

        return items_of(path, label, sure=sure)

    def prompt(self) -> Prompt:
        """The project's. Raises `ProjectError`, `MissingExtra`."""
        from sluice.llm.prompt import Prompt

        model = self.project.model
        found = Prompt.load(self.resolve(model.prompt))
        if found.retrieves != (model.retrieval is not None):
            said = "asks for passages, and nothing finds them" if found.retrieves else "has no place for passages"
            fix = (
                "name model.retrieval.folder"
                if found.retrieves
                else "write {{ passages | join('\\n') }} into the template, or remove model.retrieval"
            )
            raise ProjectError(said, field=f"{model.prompt}: user", fix=fix)
        return found

    def objective(self, table: pa.Table) -> str:
        """Judged by scores of items."""
        from sluice.problems.prompted import Prompted

        return Prompted.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The variables that the golden set has. Raises `DataError`: it lacks one that is required."""
        found = {}
        for name, variable in self.prompt().variables.items():
            if name in table.column_names:
                whole = variable.type == "string" and not table.column(name).null_count
                found[name] = "text" if whole else "numeric" if variable.type == "number" else "variable"
            elif variable.required and variable.default is None:
                fix = f"give each item {name}, or the variable a default; columns: {', '.join(table.column_names[:20])}"
                raise DataError("the golden set has no such variable", field="data.source", value=name, fix=fix)
        if not found:
            raise DataError(
                "holds none of the prompt's variables",
                field="data.source",
                value=table.column_names,
                fix=f"name {', '.join(self.prompt().variables)}",
            )
        return found

    def canonical(self, table: pa.Table) -> pa.Table:
        """The variables, and as the label the expected answer, "" where an item has none. Raises `DataError`: no texts."""
        import pyarrow as pa
        import pyarrow.compute as pc

        name = self.project.data.columns.label
        made: dict[str, Any] = {n: table.column(n) for n in self.kinds(table)}
        self._checked(made)
        label = table.column(name) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        if pa.types.is_nested(label.type) or pa.types.is_binary(label.type):
            raise DataError(
                "is no text", field=f"data.columns.label: {name}", value=str(label.type), fix="write the expected answer as a text"
            )
        made["label"] = pc.fill_null(label.cast(pa.string()), pa.scalar(""))
        return pa.table(made)

    def _checked(self, columns: Mapping[str, pa.ChunkedArray]) -> None:
        """Every item can be asked. Raises `DataError`: the first that cannot, by its number."""
        prompt = self.prompt()
        for i, row in enumerate(zip(*(c.to_pylist() for c in columns.values()), strict=True), 1):
            try:
                prompt.read({n: v for n, v in zip(columns, row, strict=True) if v is not None}, f"item {i}")
            except InputError as e:
                raise DataError(e.message, field=f"data.source: {e.field}", fix=e.fix, **({"value": e.value} if e.has_value else {})) from e

    def sides(self, table: pa.Table) -> np.ndarray:
        """All are held out."""
        import numpy as np

        from sluice.data.splits import SPLITS

        return np.full(table.num_rows, SPLITS.index("test"), dtype=np.int8)
