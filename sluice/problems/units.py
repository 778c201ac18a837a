"""Which rows belong together: what is independent is the unit (a user, a patient, a series), not the row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

#: A dataset's column of the group each row was split by, where one was; no feature. Null: the row stands alone.
GROUP = "__group"


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """The unit of each row. Rows of one unit may depend on each other in any way, units do not.

    Attributes:
        of: what one is called: the column that tells them (``patient``).
        codes: int64 [rows], from 0 to the number of units without a gap.
    """

    of: str
    codes: np.ndarray

    @classmethod
    def told(cls, of: str, keys: Sequence[Any]) -> Units | None:
        """Units by equal keys, a key a row; a row whose key is None stands alone. None where every row does."""
        seen: dict[Any, int] = {}
        codes = [seen.setdefault(("alone", i) if key is None else key, len(seen)) for i, key in enumerate(keys)]
        return cls(of, np.array(codes, dtype=np.int64)).or_rows()

    def told_as(self) -> dict[str, Any]:
        """As evidence: ``unit``, what one is called, and ``units``, how many there are."""
        return {"unit": self.of, "units": self.count}

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.codes.max()) + 1 if len(self.codes) else 0

    @property
    def effective(self) -> float:
        """How many rows these are worth where those of a unit are all alike: (sum n)^2 / sum n^2 over the units' sizes n (Kish 1965); at most `count`."""
        sizes = self.sizes()
        return float(sizes.sum() ** 2 / np.square(sizes).sum())

    def or_rows(self) -> Units | None:
        """Itself, or None where every unit is one row: then rows are counted, as ever."""
        return None if self.count == len(self.codes) else self

    def rows(self, chosen: np.ndarray) -> Units | None:
        """The units of some rows (a mask or indices); None where each of them is a unit."""
        codes = np.unique(self.codes[chosen], return_inverse=True)[1]
        return Units(self.of, codes.astype(np.int64)).or_rows()

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Values [rows, ...] summed within each unit: float64 [units, ...]."""
        flat = np.asarray(values, dtype=np.float64).reshape(len(self.codes), -1)
        summed = np.stack([np.bincount(self.codes, flat[:, k], self.count) for k in range(flat.shape[1])], axis=1)
        return summed.reshape(self.count, *np.shape(values)[1:])

    def sizes(self) -> np.ndarray:
        """Rows of each unit, float64 [units]."""
        return np.bincount(self.codes, minlength=self.count).astype(np.float64)
