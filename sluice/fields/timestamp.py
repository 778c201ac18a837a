"""A field of times: the wall clock's microseconds in a dataset, in the zone they were read in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluice.core.errors import PackageError
from sluice.fields import timeparts
from sluice.fields.column import Column, ColumnField
from sluice.fields.timestamps import TimeForm, iso
from sluice.fields.zones import MISSING, Zone

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells


class Timestamp(ColumnField):
    """Times of day, days, or both."""

    kind = "timestamp"
    plain = True
    timed = True
    checks = frozenset({"times"})
    column_type = "string"
    options = ("form", "zone", "reference", "parts")

    def disturbances(self) -> Mapping[str, Disturbance]:
        """A missing cell."""
        from sluice.fields.changes.disturbances import CELLS

        return CELLS

    @property
    def arrow(self) -> pa.DataType:
        """timestamp[us] without a zone."""
        import pyarrow as pa

        return pa.timestamp("us")

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, the first and the last time, and the years (as ``top``)."""
        import numpy as np
        import pyarrow.compute as pc

        from sluice.fields.summaries import top

        found = cells.column.drop_null()
        out = {**super().summary(cells), "distinct": pc.count_distinct(found).as_py()}
        if not len(found):
            return out
        ends, years = pc.min_max(found).as_py(), pc.value_counts(pc.year(found))
        return {
            **out,
            "first": ends["min"].isoformat(),
            "last": ends["max"].isoformat(),
            "top": top(years.field("values"), np.asarray(years.field("counts"))),
        }

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Parts ``month``, ``weekday``, ``hour`` where they vary: years and ages always move, they are no drift."""
        from sluice.fields.parts import part

        wall, times = wall_clock(rows.read("train", [self.name]).column(self.name)), rows.times[self.name]
        known = wall[wall != MISSING]
        parts = {}
        for cycle in timeparts.parts_of(known, times.reader.dated):
            if cycle in timeparts.CYCLES:
                found = sorted({str(v) for v in timeparts.whole(known, cycle).tolist()}, key=int)
                parts[cycle] = part({"values": found}, _cycle_counts(wall, cycle, found))
        return {
            "kind": self.kind,
            "rows": len(wall),
            "nulls": int((wall == MISSING).sum()),
            "form": times.form,
            "zone": times.reader.zone.spec(),
            "min": iso(int(known.min())) if len(known) else None,
            "max": iso(int(known.max())) if len(known) else None,
            "parts": parts,
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of each part."""
        reader = TimeForm(reference["form"], Zone.load(reference["zone"], "profile"))
        wall = reader.read(values, len(values), "", strict=False)
        return {cycle: _cycle_counts(wall, cycle, part["values"]) for cycle, part in reference["parts"].items()}

    def drawn(self, reference: Mapping[str, Any], rows: int, rng: np.random.Generator) -> list[str | None]:
        """Evenly between the first and the last time."""
        import numpy as np

        if reference["min"] is None:
            return [None] * rows
        first, last = (int(np.datetime64(reference[end], "us").astype(np.int64)) for end in ("min", "max"))
        there = rng.random(rows) * reference["rows"] >= reference["nulls"]
        return [iso(int(first + u * (last - first))) if t else None for u, t in zip(rng.random(rows), there, strict=True)]

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """What `TimeColumn.load` reads."""
        return {"time": timeparts.TimeColumn.load(spec, where)}

    def fit(self, rows: Rows) -> dict[str, Any]:
        """``time``: the parts that vary, and the newest row's time, from which ages are counted."""
        wall = wall_clock(rows.read("train", [self.name]).column(self.name).drop_null())
        reader = rows.times[self.name].reader
        return {"time": timeparts.TimeColumn(reader, int(wall.max()) if len(wall) else None, timeparts.parts_of(wall, reader.dated))}

    def seen(self, column: Column, cells: pa.Array) -> dict[str, np.ndarray]:
        """Those of its parts."""
        return {name: tensor[:, 0] for name, tensor in _time(column).tensors(wall_clock(cells), column.tensor).items()}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """Those of its parts (`TimeColumn.inputs`)."""
        return _time(column).inputs(column.tensor)

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """What `TimeForm.read` takes."""
        time = _time(column)
        return time.tensors(time.form.read(values, rows, column.name), column.tensor)

    def log(self, column: Column, values: Sequence[Any]) -> list[str | None]:
        """ISO 8601."""
        read = _time(column).form.read(values, len(values), column.name)
        return [None if v == MISSING else iso(v) for v in read.tolist()]


def _time(column: Column) -> timeparts.TimeColumn:
    if column.time is None:
        raise PackageError("says nothing of how its times are read", field=f"preprocess.columns: {column.name}", value=column.type)
    return column.time


def wall_clock(column: Any) -> NDArray[np.int64]:
    """A dataset's column of times as int64 [rows], `MISSING` where null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(column.cast(pa.int64()), MISSING))


def _cycle_counts(wall: NDArray[np.int64], cycle: str, values: Sequence[str]) -> NDArray[np.int64]:
    """Rows of each value of a part, then those of others, then those without a time."""
    from sluice.stats.drift import category_counts

    known = wall[wall != MISSING]
    seen = Counter(map(str, timeparts.whole(known, cycle).tolist()))
    return category_counts({**seen, "": len(wall) - len(known)}, list(values))
