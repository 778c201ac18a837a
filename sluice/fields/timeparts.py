"""What a model is given of a time: year, month, day of the week, hour, minute, and its age."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sluice.core.errors import InputError, PackageError
from sluice.fields.timestamps import TimeForm, iso
from sluice.fields.zones import MISSING, Zone

#: Parts of a time: numbers; cycles, which are categories with sine and cosine beside them; cycles that are no categories.
NUMBERS, CYCLES, WAVES = ("year", "age", "time_of_day"), ("month", "weekday", "hour"), ("minute",)
PARTS = (*NUMBERS, *CYCLES, *WAVES)

_DAY, _HOUR, _MINUTE = 86_400_000_000, 3_600_000_000, 60_000_000
_TEXTS = np.array([str(i) for i in range(32)], dtype=object)


@dataclasses.dataclass(frozen=True)
class TimeColumn:
    """What a package keeps of a column of times.

    Attributes:
        form: how it is written, and in which zone it is read.
        reference: the newest training row's time, microseconds of the wall clock; null where none had one.
        parts: of `PARTS`: what the model is given.
    """

    form: TimeForm
    reference: int | None
    parts: tuple[str, ...]

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> TimeColumn:
        """Read `spec` of a column. Raises `PackageError`."""
        parts = spec.get("parts")
        if not isinstance(parts, list) or not parts or not set(parts) <= set(PARTS) or len(set(parts)) != len(parts):
            raise PackageError("must be a list of parts of a time", field=f"{where}.parts", value=parts, fix=f"of {', '.join(PARTS)}")
        zone = Zone.load(spec["zone"], f"{where}.zone") if spec.get("zone") is not None else Zone()
        try:
            form = TimeForm(str(spec["form"]), zone)
            at = spec.get("reference")
            reference = None if at is None else int(TimeForm("iso").read([str(at)], 1, "reference")[0])
        except (KeyError, TypeError, ValueError, OverflowError, InputError) as e:
            raise PackageError("is not how a time is written", field=where, value={k: spec.get(k) for k in ("form", "reference")}) from e
        return cls(form, reference, tuple(parts))

    def spec(self) -> dict[str, Any]:
        """Its settings in a package's column: what `load` reads."""
        return {
            "form": self.form.form,
            **({"zone": self.form.zone.spec()} if self.form.zone.name != "UTC" else {}),
            "reference": None if self.reference is None else iso(self.reference),
            "parts": list(self.parts),
        }

    def inputs(self, name: str) -> list[tuple[str, str]]:
        """The graph's inputs for a column of this name: (input, datatype), in order."""
        out = []
        for part in self.parts:
            if part in CYCLES:
                out.append((f"{name}.{part}", "BYTES"))
            if part in NUMBERS:
                out.append((f"{name}.{part}", "FP32"))
            else:
                out += [(f"{name}.{part}_sin", "FP32"), (f"{name}.{part}_cos", "FP32")]
        return out

    def tensors(self, wall: np.ndarray, name: str) -> dict[str, np.ndarray]:
        """The tensors of `inputs`, each [rows, 1], for times [rows] of the wall clock (`TimeForm.read`); NaN and "" where there is none."""
        missing: np.ndarray | None = wall == MISSING
        known = wall
        if missing is not None and missing.any():
            known = np.where(missing, 0, wall)
        else:
            missing = None
        out: dict[str, np.ndarray] = {}
        for part in self.parts:
            if part in NUMBERS:
                out[f"{name}.{part}"] = _column(self._number(known, part), missing)
                continue
            if part in CYCLES:
                texts = _TEXTS[whole(known, part)]
                out[f"{name}.{part}"] = (texts if missing is None else np.where(missing, "", texts).astype(object)).reshape(-1, 1)
            angle = 2 * np.pi * _turn(known, part)
            out[f"{name}.{part}_sin"], out[f"{name}.{part}_cos"] = _column(np.sin(angle), missing), _column(np.cos(angle), missing)
        return out

    def _number(self, known: np.ndarray, part: str) -> np.ndarray:
        if part == "year":
            return whole(known, "year").astype(np.float64)
        if part == "time_of_day":
            return (known % _DAY) / _HOUR
        return np.full(len(known), np.nan) if self.reference is None else (known - self.reference) / _DAY


def whole(wall: np.ndarray, part: str) -> np.ndarray:
    """A part as a whole number, int64 [rows]: year; month from 1; day of the week from 1 (Monday); hour; minute."""
    if part == "hour":
        return (wall % _DAY) // _HOUR
    if part == "minute":
        return (wall // _MINUTE) % 60
    if part == "weekday":
        return (wall // _DAY + 3) % 7 + 1
    months = wall.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return months // 12 + 1970 if part == "year" else months % 12 + 1


def parts_of(wall: np.ndarray, dated: bool) -> tuple[str, ...]:
    """The parts that vary in times [rows] that are known; a column of one time, or none, has its age alone."""
    names = ("year", "month", "weekday", "hour", "minute") if dated else ("hour", "minute")
    vary = tuple(n for n in names if len(wall) and (found := whole(wall, n)).min() != found.max())
    return (*vary, "age" if dated else "time_of_day")


def _turn(known: np.ndarray, part: str) -> np.ndarray:
    """How far round its cycle a part has come, in [0, 1): smooth where what is below it varies."""
    if part == "month":
        days = known.astype("datetime64[us]").astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        day = (days - months.astype("datetime64[D]")).astype(np.int64)
        return np.asarray((months.astype(np.int64) % 12 + day / 31) / 12)
    if part == "weekday":
        return (whole(known, "weekday") - 1) / 7
    size = _DAY if part == "hour" else _HOUR
    return np.asarray((known % size) / size)


def _column(values: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    return (values if missing is None else np.where(missing, np.nan, values)).astype(np.float32).reshape(-1, 1)
