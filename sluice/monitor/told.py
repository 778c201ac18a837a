"""Quality as labels come in, look by look: windows of labelled rows in the order in which their first labels were told.

That order only grows, however late a label is of which prediction, so a window that is closed stays what it is and keeps its number; told twice,
a row counts once, and what was corrected is judged anew in its window while that is among the last `KEPT`. What is kept between two looks is
where the windows ended, and three numbers of each of the last rows for the stream of errors (`sluice.monitor.stream`), plain JSON of a bounded size:
the rows are joined out of the log each time (`sluice.monitor.labels.joined`), which bounds
the look by the hours and the bytes of the log that it goes back, and makes it the same again after any interruption.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.monitor import stream
from sluice.monitor.config import Quality, Window
from sluice.monitor.labels import Coverage, joined, microseconds
from sluice.monitor.log import Cursor, PredictionLog
from sluice.monitor.quality import Judge, Judged, measured, under
from sluice.monitor.stream import Concept, Errors
from sluice.monitor.windows import Open, cut

if TYPE_CHECKING:
    import pyarrow as pa

#: Closed windows that corrections still reach; labelled rows and bytes of the log of one look; labels held at a time.
KEPT, ROWS, BYTES, _HELD = 8, 200_000, 1 << 30, 100_000
State = dict[str, Any]
#: By which rows are in order: when the first label was told (microseconds since 1970), the request's id, the row in it.
Key = tuple[int, str, int]


@dataclasses.dataclass(frozen=True)
class Told:
    """What a look found.

    Attributes:
        state: what the next one starts from.
        closed: the last windows, those that this look closed among them. open: the one that is open, once it has the least rows; None before.
        coverage: what of the predictions looked at is labelled.
        concept: what the stream of errors says; None where it says nothing, and `unwatched` says why. A correction of a row in a closed window does not
            reach it.
        more: there are more labelled rows than one look takes. cut: more bytes than one look goes back: older predictions were not looked for.
    """

    state: State
    closed: list[Judged]
    open: Judged | None
    coverage: Coverage
    more: bool = False
    cut: bool = False
    concept: Concept | None = None
    unwatched: str = ""

    @property
    def last(self) -> Judged | None:
        """The newest window that says something."""
        return self.open or (self.closed[-1] if self.closed else None)


def begin() -> State:
    """The state before any label."""
    return {"closed": 0, "windows": [], "open": None, "errors": None}


def look(
    judge: Judge,
    root: str | Path,
    model: str,
    state: State,
    *,
    version: str = "",
    config: Quality | None = None,
    window: Window | None = None,
    since: int | None = None,
    feedback: str | Path | None = None,
    most: int = ROWS,
    most_bytes: int = BYTES,
) -> Told:
    """The quality of what has been told, on from a state, which is left as it is.

    Args:
        judge: by what. root, model, version, feedback: as `joined` takes them.
        config: the floor, and what the stream of errors is watched by. window: when a window of labelled rows closes.
        since: of predictions, microseconds since 1970: labels of older ones are not looked for.
        most: labelled rows beyond the last window. most_bytes: of the log.

    Raises:
        DataError: the log cannot be read.
    """
    config, window, coverage = config or Quality(), window or Window(), Coverage()
    since, cut_off = _bounded(root, model, version, since, most_bytes)
    batches = joined(
        root,
        model,
        version=version,
        since=since,
        columns=("probabilities", "value"),
        most=_HELD,
        coverage=coverage,
        feedback=feedback,
    )
    kept = state["windows"]
    rows = _Rows(judge, tuple(kept[0]["first"]) if kept else None, most + sum(w["rows"] for w in kept))
    more = rows.take(batches)
    known = [_again(rows, judge, config, w) for w in kept]
    start = bisect.bisect_right(rows.keys, tuple(kept[-1]["last"])) if kept else 0
    times = np.array([k[0] for k in rows.keys[start:]], np.int64)
    pieces = cut(Open(), times, len(times), window)[0] if len(times) else []
    opened, number, ended = None, int(state["closed"]), start
    for piece in pieces:
        found = _judged(rows, judge, config, number, slice(start + piece.start, start + piece.stop))
        if piece.closed:
            known, number, ended = [*known, found], number + 1, start + piece.stop
        elif piece.window.rows >= window.least:
            opened = found
    errors = Errors.unpacked(state.get("errors")).then(rows.errors(slice(start, ended))).bounded(config, judge.problem.classes)
    concept, unwatched = stream.asked(errors.then(rows.errors(slice(ended, None))), config, judge.problem.classes)
    after: State = {"closed": number, "windows": known[-KEPT:], "open": opened, "errors": errors.packed()}
    closed = [_plain(w) for w in known[-KEPT:]]
    return Told(after, closed, _plain(opened) if opened else None, coverage, more, cut_off, concept, unwatched)


def of(state: State) -> Judged | None:
    """The newest window of a state that says something."""
    found = state["open"] or (state["windows"][-1] if state["windows"] else None)
    return _plain(found) if found else None


#: Keys, outputs, targets and times of rows.
_Held = tuple[list[Key], np.ndarray, np.ndarray, np.ndarray]


class _Rows:
    """Labelled rows in the order in which they were told: `most` of them from `first` on."""

    def __init__(self, judge: Judge, first: Key | None, most: int):
        self.judge, self.first, self.most = judge, first, most
        self.keys: list[Key] = []
        self.outputs: np.ndarray = np.empty((0, len(judge.labels)) if judge.problem.classes else 0)
        self.targets: np.ndarray = np.empty(0, np.int64)
        self.times: np.ndarray = np.empty(0, np.int64)

    def errors(self, inside: slice) -> Errors:
        """Of some of them."""
        return Errors.of(self.judge, self.outputs[inside], self.targets[inside], self.times[inside])

    def take(self, batches: Iterable[pa.RecordBatch]) -> bool:
        """Take them. Returns whether there are more than these."""
        held: list[_Held] = []
        more = False
        for found in self._of(batches):
            held.append(found)
            if sum(len(k) for k, *_ in held) > 2 * self.most:
                held, more = [self._sorted(held)], True
        if held:
            more = more or sum(len(k) for k, *_ in held) > self.most
            self.keys, self.outputs, self.targets, self.times = self._sorted(held)
        return more

    def _of(self, batches: Iterable[pa.RecordBatch]) -> Iterator[_Held]:
        for batch in batches:
            batch = batch.filter(batch.column("label").is_valid())
            if not batch.num_rows:
                continue
            ids = batch.column("request_id").to_pylist()
            rows = batch.column("row").to_pylist() if "row" in batch.schema.names else [0] * batch.num_rows
            keys = [(at, i, r or 0) for at, i, r in zip(batch.column("first_labelled_at").to_pylist(), ids, rows, strict=True)]
            fine, outputs, targets = self.judge.rows(batch)
            keys, times = [k for k, f in zip(keys, fine.tolist(), strict=True) if f], np.array(microseconds(batch), np.int64)[fine]
            new = np.array([self.first is None or k >= self.first for k in keys], dtype=bool)
            if new.any():
                yield [k for k, n in zip(keys, new.tolist(), strict=True) if n], outputs[new], targets[new], times[new]

    def _sorted(self, held: list[_Held]) -> _Held:
        keys = [k for part, *_ in held for k in part]
        order = sorted(range(len(keys)), key=keys.__getitem__)[: self.most]
        outputs, targets, times = (np.concatenate([part[i] for part in held]) for i in (1, 2, 3))
        return [keys[i] for i in order], outputs[order], targets[order], times[order]


def _again(rows: _Rows, judge: Judge, config: Quality, kept: dict[str, Any]) -> dict[str, Any]:
    """A closed window with what has been corrected since; as it was where its rows are too old to be looked for."""
    inside = slice(bisect.bisect_left(rows.keys, tuple(kept["first"])), bisect.bisect_right(rows.keys, tuple(kept["last"])))
    if inside.stop - inside.start < kept["rows"]:
        return kept
    return _judged(rows, judge, config, kept["number"], inside)


def _judged(rows: _Rows, judge: Judge, config: Quality, number: int, inside: slice) -> dict[str, Any]:
    keys = rows.keys[inside]
    value, low, high = measured(judge, rows.outputs[inside], rows.targets[inside])
    below = under(judge, config.floor, value, low, high)
    found = Judged(number, keys[0][0], keys[-1][0], len(keys), value, low, high, below)
    return {**found.to_dict(), "first": list(keys[0]), "last": list(keys[-1])}


def _plain(kept: dict[str, Any]) -> Judged:
    return Judged(**{f.name: kept[f.name] for f in dataclasses.fields(Judged)})


def _bounded(root: str | Path, model: str, version: str, since: int | None, most: int) -> tuple[int | None, bool]:
    """How far back a look goes: `since`, or later where the parts since then have more bytes than `most`; whether that is so."""
    total, newest = 0, 0
    for part in reversed(PredictionLog(root, model, version=version).parts(Cursor.since(since))):
        total += part.size
        if total > most and newest and part.written != newest:
            return max(newest, since or 0), True
        newest = part.written or newest
    return since, False
