"""What was true, joined to what was answered: feedback and predictions by request id and row, however late and in whatever order.

Feedback comes late, twice, out of order, and is corrected: of what is told of one row what was told last is true, and the same again is the
same. The join holds `most` labels at a time and goes through the predictions in batches; of more labels it goes through them again, once for
each share of the request ids. A request that a shadow answered too is joined to each version's answer; one that a client sent twice, once.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.monitor.log import Cursor, PredictionLog

if TYPE_CHECKING:
    import pyarrow as pa

#: Labels that are held at a time: about 200 bytes each.
MOST = 500_000
#: Of the histogram of delays: powers of two from a second to two years.
_DELAYS = 27
_SECOND = 1_000_000
Key = str | tuple[str, int]


@dataclasses.dataclass
class Coverage:
    """What of the predictions is labelled, and how late labels come. Counts add up.

    Attributes:
        predictions: rows looked at. labelled: those with a label; by `version`: [predictions, labelled] each.
        told: items of feedback with a label. duplicates: those beyond the first of a row. corrected: rows of which different labels were told.
        outcomes: items with an outcome. orphans: labelled rows that no prediction was found for.
        early: labels told before the answer, by clocks that differ. repeats: predictions whose request id had been seen of that version.
        delays: of labelled rows by the power of two of the seconds until the first label, from 1 on.
        unread, unread_labels: what of the predictions, and of the feedback, could not be read, in words.
    """

    predictions: int = 0
    labelled: int = 0
    told: int = 0
    duplicates: int = 0
    corrected: int = 0
    outcomes: int = 0
    orphans: int = 0
    early: int = 0
    repeats: int = 0
    version: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    delays: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(_DELAYS, np.int64))
    longest: float = 0.0
    unread: list[str] = dataclasses.field(default_factory=list)
    unread_labels: list[str] = dataclasses.field(default_factory=list)

    @property
    def share(self) -> float | None:
        """Of the predictions that are labelled; None without any."""
        return self.labelled / self.predictions if self.predictions else None

    def delay(self, q: float) -> float | None:
        """Seconds that a share `q` of the labels took at most, to a power of two (and never beyond the longest); None without labels."""
        whole = int(self.delays.sum())
        if not whole:
            return None
        place = int(np.searchsorted(np.cumsum(self.delays), q * whole))
        return float(min(2.0**place, self.longest))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = ("predictions", "labelled", "told", "duplicates", "corrected", "outcomes", "orphans", "early", "repeats")
        late = {"median": self.delay(0.5), "p90": self.delay(0.9), "longest": self.longest if self.labelled else None}
        by = {v: {"predictions": n, "labelled": k} for v, (n, k) in sorted(self.version.items())}
        return {**{n: getattr(self, n) for n in names}, "share": self.share, "seconds_late": late, "versions": by}


class Labels:
    """What was told, the last of each row.

    Args:
        share: (k, n): of the request ids only the k-th of n shares, by a hash.
    """

    def __init__(self, share: tuple[int, int] = (0, 1)):
        self._k, self._n = share
        self._at: dict[Key, int] = {}
        #: Of each: what was told, when first and when last, and the outcome with its time.
        self.labels: list[str | None] = []
        self.first: list[int] = []
        self.last: list[int] = []
        self.values: list[tuple[int, float] | None] = []
        self._changed: list[bool] = []
        self.told = self.duplicates = self.corrected = self.outcomes = 0

    def __len__(self) -> int:
        return len(self.labels)

    def mine(self, request_id: str) -> bool:
        """Whether the request id is of this share."""
        return self._n == 1 or zlib.crc32(request_id.encode()) % self._n == self._k

    def take(self, batch: pa.RecordBatch) -> None:
        """A batch of feedback; the order of batches and rows does not matter."""
        names = batch.schema.names
        columns = [
            batch.column(n).to_pylist() if n in names else [None] * batch.num_rows for n in ("request_id", "row", "label", "outcome")
        ]
        for at, request_id, row, label, outcome in zip(microseconds(batch), *columns, strict=True):
            if not isinstance(request_id, str) or not self.mine(request_id):
                continue
            if label is not None:
                self._label(_key(request_id, row), at, label if isinstance(label, str) else str(label))
            if outcome is not None:
                self._outcome(_key(request_id, row), at, float(outcome))

    def _place(self, key: Key) -> int:
        place = self._at.setdefault(key, len(self.labels))
        if place == len(self.labels):
            self.labels.append(None)
            self.first.append(0)
            self.last.append(0)
            self.values.append(None)
            self._changed.append(False)
        return place

    def _label(self, key: Key, at: int, label: str) -> None:
        self.told += 1
        i = self._place(key)
        known = self.labels[i]
        if known is None:
            self.labels[i], self.first[i], self.last[i] = label, at, at
            return
        self.duplicates += 1
        if known != label and not self._changed[i]:
            self._changed[i] = True
            self.corrected += 1
        # Two that were told at the same moment: the same one whatever the order.
        if (at, label) > (self.last[i], known):
            self.labels[i], self.last[i] = label, at
        self.first[i] = min(self.first[i], at)

    def _outcome(self, key: Key, at: int, value: float) -> None:
        self.outcomes += 1
        i = self._place(key)
        known = self.values[i]
        self.values[i] = (at, value) if known is None else max(known, (at, value))

    def places(self, ids: Sequence[Any], rows: Sequence[Any]) -> np.ndarray:
        """Where each predicted row's label stands, int64 [rows]; -1 for none."""
        found = self._at.get
        if not any(rows):
            return np.fromiter((found(i, -1) for i in ids), np.int64, len(ids))
        return np.fromiter((found(_key(i, r), -1) for i, r in zip(ids, rows, strict=True)), np.int64, len(ids))


