"""The ledger: what was compared on which held-out rows, and what a further comparison on them pays for it.

A line is written once and never changed. How it is kept is the registry's matter (`sluice.registry.ledger`); here it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from sluice.core import files
from sluice.stats.spending import decline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sluice.data.dataset import Dataset

#: Ids of rows that are kept of a test set: enough to tell the share of rows that two have in common to 6 points.
_SAMPLE = 64
_ALL = 1 << 64
#: Comparisons that a decline is looked for in: what lies further back is forgotten anyway.
_REMEMBERED = 20
FORMAT = "sluice.compared/v1"


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Which rows a comparison is made on.

    Attributes:
        digest: of all their ids, whatever their order.
        rows: how many different ones there are.
        sample: the smallest of their ids as numbers, `_SAMPLE` at most: a uniform sample that two test sets draw alike
            (Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan: Counting distinct elements in a data stream, RANDOM 2002).
    """

    digest: str
    rows: int
    sample: tuple[int, ...]

    @classmethod
    def of(cls, numbers: NDArray[np.uint64]) -> HeldOut:
        """Of rows' ids as numbers, [rows]."""
        import numpy as np

        every = np.unique(numbers)
        return cls(hashlib.sha256(every.astype(">u8").tobytes()).hexdigest(), len(every), tuple(every[:_SAMPLE].tolist()))

    @classmethod
    def test_of(cls, dataset: Dataset) -> HeldOut:
        """Of a dataset's test rows."""
        from sluice.data.draws import id_numbers

        return cls.of(id_numbers(dataset.read("test", ["row_id"]).column("row_id")))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"digest": self.digest, "rows": self.rows, "sample": "".join(f"{i:016x}" for i in self.sample)}

    @classmethod
    def read(cls, raw: Any) -> HeldOut | None:
        """As `to_dict` gave them; None of anything else."""
        try:
            sample = str(raw["sample"])
            return cls(str(raw["digest"]), int(raw["rows"]), tuple(int(sample[i : i + 16], 16) for i in range(0, len(sample), 16)))
        except (KeyError, TypeError, ValueError):
            return None

    def seen_in(self, earlier: HeldOut) -> float:
        """The share of these rows that another test set has too: exact of few rows, of many by the samples."""
        if self.digest == earlier.digest:
            return 1.0
        reach = min(max(h.sample, default=0) if h.rows > len(h.sample) else _ALL for h in (self, earlier))
        if not earlier.rows:
            return 0.0
        own, theirs = [i for i in self.sample if i <= reach], set(earlier.sample)
        return sum(i in theirs for i in own) / len(own) if own else 0.0


@dataclasses.dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        at: milliseconds since 1970.
        rows: on which it was made.
        candidate, champion, anchor: digests; the anchor's is "" where the champion was the anchor.
        metric: by which.
        verdict: against the champion. anchored: against the anchor; "" where there was none beside the champion.
        shift: the difference from the anchor (or the champion that was it) in its standard errors, below 0 where it is worse; 0 where it is not known.
    """

    at: int
    rows: HeldOut
    candidate: str
    champion: str
    anchor: str
    metric: str
    verdict: str
    anchored: str
    shift: float = dataclasses.field(default=0.0, kw_only=True)

    @property
    def key(self) -> str:
        """The same comparison made again has the same."""
        return files.digest_of([self.rows.digest, self.candidate, self.champion, self.anchor, self.metric])[:24]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; of the rows their digest alone."""
        return {"format": FORMAT, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "rows": self.rows.digest}

    @classmethod
    def read(cls, raw: Any, rows: Mapping[str, HeldOut]) -> Line | None:
        """A line as `to_dict` gave it; None of anything else, which a newer version of this or somebody's hand may have left there.

        Args:
            raw: the line. rows: by their digest; of rows that are not among them it is known only whether they are the same.
        """
        try:
            if raw["format"] != FORMAT:
                return None
            held = rows.get(raw["rows"]) or HeldOut(str(raw["rows"]), 0, ())
            told = (str(raw[k]) for k in ("candidate", "champion", "anchor", "metric", "verdict", "anchored"))
            moved = float(raw.get("shift") or 0.0)
            return cls(int(raw["at"]), held, *told, shift=moved if math.isfinite(moved) else 0.0)
        except (KeyError, TypeError, ValueError):
            return None


