"""What one look at a prediction log gave."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from serving.controller.monitors.resource import Monitor
from sluice.monitor.retrain import Event


@dataclasses.dataclass(frozen=True)
class Watched:
    """The model that is watched: where its package lies, and its digest (64 digits)."""

    uri: str
    digest: str

    @property
    def version(self) -> str:
        """As the log and the metrics name it."""
        return self.digest[:12]


@dataclasses.dataclass(frozen=True)
class Quality:
    """Of the newest window with labels.

    Attributes:
        metric, value: it; low, high: of its 95 % interval, where it has one. rows: labelled ones in the window.
        below: whether all of the interval is worse than the floor; why: in words then.
        share: of the predictions looked at that are labelled. cut: whether older ones were left out, for the bytes of the log.
        risen: that answers are wrong more often than they were, in words, or "". unwatched: why that is not known, or "".
        maybe: that they may be, which is not beyond doubt yet, in words, or "".
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0
    below: bool = False
    why: str = ""
    share: float | None = None
    cut: bool = False
    risen: str = ""
    unwatched: str = ""
    maybe: str = ""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one look gave, with all that came before it.

    Attributes:
        memory: what the next look starts from. looked: when it was. events: of windows that closed, and how many labelled rows there are.
        rows, windows, labelled: so far. newest: the time of the newest prediction read, and `newest_label`: of the newest with a label.
        more: there is more to be read at once. anew: windows are counted from 0 again: nothing was read before, or by other settings.
        drift: of the last window, the score of the feature that moved most, `feature`. scores: feature -> (method, score).
        quality: of the newest window with labels; None before there is one. unjudged: why quality cannot be judged, or "". alarms: (when, in words) raised by this look. drifted: why an alarm stands, or "".
        faults: parts that could not be read, in words.
    """

    memory: bytes
    looked: float
    events: tuple[Event, ...] = ()
    rows: int = 0
    windows: int = 0
    labelled: int = 0
    newest: float | None = None
    newest_label: float | None = None
    more: bool = False
    anew: bool = False
    drift: float | None = None
    feature: str = ""
    scores: dict[str, tuple[str, float]] = dataclasses.field(default_factory=dict)
    quality: Quality | None = None
    unjudged: str = ""
    alarms: tuple[tuple[float, str], ...] = ()
    drifted: str = ""
    faults: tuple[str, ...] = ()


class Reader(Protocol):
    """Reads on in a log."""

    def __call__(self, item: Monitor, model: Watched, memory: bytes | None) -> Seen:
        """One look of at most `item.most` rows.

        Args:
            memory: what the look before left; None: nothing was read yet.

        Raises:
            SluiceError: the log, or the package, cannot be read now.
        """
