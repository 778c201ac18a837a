"""A model's log watched from where the last look stopped: state, cursor and what was found are kept in one file, written whole.

Killed at any moment, the next look goes on from the file: a batch counts once, since the state and the cursor behind it are written together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.monitor import keep
from sluice.monitor.config import MonitorConfig
from sluice.monitor.drift import DriftMonitor
from sluice.monitor.log import PredictionLog
from sluice.monitor.verdict import Verdict

FORMAT = "sluice.monitor/v1"
#: Windows that are kept for pictures, batches between two writes of the file.
KEPT, _EVERY = 300, 50


@dataclasses.dataclass(frozen=True)
class Look:
    """What a look at a log found.

    Attributes:
        verdicts: of windows that closed with it.
        raised, ended: alarms that began, and that ended, with it, in words.
        standing: alarms that stand behind it, each as `Alarm` in plain JSON.
        history: the last windows, the oldest first, each ``window``, ``rows``, ``begun``, ``ended``, ``score``, ``alarms`` and ``parts``: name -> score, limit, moved.
        last: the last window's verdict in plain JSON; None: no window has closed yet.
        rows: read in all. windows: closed in all. open: rows of the window that is open. new_rows: read with this look.
        faults: parts of the log that could not be read.
    """

    verdicts: list[Verdict]
    raised: list[str]
    ended: list[str]
    standing: list[dict[str, Any]]
    history: list[dict[str, Any]]
    last: dict[str, Any] | None
    rows: int
    windows: int
    open: int
    new_rows: int
    faults: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {k: v for k, v in vars(self).items() if k != "verdicts"} | {"decision": "refuse" if self.standing else "pass"}


class Watch:
    """One version of a model, its log, and where what was found is kept.

    Args:
        profile: of its training rows. config: `monitor:`.
        log: where its predictions are.
        kept: a file, or ``s3://bucket/key``.

    Raises:
        DataError: not a profile, or what is kept cannot be read.
    """

    def __init__(self, profile: Mapping[str, Any], config: MonitorConfig, log: PredictionLog, kept: str | Path):
        self.monitor, self.log, self.kept = DriftMonitor(profile, config), log, str(kept)

    def begin(self) -> dict[str, Any]:
        """What is kept before any look."""
        return {"format": FORMAT, "cursor": None, "state": self.monitor.begin(), "history": [], "last": None}

    def look(self, *, again: bool = False, most: int | None = None) -> Look:
        """Read on, judge what closed, keep it.

        Args:
            again: from the beginning of the log, whatever is kept. most: rows, about.

        Raises:
            DataError: the log, or what is kept, cannot be read; or other settings than before: begin again.
        """
        kept = self.begin() if again else self._read()
        verdicts: list[Verdict] = []
        rows, count, since = 0, 0, 0
        for batch, cursor in self.log.read(kept["cursor"], columns=self.monitor.columns, most=most):
            state, found = self.monitor.feed(kept["state"], batch)
            kept = {**kept, "state": state, "cursor": cursor}
            verdicts, rows, count, since = [*verdicts, *found][-KEPT:], rows + batch.num_rows, count + 1, since + len(found)
            if count % _EVERY == 0:
                kept, since = self._with(kept, verdicts[max(len(verdicts) - since, 0) :]), 0
                keep.write(self.kept, kept)
        kept = self._with(kept, verdicts[max(len(verdicts) - since, 0) :])
        kept = {**kept, "cursor": self.log.cursor if most is None else kept["cursor"]}
        keep.write(self.kept, kept)
        return Look(
            verdicts,
            [a.text for v in verdicts for a in v.raised],
            [a.text for v in verdicts for a in v.ended_alarms],
            list((kept["last"] or {}).get("standing", ())),
            kept["history"],
            kept["last"],
            kept["state"]["rows"],
            kept["state"]["windows"],
            kept["state"]["open"]["rows"],
            rows,
            self.log.faults,
        )

    def _with(self, kept: dict[str, Any], found: list[Verdict]) -> dict[str, Any]:
        history = [*kept["history"], *map(_brief, found)][-KEPT:]
        return {**kept, "history": history, "last": found[-1].to_dict() if found else kept["last"]}

    def _read(self) -> dict[str, Any]:
        found = keep.read(self.kept, FORMAT) or self.begin()
        # Another profile or other settings: what was counted into other bins says nothing of these.
        return found if found["state"].get("reference") == self.monitor.reference else self.begin()


def _brief(verdict: Verdict) -> dict[str, Any]:
    plain = verdict.to_dict()
    return {
        **{k: plain[k] for k in ("window", "rows", "begun", "ended", "score")},
        "alarms": [a["text"] for a in plain["raised"]],
        "parts": {s.name: [p["score"], p["limit"], s.moved] for s, p in zip(verdict.scores, plain["scores"], strict=True)},
    }
