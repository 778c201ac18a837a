"""Drift of a model's features and answers, window by window, against the profile of its training rows.

Pure and streaming: a state and a batch in, the next state and the verdicts of the windows that the batch closed out. The state is plain JSON of
a size that the profile sets, whatever has gone through it, so that whoever holds it can be killed and go on::

    monitor = DriftMonitor(profile)                      # a package's profile.json, or `profile_of(table, kinds)`
    state = monitor.begin()
    for batch, cursor in PredictionLog("logs", "fraud").read():
        state, verdicts = monitor.feed(state, batch)
        for verdict in verdicts:
            print(verdict.window, verdict.score, [alarm.text for alarm in verdict.raised])

A part moves where its distance exceeds both what chance explains (so seldom that false alarms stay as rare as `Drift.false_alarms` says, all
features of the model and all windows of a day together, `Drift.persistence` windows in a row) and the threshold, less what so few rows leave
open: so a shift of the threshold is caught. See `sluice.stats.noise`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.core.files import digest_of
from sluice.monitor import alarms, windows
from sluice.monitor.config import Drift, MonitorConfig
from sluice.monitor.judge import Judge
from sluice.monitor.parts import ANSWER, CONFIDENCE, Counts, Part, answer_parts, parts_of
from sluice.monitor.rows import Batch
from sluice.monitor.sheet import Ready, Scores, Sheet
from sluice.monitor.verdict import Alarm, Verdict, iso
from sluice.stats import mmd

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "sluice.drift/v1"
#: Groups of rows by which parts are judged of which a row has several; rows of one turn.
GROUPS, _TURN = 16, 8
#: Names of new values that a state keeps of a feature.
_NAMES = 20

State = dict[str, Any]


class DriftMonitor:
    """Watches one version of a model.

    Args:
        profile: of `sluice.data.profile.profile_dataset`: a package's ``profile.json``; or `sluice.monitor.reference.profile_of`.
        config: `monitor:` of a project, or its `Drift` alone with windows as they are by default.

    Raises:
        DataError: not a profile of this version.
    """

    def __init__(self, profile: Mapping[str, Any], config: MonitorConfig | Drift | None = None):
        whole = config if isinstance(config, MonitorConfig) else MonitorConfig() if config is None else MonitorConfig(drift=config)
        self.window, self.config = whole.window, whole.drift
        self.profile = profile
        self.fields, self.parts = parts_of(profile, self.config)
        self.answers = answer_parts(profile, self.config)
        self.reference = digest_of([profile, whole.window.model_dump(mode="json"), whole.drift.model_dump(mode="json")])[:16]
        self.vectors = {n: profile["features"][n]["vectors"] for n in self.fields if "vectors" in profile["features"][n]}
        self._judge = Judge(self.config, self.parts, self.answers, self.vectors)
        self._based: dict[tuple[str, bytes], Part] = {}

    #: Columns of a prediction log that are read.
    columns = ("time", "prediction", "probability", "value", "features")

    def begin(self) -> State:
        """The state before any row."""
        return {
            "format": FORMAT,
            "reference": self.reference,
            "windows": 0,
            "rows": 0,
            "open": windows.Open().to_dict(),
            "counts": {},
            "groups": {},
            "totals": {},
            "new": {},
            "vectors": {},
            "baseline": {"rows": 0, "counts": {}},
            "alarms": {},
        }

    def feed(self, state: State, batch: pa.RecordBatch | pa.Table, *, last: bool = False) -> tuple[State, list[Verdict]]:
        """Take a batch of predictions.

        Args:
            state: of `begin` or of the call before; it is left as it is.
            batch: rows of the prediction log (``time``, ``prediction`` or ``value``, ``features``), or the features' own columns; any of these may
                lack. A column that all rows lack while others are there counts as missing.
            last: nothing comes behind it: a window with the minimum of rows is closed.

        Raises:
            DataError: the state is of another profile or other settings.
        """
        self._check(state)
        rows = Batch(batch, list(self.fields))
        pieces, after = windows.cut(windows.Open(**state["open"]), rows.times, rows.rows, self.window)
        if last and after.rows >= self.window.least:
            pieces.append(windows.Piece(rows.rows, rows.rows, after, True))
            after = windows.Open(before=after.ended)
        if not pieces:
            return state, []
        bounds = [*(p.start for p in pieces), rows.rows]
        closed = [p.window for p in pieces if p.closed]
        counts, totals, new, groups = self._counted(state, rows, bounds, pieces)
        vectors = self._whole(state, rows, bounds)
        next_: State = {**state, "rows": state["rows"] + rows.rows, "open": after.to_dict(), "windows": state["windows"] + len(closed)}
        done = len(closed)
        next_["counts"] = {k: v[done].tolist() for k, v in counts.items() if len(v) > done}
        next_["totals"] = {k: v[done].tolist() for k, v in totals.items() if len(v) > done}
        next_["groups"] = {k: v[done].tolist() for k, v in groups.items() if len(v) > done}
        next_["vectors"] = {k: v[done].tolist() for k, v in vectors.items() if len(v) > done}
        next_["new"] = {k: v[done] for k, v in new.items() if len(v) > done and v[done]}
        verdicts = self._judged(state, next_, closed, counts, totals, new, groups, vectors) if closed else []
        return next_, verdicts

    def _check(self, state: State) -> None:
        if state.get("format") != FORMAT or state.get("reference") != self.reference:
            raise DataError(
                "belongs to another profile or other settings of monitor:",
                field="state",
                value=state.get("reference", state.get("format")),
                fix="begin anew with monitor.begin()",
            )

    # -- counting ------------------------------------------------------------------------------------

    def _counted(self, state: State, rows: Batch, bounds: list[int], pieces: list[windows.Piece]) -> tuple[Any, Any, Any, Any]:
        """By part counts [pieces, bins], totals, names of new values and groups; the first piece with what the open window has already."""
        counts: dict[str, Counts] = {}
        totals: dict[str, NDArray[np.float64]] = {}
        new: dict[str, list[dict[str, int]]] = {}
        groups: dict[str, Counts] = {}
        several = {p.feature for p in self.parts if p.several}
        listed = {p.feature for p in self.parts if p.listed}
        for name, field in self.fields.items():
            column = rows.feature(name)
            if column is None:
                continue
            reference = self.profile["features"][name]
            if name in several:
                cuts = _turns(bounds, pieces)
                fine = field.counted(reference, column, cuts.bounds)
                found = {k: _summed(v, cuts.piece, len(bounds) - 1) for k, v in fine.items()}
                for part in (p for p in self.parts if p.feature == name and p.several):
                    groups[part.key] = _opened(state["groups"], part.key, _grouped(fine[part.part], cuts, len(bounds) - 1))
            else:
                found = field.counted(reference, column, bounds)
            counts |= {f"{name}\x1f{part}": _opened(state["counts"], f"{name}\x1f{part}", v) for part, v in found.items()}
            total = field.totals(column, bounds)
            if total is not None:
                totals[name] = _opened(state["totals"], name, total)
            if name in listed:
                new[name] = self._names(state["new"].get(name, {}), field.unseen(reference, column, bounds))
        for part, values in self._answered(rows):
            counts[part.key] = _opened(state["counts"], part.key, values(bounds))
        return counts, totals, new, groups

    def _whole(self, state: State, rows: Batch, bounds: list[int]) -> dict[str, NDArray[np.float64]]:
        """Sums of whole rows' features, [pieces, 129]."""
        out = {}
        for name, told in self.vectors.items():
            column = rows.feature(name)
            found = None if column is None else self.fields[name].vectors(column.to_pylist())
            if found is not None:
                # Of no rows the width is not to be told from what there is.
                whole = found.reshape(rows.rows, -1 if rows.rows else int(told["dimensions"]))
                out[name] = _opened(state["vectors"], name, mmd.summed(told, whole, bounds))
        return out

    @staticmethod
    def _names(before: Mapping[str, int], found: list[dict[str, int]]) -> list[dict[str, int]]:
        for name, n in before.items():
            if found:
                found[0][name] = found[0].get(name, 0) + n
        return [dict(sorted(f.items(), key=lambda kv: (-kv[1], kv[0]))[:_NAMES]) for f in found]

    def _answered(self, rows: Batch) -> list[tuple[Part, Any]]:
        out: list[tuple[Part, Any]] = []
        for part in self.answers:
            if part.part == ANSWER:
                named = "values" in part.bins
                column = rows.answers if named else rows.values
                if column is not None:
                    out.append((part, functools.partial(_named if named else _numbered, part, column)))
            elif part.part == CONFIDENCE and rows.confidence is not None:
                out.append((part, functools.partial(_numbered, part, rows.confidence)))
        return out

    # -- judging -------------------------------------------------------------------------------------

    def _judged(
        self, state: State, next_: State, closed: list[windows.Open], counts: Any, totals: Any, new: Any, groups: Any, vectors: Any
    ) -> list[Verdict]:
        """Verdicts of the closed windows, and what they leave in the next state."""
        levels = [self._judge.level(w) for w in closed]
        sheets: list[Sheet | Ready] = [*self._judge.sheets(closed, levels, self.parts, counts, totals, new, groups)]
        sheets += self._judge.whole(levels, {k: v[: len(closed)] for k, v in vectors.items()})
        based, next_["baseline"] = self._based_on(
            state["baseline"], closed, levels, {p.key: counts[p.key] for p in self.answers if p.key in counts}
        )
        loud, next_["recent"] = self._joined([*sheets, *based], levels, state.get("recent", {}))
        verdicts, standing, texts = [], state["alarms"], dict(state.get("texts", {}))
        moved, most = _moved([*sheets, *based], len(closed)), _most([*sheets, *based], len(closed))
        for i, window in enumerate(closed):
            inside = [*sheets, *(b for b in based if b.start <= i)]
            scores = Scores(inside, i, most[i])
            verdict, standing, texts = self._alarmed(state["windows"] + i, window, scores, inside, (moved[i], loud[i]), standing, texts)
            verdicts.append(verdict)
        next_["alarms"], next_["texts"] = standing, texts
        return verdicts

    def _joined(
        self, sheets: Sequence[Sheet | Ready], levels: Sequence[float], before: Mapping[str, Any]
    ) -> tuple[list[set[str]], dict[str, Any]]:
        """What windows in a row say together: keys by window, and the counts that the next ones are asked with."""
        loud: list[set[str]] = [set() for _ in levels]
        rest = dict(before)
        for sheet in sheets:
            if isinstance(sheet, Sheet) and len(sheet.rows):
                over, rest[sheet.part.key] = self._judge.together(sheet, levels[sheet.start :], before.get(sheet.part.key, ()))
                sheet.moves["distance"] = sheet.moves["distance"] | over
                for i in np.flatnonzero(over).tolist():
                    loud[sheet.start + i].add(f"{sheet.part.key}\x1fdistance")
        return loud, {k: v for k, v in rest.items() if v}

    def _based_on(
        self, before: Mapping[str, Any], closed: list[windows.Open], levels: list[float], counts: Mapping[str, Counts]
    ) -> tuple[list[Sheet], dict[str, Any]]:
        """Answers against the first ones: of the windows behind these, and the first ones so far."""
        base, size, at = dict(before["counts"]), int(before["rows"]), 0
        while counts and at < len(closed) and size < self.config.baseline:
            base = {k: (np.asarray(base.get(k, 0), np.int64) + v[at]).tolist() for k, v in counts.items()}
            size, at = size + closed[at].rows, at + 1
        parts = [self._against(p, base[p.key]) for p in self.answers if p.key in counts and p.key in base] if at < len(closed) else []
        return self._judge.sheets(closed[at:], levels[at:], parts, counts, {}, {}, {}, at), {"rows": size, "counts": base}

    def _against(self, part: Part, counts: list[int]) -> Part:
        found = np.asarray(counts, np.int64)
        key = (part.key, found.tobytes())
        if key not in self._based:
            self._based = {key: part.based(found)} if len(self._based) > 8 else {**self._based, key: part.based(found)}
        return self._based[key]

    def _alarmed(
        self,
        number: int,
        window: windows.Open,
        scores: Scores,
        sheets: list[Sheet | Ready],
        over: tuple[set[str], set[str]],
        before: alarms.State,
        texts: dict[str, Any],
    ) -> tuple[Verdict, alarms.State, dict[str, Any]]:
        begun = iso(window.begun)
        if not over[0] and not before:
            return Verdict(number, window.rows, begun, iso(window.ended), scores), before, texts
        asked = {f"{s.name[0]}\x1f{s.name[1]}\x1f{what}" for s in sheets if s.watched for what in s.asked} if before else set()
        moved: dict[str, bool | None] = {k: k in over[0] for k in {*over[0], *(k for k in before if k in asked)}}
        after, raised, ended = alarms.step(before, moved, self.config.persistence, begun, over[1])
        for key in raised:
            feature, part, what = key.split("\x1f")
            told = next(s for s in scores if (s.feature, s.part) == (feature, part))
            texts[key] = Alarm(feature, part, what, number, after[key]["since"], self._judge.text(told, what))
        gone = tuple(_alarm(texts.pop(key)) for key in ended)
        stands = tuple(_alarm(texts[k]) for k in sorted(after) if after[k]["stands"])
        verdict = Verdict(
            number,
            window.rows,
            begun,
            iso(window.ended),
            scores,
            tuple(_alarm(texts[k]) for k in raised),
            gone,
            stands,
        )
        return verdict, after, {k: (v if isinstance(v, dict) else vars(v)) for k, v in texts.items()}


