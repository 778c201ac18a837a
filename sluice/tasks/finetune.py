"""Tuning of a small causal language model: rows are a prompt's items, whose answers it learns through low-rank adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from sluice.core.errors import DataError, InputError, ProjectError
from sluice.core.section import Names, Section
from sluice.tasks.base import Task, settings

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.llm.prompt import Prompt


class FinetuneModel(Section):
    """Adapters of a causal model (LoRA: Hu et al., ICLR 2022): the base's own weights stay."""

    pretrained: Annotated[str, Names("model")] = Field(description="the base: a folder as transformers has it, a .gguf file, or a hub id")
    prompt: Annotated[str, Names("file")] = Field("prompt.yaml", description="the prompt's file, which makes the messages")
    rank: int = Field(8, ge=1, le=256, description="of each adapter")
    alpha: int = Field(16, ge=1, le=1024, description="adapters are scaled by alpha / rank")
    max_length: int = Field(
        512, ge=16, le=8192, description="tokens of an item; longer ones are refused, since a cut answer teaches a cut one"
    )


class FinetuneTask(Task):
    """Rows are a prompt's variables and the answer wanted (``data.columns.label``)."""

    name: ClassVar[str] = "finetune"
    Model = FinetuneModel
    network: ClassVar[str] = "sluice.learners.torch.causal.network:CausalNetwork"

    def prompt(self) -> Prompt:
        """The project's. Raises `ProjectError`: it is filled with passages, which items to learn from have not."""
        from sluice.llm.prompt import Prompt

        found = Prompt.load(self.resolve(settings(self, FinetuneModel).prompt))
        if found.retrieves:
            raise ProjectError(
                "is filled with passages, and items to learn from have none", field="model.prompt", fix="tune a prompt without retrieval"
            )
        return found

    def objective(self, table: pa.Table) -> str:
        """That of answers judged by their loss."""
        from sluice.problems.likelihood import Likelihood

        return Likelihood.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The messages as JSON, and the answer: its tokens are learnt from the ones before them."""
        return {"messages": "text", "answer": "text"}

    def canonical(self, table: pa.Table) -> pa.Table:
        """Messages as the prompt makes them, the answer, and the answer again as the label. Raises `DataError`: an item that cannot be asked."""
        import orjson
        import pyarrow as pa

        from sluice.tasks import columns

        prompt, name = self.prompt(), self.project.data.columns.label
        answers = columns.column(table, name, "data.columns.label")
        if not (pa.types.is_string(answers.type) or pa.types.is_null(answers.type)):
            answers = columns.to_string(answers, name, "label")
        said = [a if a and a.strip() else None for a in answers.to_pylist()]
        asked = [orjson.dumps(_messages(prompt, row, f"data.source: item {i}")).decode() for i, row in enumerate(table.to_pylist(), 1)]
        texts = pa.array(said, pa.string())
        return pa.table({"messages": pa.array(asked, pa.string()), "answer": texts, "label": texts})


def values_of(row: Mapping[str, Any], prompt: Prompt) -> dict[str, Any]:
    """The prompt's variables of an item; one that is null is left out."""
    return {n: row[n] for n in prompt.variables if row.get(n) is not None}


def _messages(prompt: Prompt, row: Mapping[str, Any], where: str) -> Any:
    try:
        return prompt.messages(prompt.read(values_of(row, prompt), where), None)
    except InputError as e:
        raise DataError(e.message, field=e.field or where, fix=e.fix, **({"value": e.value} if e.has_value else {})) from e
