"""Recommendation: from interactions (user, item, time, weight) to what a user takes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.errors import DataError
from sluice.core.section import Section
from sluice.tasks.base import Task, settings
from sluice.tasks.recommend_config import TOWERS, RecommendModel

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.interactions import Cuts
    from sluice.tasks.interactions import Log

#: Columns of the dataset that no feature can be called like.
_OWN = ("user", "history", "weights")


class RecommendTask(Task):
    """Rows of the source are interactions; rows of the dataset are users at cuts in time (`sluice.data.interactions`)."""

    name: ClassVar[str] = "recommend"
    Model = RecommendModel
    labelled: ClassVar[bool] = False
    starter: ClassVar[str | None] = "recommend"
    network: ClassVar[str] = "sluice.learners.torch.towers.network:TwoTowers"
    _read: tuple[pa.Table, Log, Cuts] | None = None

    @classmethod
    def mended(cls, raw: dict[str, Any], error: Exception) -> str | None:
        """Weights below 0 are left out: what was given back."""
        from sluice.tasks.interactions import NEGATIVE

        model = raw.setdefault("model", {})
        if not isinstance(error, DataError) or not error.message.startswith(NEGATIVE) or "least_weight" in model:
            return None
        model["least_weight"] = 0
        return "weights below 0, as of what was given back, are left out (model.least_weight)"

    @classmethod
    def learnt_by(cls, model: Section) -> str:
        """A network where two towers are asked for; else what is fitted in closed form or by sweeps."""
        return "torch" if getattr(model, "method", None) == TOWERS else "recommend"

    def objective(self, table: pa.Table) -> str:
        """A ranking of items."""
        from sluice.problems.ranking import Ranking

        return Ranking.name

    def kinds(self, table: pa.Table) -> dict[str, str]:
        """The history, the user's own columns, and what is kept beside them: who it is, and how much each item of the answer says."""
        from sluice.tasks.features import Features

        model: RecommendModel = settings(self, RecommendModel)
        kept = {"user": "key", "history": "history"}
        if model.features:
            taken = next((n for n in model.features if n in _OWN), None)
            if taken is not None:
                raise DataError("is a name the dataset keeps for itself", field="model.features", value=taken, fix="rename the column")
            wanted = self.project.data.columns.model_copy(update={"features": list(model.features)})
            kept |= Features(table, wanted).kinds
        return kept | ({"weights": "vector"} if "weight" in self._log(table)[0].columns else {})

    def canonical(self, table: pa.Table) -> pa.Table:
        """Users at cuts: history, features as of then, and as label what came next."""
        import pyarrow as pa

        from sluice.tasks.features import Features

        log, rows = self._log(table)
        features: dict[str, pa.ChunkedArray] = {}
        names = settings(self, RecommendModel).features
        if names:
            wanted = self.project.data.columns.model_copy(update={"features": list(names)})
            features = {n: c.take(pa.array(rows.source)) for n, c in Features(table, wanted).canonical().items()}
        own = {"user": rows.users, "history": rows.history, **features}
        return pa.table({**own, **({"weights": rows.weights} if "weight" in log.columns else {}), "label": rows.answer})

    def keys(self, table: pa.Table, by: str) -> pa.ChunkedArray:
        """What keeps its rows apart: their users, or the time of the newest item that is to come.

        Raises:
            DataError: a split by time without times.
        """
        import pyarrow as pa

        log, rows = self._log(table)
        if by != "time":
            return pa.chunked_array([rows.users])
        if rows.time is None:
            raise DataError(
                "needs a column of times, and none is known",
                field="data.split.by",
                value="time",
                fix="name it: model.time, or split by hash",
            )
        times = pa.array(rows.time)
        return pa.chunked_array([times.cast(log.clock.type) if pa.types.is_temporal(log.clock.type) else times])

    def notes(self, table: pa.Table) -> list[str]:
        """What was read as what, and what was left out."""
        return list(self._log(table)[0].notes)

    def _log(self, table: pa.Table) -> tuple[Log, Cuts]:
        """A table's interactions and its rows, read once."""
        from sluice.data.interactions import cut
        from sluice.tasks.interactions import Log

        if self._read is None or self._read[0] is not table:
            model: RecommendModel = settings(self, RecommendModel)
            log = Log(table, model, self.project.data.columns)
            self._read = (table, log, cut(log.found, model.history, model.repeat))
        return self._read[1:]