@dataclasses.dataclass(frozen=True)
class Ledger:
    """All comparisons of one model's name, in their order."""

    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Ledger:
        """In the order in which they were made."""
        return cls(tuple(sorted(lines, key=lambda line: (line.at, line.key))))

    def before(self, rows: HeldOut, candidate: str) -> float:
        """Comparisons of other candidates on these rows; each counts for the share of these rows that it saw."""
        return float(sum(rows.seen_in(line.rows) for line in self._others(candidate)))

    def refused(self, anchor: str, candidate: str) -> int:
        """How many candidates were found worse than an anchor since one was not."""
        found = 0
        for line in reversed(self._with(anchor, candidate)):
            if (line.anchored if line.anchor else line.verdict) != "worse":
                break
            found += 1
        return found

    def decline(self, anchor: str, candidate: str, rows: HeldOut) -> float:
        """What the last comparisons with an anchor show together (`sluice.stats.spending.decline`).

        A comparison counts for the rows that neither the one to come nor one before it has: on the same rows the anchor's own luck would be counted again and again.
        """
        lines = self._with(anchor, candidate)[-_REMEMBERED:]
        known = [rows, *(line.rows for line in lines)]
        return decline((line.shift, 1 - max(line.rows.seen_in(r) for r in known[: i + 1])) for i, line in enumerate(lines))

    def _with(self, anchor: str, candidate: str) -> list[Line]:
        """Comparisons of other candidates with an anchor, also where it was the champion."""
        return [line for line in self._others(candidate) if anchor == (line.anchor or line.champion)]

    def proved(self, champion: str, anchor: str) -> Line | None:
        """The last comparison of a champion with an anchor, when it was a candidate, if it was found better then; else None."""
        for line in reversed(self.lines):
            if line.candidate == champion and anchor in (line.anchor, line.champion if not line.anchor else ""):
                return line if (line.anchored if line.anchor else line.verdict) == "better" else None
        return None

    def _others(self, candidate: str) -> list[Line]:
        """Lines of other candidates, one a candidate and test set: compared again it is the same model."""
        return list({(line.candidate, line.rows.digest): line for line in self.lines if line.candidate != candidate}.values())


def shift(compared: Mapping[str, Any]) -> float:
    """A difference in its standard errors, by its interval; 0 where there is none."""
    if compared.get("low") is None or not compared["high"] > compared["low"]:
        return 0.0
    return float(NormalDist().inv_cdf((1 + compared["confidence"]) / 2) * 2 * compared["difference"] / (compared["high"] - compared["low"]))


def told(before: float, compared: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the rows' past.

    Args:
        before: of `Ledger.before`.
        compared: of `sluice.problems.comparison.compare`.

    Returns:
        ``number`` of this comparison on these rows, ``before``, ``costs`` (times the rows that the same claim took on fresh ones), ``worn``,
        ``said``, a sentence, "" for the first comparison.
    """
    from sluice.stats.spending import WORN

    number, claims = round(1 + before), compared.get("claims")
    first = (1 - compared["confidence"]) / 2
    width = 1.0
    if claims and compared["high"] is not None and compared["high"] > compared["low"]:
        width = (claims["high"] - claims["low"]) / (compared["high"] - compared["low"])
    said = ""
    if before > 0 and claims:
        said = (
            f"comparison {number} on these held-out rows: to be called better or no worse goes by an error level of {claims['level']:.2g}, "
            f"the first one's was {first:.2g}, and takes {width**2:.2g} times the rows it took then"
        )
    worn = width >= WORN
    if worn:
        said = f"warning: the held-out rows are worn: {said}; give it fresh ones: a new data.test file, or data that has new rows"
    return {"number": number, "before": before, "costs": width**2, "worn": worn, "said": said}