def _key(request_id: str, row: Any) -> Key:
    return (request_id, row) if row else request_id


def microseconds(batch: pa.RecordBatch) -> list[int]:
    """When each row was written, microseconds since 1970; 0 where it is not told."""
    import pyarrow as pa

    if "time" not in batch.schema.names:
        return [0] * batch.num_rows
    column = batch.column("time")
    column = column.cast(pa.timestamp("us", tz="UTC")) if pa.types.is_timestamp(column.type) else column
    return column.cast(pa.int64()).fill_null(0).to_pylist()


def joined(
    root: str | Path,
    model: str,
    *,
    version: str = "",
    since: int | None = None,
    until: int | None = None,
    columns: Sequence[str] | None = None,
    most: int = MOST,
    coverage: Coverage | None = None,
    every: Callable[[pa.RecordBatch], None] | None = None,
    feedback: str | Path | None = None,
    once: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The labelled rows, in batches: the log's columns, and ``label``, ``outcome``, ``labelled_at`` and ``first_labelled_at`` (int64, microseconds
    since 1970: when the label that stands was told, and when the first was).

    Args:
        root: of the log; a folder or ``s3://``. model: its name. version: of the model; "": every.
        since, until: of predictions, microseconds since 1970; since <= time < until. Parts that were written before `since` are not opened.
        columns: of the log, as `PredictionLog.read` takes them; None: all.
        most: labels held at a time.
        coverage: is filled in; complete when the last batch is out.
        every: is given each batch of predictions that lies in the time, labelled or not.
        feedback: the log that holds the labels; None: the same.
        once: a request that several versions answered (a shadow) is joined to one answer, and not to each version's.

    Raises:
        DataError: the log cannot be read.
    """
    told = coverage if coverage is not None else Coverage()
    start = Cursor.since(since).to_dict()
    source = root if feedback is None else feedback
    rows = sum(b.num_rows for b, _ in PredictionLog(source, model, what="feedback").read(start, columns=["row"]))
    shares = max(1, -(-rows // max(most, 1)))
    wanted = None if columns is None else list(dict.fromkeys([*columns, "time", "request_id", "row", "version"]))
    for k in range(shares):
        labels = Labels((k, shares))
        given = PredictionLog(source, model, what="feedback")
        for batch, _ in given.read(start, columns=["time", "request_id", "row", "label", "outcome"]):
            labels.take(batch)
        for name in ("told", "duplicates", "corrected", "outcomes"):
            setattr(told, name, getattr(told, name) + getattr(labels, name))
        log = PredictionLog(root, model, version=version)
        batches = (b for b, _ in log.read(start, columns=wanted))
        yield from _share(batches, labels, (since, until), told, every if k == 0 else None, once)
        told.unread, told.unread_labels = log.faults, given.faults


def _share(
    batches: Iterator[pa.RecordBatch],
    labels: Labels,
    between: tuple[int | None, int | None],
    told: Coverage,
    every: Callable[[pa.RecordBatch], None] | None,
    once: bool,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    seen: dict[str, np.ndarray] = {}
    found_any = np.zeros(len(labels), bool)
    for batch in batches:
        batch = _within(batch, *between)
        if every is not None and batch.num_rows:
            every(batch)
        ids = batch.column("request_id").to_pylist() if "request_id" in batch.schema.names else []
        if labels._n > 1:
            mine = np.fromiter((isinstance(i, str) and labels.mine(i) for i in ids), bool, len(ids))
            batch = batch.filter(pa.array(mine))
            ids = [i for i, m in zip(ids, mine, strict=True) if m]
        if not ids:
            continue
        rows = batch.column("row").to_pylist() if "row" in batch.schema.names else [0] * len(ids)
        versions = batch.column("version").to_pylist() if "version" in batch.schema.names else [""] * len(ids)
        places = labels.places(ids, rows)
        kept = _once(places, versions, labels, seen, told, once)
        found_any[places[kept]] = True
        if kept.any():
            yield _labelled(batch.filter(pa.array(kept)), places[kept], labels, told)
    told.orphans += int(sum(1 for i, label in enumerate(labels.labels) if label is not None and not found_any[i]))


def _once(places: np.ndarray, versions: list[Any], labels: Labels, seen: dict[str, np.ndarray], told: Coverage, once: bool) -> np.ndarray:
    """Which rows have a label, each label once a version, or once: bool [rows]."""
    kept = np.zeros(len(places), bool)
    names = np.array([v or "" for v in versions], dtype=object)
    for version in set(names.tolist()):
        at = np.flatnonzero(names == version)
        counts = told.version.setdefault(version, [0, 0])
        counts[0] += len(at)
        told.predictions += len(at)
        mark = seen.setdefault("" if once else version, np.zeros(len(labels), bool))
        with_place = at[places[at] >= 0]
        first = with_place[np.sort(np.unique(places[with_place], return_index=True)[1])]
        fresh = first[~mark[places[first]]]
        told.repeats += len(with_place) - len(fresh)
        mark[places[fresh]] = True
        real = fresh[[labels.labels[i] is not None or labels.values[i] is not None for i in places[fresh]]]
        kept[real] = True
        counts[1] += sum(labels.labels[i] is not None for i in places[real])
    return kept


def _labelled(batch: pa.RecordBatch, places: np.ndarray, labels: Labels, told: Coverage) -> pa.RecordBatch:
    import pyarrow as pa

    answered = np.array(microseconds(batch), dtype=np.int64)
    first = np.array([labels.first[i] for i in places], dtype=np.int64)
    label = [labels.labels[i] for i in places]
    with_label = np.array([v is not None for v in label])
    late = (first - answered)[with_label] / _SECOND
    told.labelled += int(with_label.sum())
    told.early += int((late < 0).sum())
    late = np.maximum(late, 0.0)
    told.longest = max(told.longest, float(late.max(initial=0.0)))
    steps = np.minimum(np.ceil(np.log2(np.maximum(late, 1.0))).astype(np.int64), _DELAYS - 1)
    told.delays += np.bincount(steps, minlength=_DELAYS)
    values = [labels.values[i] for i in places]
    more = {
        "label": pa.array(label, pa.string()),
        "outcome": pa.array([None if v is None else v[1] for v in values], pa.float64()),
        "labelled_at": pa.array([labels.last[i] for i in places], pa.int64()),
        "first_labelled_at": pa.array(first),
    }
    schema = batch.schema
    for name, column in more.items():
        schema = schema.append(pa.field(name, column.type))
    return pa.RecordBatch.from_arrays([*batch.columns, *more.values()], schema=schema)


def _within(batch: pa.RecordBatch, since: int | None, until: int | None) -> pa.RecordBatch:
    import pyarrow as pa

    if (since is None and until is None) or "time" not in batch.schema.names:
        return batch
    times = np.array(microseconds(batch), dtype=np.int64)
    inside = np.ones(len(times), bool)
    inside &= times >= since if since is not None else True
    inside &= times < until if until is not None else True
    return batch if inside.all() else batch.filter(pa.array(inside))
