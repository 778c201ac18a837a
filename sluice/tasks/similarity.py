"""Similarity of texts: pairs, with a score or as such that mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sluice.core.errors import DataError
from sluice.core.section import Names, Section
from sluice.tasks.base import Task, settings
from sluice.tasks.roles import by_name, roles

if TYPE_CHECKING:
    import pyarrow as pa


class SimilarityModel(Section):
    """Two texts by one encoder: a pre-trained one, or word pieces with a small transformer from scratch."""

    other: Annotated[str, Names("column")] = Field("other", description="the column of the second text")
    pretrained: Annotated[str | None, Names("model")] = Field(None, description="local directory or hub id; null: from scratch")
    max_length: int = Field(64, ge=4, le=8192, description="tokens of one text")
    vocabulary: int = Field(8000, ge=100, description="tokens learnt from the data when from scratch")
    hidden: int = Field(128, ge=8, le=2048, description="parts of the vector when from scratch")
    layers: int = Field(1, ge=0, le=12)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pooling: Literal["mean", "cls"] = Field("mean", description="of a pre-trained encoder")
    scale: float = Field(20, gt=0, le=1000, description="what cosines are multiplied by in the loss")
    freeze_embeddings: bool = False

    @model_validator(mode="after")
    def _heads_divide(self) -> SimilarityModel:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


#: What the two texts of a pair are called, and its score.
_PAIRS = (
    ("text", "other"), ("text1", "text2"), ("texta", "textb"), ("sentence1", "sentence2"), ("sentencea", "sentenceb"), ("sent1", "sent2"),
    ("s1", "s2"), ("question1", "question2"), ("q1", "q2"), ("question", "answer"), ("query", "document"), ("query", "passage"),
    ("anchor", "positive"), ("premise", "hypothesis"), ("source", "target"), ("left", "right"), ("a", "b"),
)  # fmt: skip
_SCORES = ("label", "score", "similarity", "similarityscore", "relatedness", "relatednessscore", "isduplicate", "duplicate", "isparaphrase",
           "paraphrase", "relevance", "match", "same")  # fmt: skip


class SimilarityTask(Task):
    """Rows are pairs of texts with a score; without a column of scores every pair means the same."""

    name: ClassVar[str] = "similarity"
    value = "pair"
    labelled: ClassVar[bool] = False
    Model = SimilarityModel
    starter: ClassVar[str | None] = "similarity"
    network: ClassVar[str] = "sluice.learners.torch.texts.similar:SimilarityNetwork"

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """Both columns as one."""
        self._texts(table, self.project.data.columns.text, "data.columns.text")
        self._texts(table, settings(self, SimilarityModel).other, "model.other")
        return {"pair": "pair"}

    @classmethod
    def called(cls, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The two texts of a pair, and its score where there is one."""
        for first, second in _PAIRS:
            pair = roles(names, {"text": (first,), "other": (second,)})
            if len(pair) == 2:
                score = by_name(names, _SCORES, pair.values())
                return {
                    "data": {"columns": {"text": pair["text"], **({"label": score} if score else {})}},
                    "model": {"other": pair["other"]},
                }
        return {}

    def objective(self, table: pa.Table) -> str:
        """That of vectors whose cosines are judged."""
        from sluice.problems.similarity import Similarity

        return Similarity.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The pairs, null where a text is missing, and their scores, 1 where there is no column of them."""
        import pyarrow as pa

        from sluice.tasks import columns

        other = settings(self, SimilarityModel).other
        sides = zip(
            self._texts(table, self.project.data.columns.text, "data.columns.text"), self._texts(table, other, "model.other"), strict=True
        )
        pairs = [[a, b] if a and b and a.strip() and b.strip() else None for a, b in sides]
        name = self.project.data.columns.label
        if name in table.column_names:
            scores = columns.to_float(columns.column(table, name, "data.columns.label"), name, "data.columns.label")
        elif name != "label":
            columns.column(table, name, "data.columns.label")
        else:
            scores = pa.chunked_array([pa.array([1.0] * len(pairs), pa.float64())])
        return pa.table({"pair": pa.array(pairs, pa.list_(pa.string())), "label": scores})

    def notes(self, table: pa.Table) -> list[str]:
        """Which columns are read, and what is taken for granted where there are no scores."""
        wanted = self.project.data.columns
        read = f"pairs are read as {wanted.text!r} and {settings(self, SimilarityModel).other!r}"
        if wanted.label in table.column_names:
            return [f"{read}, their score as {wanted.label!r}"]
        return [f"{read}; there is no column of scores: every pair is taken to mean the same, and texts of different pairs something else"]

    def _texts(self, table: pa.Table, name: str, setting: str) -> list[Any]:
        import pyarrow as pa

        from sluice.tasks import columns

        values = columns.column(table, name, setting)
        if not (pa.types.is_string(values.type) or pa.types.is_null(values.type)):
            raise DataError(f"is a column of {values.type}, not of texts", field=f"{setting}: {name}", fix="name a column of strings")
        return values.to_pylist()