def _moved(sheets: Sequence[Sheet | Ready], windows_: int) -> list[set[str]]:
    """What may raise an alarm and moved, by window."""
    out: list[set[str]] = [set() for _ in range(windows_)]
    for sheet in sheets:
        for what, found in sheet.moves.items() if sheet.watched else ():
            for i in np.flatnonzero(found).tolist():
                out[sheet.start + i].add(f"{sheet.name[0]}\x1f{sheet.name[1]}\x1f{what}")
    return out


def _most(sheets: Sequence[Sheet | Ready], windows_: int) -> list[float | None]:
    """The largest shift of what is watched, by window."""
    out = np.full(windows_, -np.inf)
    for sheet in sheets:
        if sheet.watched:
            out[sheet.start : sheet.start + len(sheet.shift)] = np.fmax(out[sheet.start : sheet.start + len(sheet.shift)], sheet.shift)
    return [None if v == -np.inf else v for v in out.tolist()]


def _alarm(found: Any) -> Alarm:
    return found if isinstance(found, Alarm) else Alarm(**found)


def _opened(open_: Mapping[str, Any], key: str, found: NDArray[Any]) -> NDArray[Any]:
    """Counts of pieces, the first with those of the window that was open."""
    if key in open_ and len(found):
        found[0] = found[0] + np.asarray(open_[key], found.dtype)
    return found


