"""Anomaly detection in tables: which rows are unlike those that were learnt from; labels help to judge it, and are not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import DataError, ProjectError
from sluice.core.section import Section
from sluice.data.labelnames import LABEL
from sluice.learners.estimators.config import estimators
from sluice.learners.unusual import UnusualModel
from sluice.tasks.config import AutoencoderModel
from sluice.tasks.roles import plain
from sluice.tasks.tabular import TabularTask

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.look import ColumnLook
    from sluice.problems.problem import Problem

#: Words that label columns use, in lower case.
_NORMAL_WORDS = frozenset({"normal", "inlier", "nominal", "regular", "benign", "ok", "good", "no", "n", "false", "0"})
_ANOMALOUS_WORDS = frozenset(
    {"anomaly", "anomalous", "abnormal", "outlier", "unusual", "bad", "fault", "attack", "fraud", "yes", "y", "true", "1"}
)
#: What the columns' names hold that say which rows are anomalies, and words of theirs that mean nothing else.
_CALLED = ("anomal", "outlier", "fraud", "attack", "abnormal", "intrusion", "novelty", "groundtruth")
_TOLD = frozenset({"normal", "inlier", "nominal", "benign", "anomaly", "anomalous", "abnormal", "outlier", "attack", "fraud"})
#: scikit-learn's: -1 is an anomaly, and 1 beside it is none.
_SIGNED = frozenset({"-1", "1"})
#: The column of labels unless the project names another, which then has to be there.
_DEFAULT = "label"
#: Different words of a column that says so, at most.
_CLASSES = 50
#: So many times the fewest validation labels have to be expected: how many there are is chance. And between which shares of rows a threshold is set.
_SURELY, _SHARES = 1.5, (0.001, 0.5)
#: Of rows without labels one reference row is made for so many.
_ROWS_A_REFERENCE = 2


class AnomalyTask(TabularTask):
    """Rows are records of numbers, categories and times, as in `tabular`."""

    name: ClassVar[str] = "anomaly"
    Model: ClassVar[type[Section]] = AutoencoderModel
    starter: ClassVar[str | None] = "anomaly"
    network: ClassVar[str] = "sluice.learners.torch.tables.autoencoder_network:AutoencoderNetwork"
    detects: ClassVar[bool] = True
    assumed: ClassVar[bool] = False
    texts: ClassVar[bool] = False
    label_optional: ClassVar[bool] = True
    streams: ClassVar[bool] = False

    @classmethod
    def proposal(cls, problem: Problem, rows: int, texts: bool = False) -> tuple[dict[str, Any], str]:
        """What labels show to be better, of two that are quick."""
        name = estimators(True)[0]
        return {"estimator": name}, "an isolation forest or the distance from the mean; without this line an autoencoder learns"

    @classmethod
    def label_in(cls, columns: Sequence[ColumnLook]) -> str | None:
        """The one column of a few values that is called as a judgement of rows, or else holds one; two of them are told by nobody."""
        if any(plain(c.name) in LABEL for c in columns):
            return None
        few = [c for c in columns if c.kind in ("number", "category") and 2 <= c.distinct <= (2 if c.kind == "number" else _CLASSES)]
        named = [c.name for c in few if any(word in plain(c.name) for word in _CALLED)]
        held = [c.name for c in few if c.example.strip().lower().rstrip(".") in _TOLD]
        found = named or held
        return found[0] if len(found) == 1 else None

    @classmethod
    def of_labels(cls, counts: Mapping[str, int], validation: float) -> dict[str, dict[str, Any]]:
        """Where the threshold lies: chosen on the validation labels, or where these will be too few, by how rare anomalies are."""
        from sluice.problems.anomaly import ANOMALY, NORMAL
        from sluice.problems.threshold import FEWEST

        anomalies, normal = counts.get(ANOMALY, 0), counts.get(NORMAL, 0)
        if anomalies * validation >= _SURELY * FEWEST:
            return {"evaluate": {"decision": {"aim": "f1"}}}
        if not anomalies or not normal:
            return {}
        least, most = _SHARES
        return {"model": {"contamination": min(most, max(least, float(f"{anomalies / normal:.2g}")))}}

    def objective(self, table: pa.Table) -> str:
        """Whether a row is an anomaly, whatever the label is called."""
        from sluice.problems.anomaly import AnomalyDetection

        return AnomalyDetection.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The features in the dataset's types, and the label as `sluice.problems.anomaly.LABELS`.

        Where there is no column of labels, the rows count as normal, and rows with shuffled columns are put behind them as anomalies to
        judge by: half as many, of which nothing is learnt.
        """
        import pyarrow as pa

        from sluice.data.shuffled import shuffled
        from sluice.problems.anomaly import ANOMALY, NORMAL

        features = pa.table(self._features(table).canonical())
        if self._says(table):
            return features.append_column("label", self._told(table))
        self._check_unlabelled(features)
        reference = shuffled(features, features.num_rows // _ROWS_A_REFERENCE, self.project.data.split.seed)
        if not reference.num_rows:
            raise DataError(
                "has no labels, and rows with shuffled columns are all among its rows: nothing to judge by",
                field="data.columns.label",
                value=self.project.data.columns.label,
                fix="give columns that vary, or a column of labels",
            )
        labels = [NORMAL] * features.num_rows + [ANOMALY] * reference.num_rows
        return pa.concat_tables([features, reference]).append_column("label", pa.array(labels, pa.string()))

    def found(self, table: pa.Table) -> dict[str, Any]:
        """What the rows are judged by, in a sentence."""
        return {"judged_by": self._judged_by(table)}

    def notes(self, table: pa.Table) -> list[str]:
        """The same, for the checks of the data where there are no labels."""
        return [] if self._says(table) else [self._judged_by(table)]

    def _judged_by(self, table: pa.Table) -> str:
        if self._says(table):
            return f"the labels in {self.project.data.columns.label} say which rows are anomalies"
        return (
            "there are no labels: the rows count as normal, and are judged against rows made of them whose columns were shuffled one by one, so "
            "what is measured is whether the model knows what the columns have to do with each other, not whether it finds the anomalies you look for"
        )

    @property
    def labelled(self) -> bool:  # type: ignore[override]
        """Whether the source has to have a column of labels: one that the project names."""
        columns = self.project.data.columns
        return columns.label != _DEFAULT and columns.label not in columns.ignore

    def _says(self, table: pa.Table) -> bool:
        """Whether a source's table says which rows are anomalies."""
        columns = self.project.data.columns
        return self.labelled or (columns.label in table.column_names and columns.label not in columns.ignore)

    @property
    def _model(self) -> UnusualModel:
        model = self.project.model
        assert isinstance(model, UnusualModel)
        return model

    def _check_unlabelled(self, features: pa.Table) -> None:
        """Raises where a setting is of labels, or one column is all there is to shuffle."""
        for name in ("anomalous", "normal"):
            if value := getattr(self._model, name):
                raise ProjectError(
                    f"is of a column of labels, and there is no column {_DEFAULT!r}",
                    field=f"model.{name}",
                    value=value,
                    fix="name the column in data.columns.label, or remove the setting",
                )
        if self._model.rows == "all":
            raise ProjectError(
                "is of labelled rows: without labels all rows are learnt from", field="model.rows", value="all", fix="remove it"
            )
        if features.num_columns < 2:
            raise DataError(
                "has no labels and one column, which shuffling does not change: nothing to judge by",
                field="data.columns",
                value=features.column_names,
                fix="give a column of labels, or more columns",
            )

    def _told(self, table: pa.Table) -> pa.ChunkedArray:
        """The column of labels in the two words of the problem. Raises `DataError`: a value that is neither, or one of them only."""
        import pyarrow as pa

        from sluice.data.spellings import each_value
        from sluice.problems.anomaly import ANOMALY, NORMAL
        from sluice.tasks import columns

        name = self.project.data.columns.label
        found = columns.to_string(columns.column(table, name, "data.columns.label"), name, "label")
        counts = {str(c["values"]): int(c["counts"]) for c in found.drop_null().value_counts().to_pylist()}
        means = {value: self._means(value, counts) for value in counts}
        for value, meant in means.items():
            if meant is None:
                seen = ", ".join(f"{v!r} ({n:,} rows)" for v, n in sorted(counts.items(), key=lambda c: -c[1])[:10])
                raise DataError(
                    "says neither that a row is normal nor that it is an anomaly",
                    field=f"label {name}",
                    value=value,
                    fix=f"say which values are anomalies: model: {{anomalous: [{value}]}}; there are {seen}",
                )
        self._check_both(set(means.values()), counts)
        words = {value: ANOMALY if meant else NORMAL for value, meant in means.items()}
        told = each_value(found, words.get)
        return told if isinstance(told, pa.ChunkedArray) else pa.chunked_array([told])

    def _means(self, value: str, counts: dict[str, int]) -> bool | None:
        """Whether a label's value says that a row is an anomaly; None where it says neither."""
        from sluice.core.spelling import number_text

        anomalous, normal = self._model.anomalous, self._model.normal
        spelt = number_text(value) or value
        if anomalous is not None or normal is not None:
            named = [spelt in (wanted or ()) or value in (wanted or ()) for wanted in (anomalous, normal)]
            if any(named):
                return named[0]
            return None if anomalous is not None and normal is not None else normal is not None
        word = spelt.strip().lower().rstrip(".")
        if {number_text(v) or v for v in counts} <= _SIGNED and "-1" in counts:
            return word == "-1"
        return True if word in _ANOMALOUS_WORDS else False if word in _NORMAL_WORDS else None

    def _check_both(self, meant: set[bool | None], counts: dict[str, int]) -> None:
        name = self.project.data.columns.label
        for key in ("anomalous", "normal"):
            missing = [v for v in getattr(self._model, key) or () if v not in counts]
            if missing and self.project.data.test is None:
                raise DataError(
                    "is no value of the label", field=f"model.{key}", value=missing[0], fix=f"its values: {', '.join(sorted(counts)[:20])}"
                )
        if len(meant) == 1 and self.project.data.test is None:
            what, other = ("an anomaly", "normal") if meant.pop() else ("normal", "an anomaly")
            raise DataError(
                f"says of every row that it is {what}: nothing to judge by",
                field=f"label {name}",
                value=next(iter(counts)),
                fix=f"give rows that are {other}, or held-out ones in data.test; or let go of the labels: list {name} under data.columns.ignore",
            )
