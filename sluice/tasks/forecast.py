"""Forecasts of many series: from what was, what is known of the times to come, and what a series is like, the next values and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.data.labelnames import LABEL
from sluice.tasks.base import Task, settings
from sluice.tasks.config import ForecastModel
from sluice.tasks.roles import plain
from sluice.tasks.timecolumns import TIMES, check_long

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from sluice.data.look import ColumnLook
    from sluice.data.timestamps import Times
    from sluice.tasks.series import SeriesTable


#: What the column that is forecast is often called, beside the names of labels.
_MEASURED = frozenset(
    [
        "y",
        "value",
        "sales",
        "unitsales",
        "units",
        "demand",
        "load",
        "consumption",
        "production",
        "quantity",
        "volume",
        "close",
        "price",
        "turnover",
        "revenue",
        "passengers",
        "orders",
        "absatz",
        "umsatz",
        "menge",
        "verbrauch",
        "nachfrage",
        "last",
        "wert",
        "ventas",
        "demanda",
        "ventes",
    ]
)
#: Learners other than the torch loop, by ``model.method``.
_LEARNT_BY = {"boosted": "forecast_trees", "auto": "forecast_auto"}


class ForecastTask(Task):
    """A source's rows are the times of series; the dataset's are forecasts: an origin of a series, its past, and the values that came."""

    name: ClassVar[str] = "forecast"
    Model = ForecastModel
    starter: ClassVar[str | None] = "forecast"
    label_number: ClassVar[bool] = True
    network: ClassVar[str] = "sluice.learners.torch.forecasts.network:ForecastNetwork"
    _read: SeriesTable | None = None

    @classmethod
    def label_in(cls, columns: Sequence[ColumnLook]) -> str | None:
        """The only column of numbers that is neither called as a time nor of two values. Raises `DataError` for a table with a column a time."""
        check_long([c.name for c in columns])
        fit = [c.name for c in columns if c.kind == "number" and c.distinct > 2 and plain(c.name) not in TIMES]
        named = [n for n in fit if plain(n) in LABEL] or [n for n in fit if plain(n) in _MEASURED]
        return fit[0] if len(fit) == 1 else named[0] if len(named) == 1 else None

    def shown(self) -> dict[str, list[str]]:
        """Columns with values of times that have no label yet: what is to come is known of them."""
        known = self._read.known_ahead if self._read is not None else []
        return {"known": known} if known else {}

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """Trees, or the better of both, where ``method`` asks for them; else a network."""
        return _LEARNT_BY.get(getattr(model, "method", ""), "torch")

    def objective(self, table: pa.Table) -> str:
        """``forecast``."""
        from sluice.problems.forecast import Forecast

        return Forecast.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The columns that tell series apart, the time of the last known value, ``history``, and other columns of numbers as sequences."""
        return self._series(table).kinds()

    def times(self, table: pa.Table) -> dict[str, Times]:
        """How the column of times is written."""
        name, times = self._series(table).time
        return {} if times is None else {name: times}

    def canonical(self, table: pa.Table) -> pa.Table:
        """A row a forecast; see `SeriesTable.canonical`."""
        return self._series(table).canonical()

    def sides(self, table: pa.Table) -> np.ndarray:
        """The part each forecast belongs to, by time."""
        return self._series(table).windows.side

    def found(self, table: pa.Table) -> dict[str, Any]:
        """Columns, grid, season, context and horizon; see `SeriesTable.found`."""
        return self._series(table).found()

    def notes(self, table: pa.Table) -> list[str]:
        """How many series there are, how they are read, what is left out."""
        return self._series(table).notes()

    def _series(self, table: pa.Table) -> SeriesTable:
        """The table read as series, once a table."""
        from sluice.tasks.series import SeriesTable

        data = self.project.data
        if data.test is not None:
            raise ProjectError(
                "is not for forecasts, whose last times are held out",
                field="data.test",
                value=data.test,
                fix="put all rows into data.source",
            )
        if getattr(self.project.train, "folds", None) is not None:
            raise ProjectError(
                "would learn from what came after the values it is judged on",
                field="train.folds",
                value=self.project.train.folds,
                fix="remove it: every origin of the held-out times is judged already",
            )
        if self._read is None or self._read.table is not table:
            self._read = SeriesTable(table, self.project, settings(self, ForecastModel))
        return self._read