class _Cuts:
    """A batch's pieces in turns of a few rows: their bounds, each one's piece and group."""

    def __init__(self, bounds: list[int], piece: NDArray[np.int64], group: NDArray[np.int64]):
        self.bounds, self.piece, self.group = bounds, piece, group


def _turns(bounds: list[int], pieces: list[windows.Piece]) -> _Cuts:
    """Rows take turns in the groups, a few at a time; which ones is by their place in the window, however the log is cut into batches."""
    cuts: list[int] = [bounds[0]]
    piece: list[int] = []
    group: list[int] = []
    for i, p in enumerate(pieces):
        at, place = p.start, p.window.rows - (p.stop - p.start)
        while at < p.stop or (cuts[-1] == p.start and (not piece or piece[-1] < i)):
            # Large windows take longer turns, so that there are not more of them than it takes.
            turn = _TURN if place < _TURN * GROUPS * 16 else _TURN * 64
            step = min(turn - place % turn, p.stop - at)
            piece.append(i)
            group.append(place // turn % GROUPS)
            at, place = at + step, place + step
            cuts.append(at)
    return _Cuts(cuts, np.asarray(piece, np.int64), np.asarray(group, np.int64))


def _summed(found: Counts, piece: NDArray[np.int64], pieces: int) -> Counts:
    out = np.zeros((pieces, found.shape[1] if found.ndim > 1 else 0), np.int64)
    np.add.at(out, piece, found)
    return out


def _grouped(found: Counts, cuts: _Cuts, pieces: int) -> Counts:
    out = np.zeros((pieces, GROUPS, found.shape[1]), np.int64)
    np.add.at(out, (cuts.piece, cuts.group), found)
    return out


def _named(part: Part, column: pa.Array, bounds: list[int]) -> Counts:
    place = {v: i for i, v in enumerate(part.bins["values"])}
    coded = column.dictionary_encode()
    other = len(place)
    bins = np.array([other + 1 if not v else place.get(v, other) for v in coded.dictionary.to_pylist()] + [other + 1], np.int64)
    found = bins[coded.indices.fill_null(len(bins) - 1).to_numpy(zero_copy_only=False)]
    pieces = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    flat = np.bincount(pieces * (other + 2) + found[bounds[0] : bounds[-1]], minlength=(len(bounds) - 1) * (other + 2))
    return flat.reshape(-1, other + 2).astype(np.int64)


def _numbered(part: Part, column: pa.Array, bounds: list[int]) -> Counts:
    from sluice.fields.parts import floats, sorted_counts

    return sorted_counts(floats(column), np.asarray(part.bins["edges"], dtype=np.float64), bounds)
