"""Changes of numbers, and of any column."""

from __future__ import annotations

import random
from typing import Any

from sluice.fields.changes.change import Change, number_of
from sluice.fields.field import Field


class Set(Change):
    """Another value; null: missing. Of a list each of its values."""

    of = "a column of a table"

    def __init__(self, argument: Any):
        self.values = argument if isinstance(argument, list) else [argument]
        if not self.values or any(isinstance(v, dict | list) for v in self.values):
            raise ValueError("takes a value, or a list of values")

    def fits(self, field: Field) -> bool:
        return not field.blob

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        return [v for v in self.values if v != value]


class Add(Change):
    """A number more."""

    of = "numbers"

    def __init__(self, argument: Any):
        self.by = number_of(argument, "a number")

    def fits(self, field: Field) -> bool:
        return field.quantity

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        return [float(value) + self.by]


class Scale(Change):
    """So many times the number."""

    of = "numbers"

    def __init__(self, argument: Any):
        self.by = number_of(argument, "a number")

    def fits(self, field: Field) -> bool:
        return field.quantity

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        return [float(value) * self.by]
