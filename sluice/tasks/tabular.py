"""Tabular classification and regression: numeric and categorical columns and times, missing values welcome."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.learners.estimators.config import MIXED, EstimatorModel, asks_for_more, estimators, load_estimator, model_section
from sluice.tasks.base import Task, settings
from sluice.tasks.config import TabularModel

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.timestamps import Times
    from sluice.problems.problem import Problem
    from sluice.tasks.features import Features

#: Operators of ONNX among which is one that splits a text.
_SPLITS = 20


class TabularTask(Task):
    """Rows are records of numbers, categories, times and, for an estimator, texts."""

    name: ClassVar[str] = "tabular"
    assumed: ClassVar[bool] = True
    texts: ClassVar[bool] = True
    Model: ClassVar[type[Section]] = TabularModel
    starter: ClassVar[str | None] = "tabular"
    network: ClassVar[str] = "sluice.learners.torch.tables.network:TableNetwork"
    detects: ClassVar[bool] = False
    streams: ClassVar[bool] = True
    _read: Features | None = None

    @classmethod
    def section(cls, raw: Mapping[str, Any], beside: Path | None = None) -> type[Section]:
        """An estimator's own where it names one. Raises `ProjectError`: there is none of that name."""
        return model_section(raw, beside, detects=cls.detects) if "estimator" in raw else super().section(raw, beside)

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """An estimator where the section names one; else a network."""
        return "estimators" if isinstance(model, EstimatorModel) else super().learnt_by(model)

    @classmethod
    def settled(cls, project: Mapping[str, Any]) -> Any:
        """`MIXED` learns where nothing that was written is a setting it has not; a class derived from this one with a network of its own has that."""
        model = super().settled(project)
        own = cls.Model is not TabularTask.Model or cls.network != TabularTask.network
        if own or not isinstance(model, Mapping) or "estimator" in model or asks_for_more(MIXED, project):
            return model
        return {"estimator": MIXED, **model}

    @classmethod
    def sections(cls) -> tuple[str, Mapping[str, type[Section]]]:
        """By ``estimator`` each one's own."""
        return "estimator", {name: load_estimator(name).Model for name in estimators(cls.detects)}

    @classmethod
    def proposal(cls, problem: Problem, rows: int, texts: bool = False) -> tuple[dict[str, Any], str]:
        """What learns it without this line too, written down so that a person sees where to name another."""
        others = ", ".join(name for name in estimators() if name != MIXED)
        return {
            "estimator": MIXED
        }, f"boosted trees and a linear model together; or {others}; a network learns by hidden: [64, 64] in its place"

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """Numbers and booleans are numeric, strings categorical unless nearly all of them read as numbers, or as times."""
        return self._features(table).kinds

    def times(self, table: pa.Table) -> dict[str, Times]:
        """How the features of kind ``timestamp`` are written in a source's table."""
        return self._features(table).times

    def reading(self, times: Mapping[str, Times]) -> TabularTask:
        """The same task, for a table whose times are written like another's."""
        wanted = self.project.data.columns
        told = wanted.model_copy(update={"timestamps": {**wanted.timestamps, **{name: t.form for name, t in times.items()}}})
        data = self.project.data.model_copy(update={"columns": told})
        return type(self)(self.project.model_copy(update={"data": data}), self.base_dir)

    def settled_for(self, kinds: Mapping[str, str], times: Mapping[str, Times], objective: str) -> TabularTask:
        """The same task that reads each column as it was found to be."""
        fixed = self.reading(times)
        wanted = fixed.project.data.columns
        told = wanted.model_copy(update={"kinds": dict(kinds), "features": list(kinds)})
        data = fixed.project.data.model_copy(update={"columns": told})
        asked = fixed.project.model
        model = asked.model_copy(update={"objective": objective}) if getattr(asked, "objective", None) == "auto" else asked
        return type(self)(fixed.project.model_copy(update={"data": data, "model": model}), self.base_dir)

    def objective(self, table: pa.Table) -> str:
        """As ``model.objective`` says; on ``auto`` a label of numbers that are not whole, or of many values, is a quantity."""
        from sluice.core.errors import ProjectError
        from sluice.problems.problem import built_in, problem
        from sluice.tasks import columns

        model = self.project.model
        wanted: str = model.objective if isinstance(model, EstimatorModel) else settings(self, TabularModel).objective
        if wanted != "auto":
            found = problem(wanted, beside=self.base_dir)
            if not (found.classes or found.scalar):
                fix = "classification, regression, or a problem of your own that derives from one of these"
                raise ProjectError("is no problem of a table's rows", field="model.objective", value=wanted, fix=fix)
            return found.name
        label = columns.column(table, self.project.data.columns.label, "data.columns.label")
        return built_in(classes=not columns.is_quantity(label)).name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The features in the dataset's types, and the label."""
        import pyarrow as pa

        from sluice.tasks import columns

        features = self._features(table).canonical()
        return pa.table({**features, "label": columns.label(table, self.project.data.columns.label, self.objective(table))})

    def _features(self, table: pa.Table) -> Features:
        """The table's features, looked for once a table."""
        from sluice.tasks.features import Features

        if self._read is None or self._read.table is not table:
            self._read = Features(table, self.project.data.columns, self._estimates_texts)
            self._reads_words(self._read)
        return self._read

    @property
    def _estimates_texts(self) -> bool:
        return self.texts and isinstance(self.project.model, EstimatorModel)

    def _reads_words(self, features: Features) -> None:
        """Raises `ProjectError` where a column is read as words by what cannot: the network, or a graph of older operators."""
        from sluice.fields import fields_of

        texts = [name for name, field in fields_of(features.kinds).items() if field.words]
        if texts and not self._estimates_texts:
            raise ProjectError(
                "are words, which no network of tables reads" if self.texts else "are words, which this task does not read",
                field="data.columns.kinds",
                value={name: features.kinds[name] for name in texts},
                fix=(f"model: {{estimator: {MIXED}}}, or " if self.texts else "") + "list them under data.columns.ignore",
            )
        if texts and self.project.export.opset < _SPLITS:
            raise ProjectError(
                f"has no operator that splits the words of {texts[0]!r}",
                field="export.opset",
                value=self.project.export.opset,
                fix=f"{_SPLITS} or more, or list it under data.columns.ignore",
            )
