"""Time zones as a package keeps them."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import functools
from typing import Any

import numpy as np

from sluice.core.errors import PackageError

#: Microseconds for no time at all: numpy's NaT.
MISSING = int(np.iinfo(np.int64).min)
_SECOND = 1_000_000


@dataclasses.dataclass(frozen=True)
class Zone:
    """A time zone's rule, as a package keeps it: no table of the world's zones is needed to serve.

    Attributes:
        name: of the IANA database, or ``UTC``.
        starts: seconds since 1970 (UTC) from which the next offset holds, rising.
        offsets: seconds east of UTC; one more than `starts`.
    """

    name: str = "UTC"
    starts: tuple[int, ...] = ()
    offsets: tuple[int, ...] = (0,)

    @classmethod
    @functools.lru_cache(64)
    def named(cls, name: str) -> Zone:
        """The rule of a zone from 1900 to 2100. Raises `ValueError`: no such zone."""
        import zoneinfo

        if name == "UTC":
            return cls()
        try:
            zone = zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as e:
            raise ValueError(f"{name!r} is no time zone of the IANA database, such as Europe/Berlin") from e

        def offset(second: int) -> int:
            at = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)
            return int((at.astimezone(zone).utcoffset() or datetime.timedelta()).total_seconds())

        first, last, week = -2_208_988_800, 4_102_444_800, 604_800
        starts: list[int] = []
        offsets = [offset(first)]
        for low in range(first, last, week):
            high = low + week
            if offset(high) != offsets[-1]:
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
                starts.append(high)
                offsets.append(offset(high))
        return cls(name, tuple(starts), tuple(offsets))

    @classmethod
    def load(cls, spec: Any, where: str) -> Zone:
        """Read `spec`. Raises `PackageError`."""
        try:
            zone = cls(str(spec["name"]), tuple(int(s) for s in spec["starts"]), tuple(int(o) for o in spec["offsets"]))
        except (TypeError, KeyError, ValueError) as e:
            raise PackageError("is not the rule of a time zone", field=where, value=spec) from e
        if len(zone.offsets) != len(zone.starts) + 1 or list(zone.starts) != sorted(zone.starts):
            raise PackageError("is not the rule of a time zone", field=where, value=spec)
        return zone

    def spec(self) -> dict[str, Any]:
        """What `load` reads: plain JSON values."""
        return {"name": self.name, "starts": list(self.starts), "offsets": list(self.offsets)}

    def local(self, instant: int) -> int:
        """Microseconds of the wall clock at an instant, microseconds since 1970 in UTC."""
        return instant + self.offsets[bisect.bisect_right(self.starts, instant // _SECOND)] * _SECOND

    def locals(self, instants: np.ndarray) -> np.ndarray:
        """The same for int64 [rows]; `MISSING` stays what it is."""
        shift = np.asarray(self.offsets, np.int64)[np.searchsorted(np.asarray(self.starts, np.int64), instants // _SECOND, side="right")]
        return np.where(instants == MISSING, MISSING, instants + np.where(instants == MISSING, 0, shift * _SECOND))
