"""What a change of a raw value is."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sluice.fields.field import Field


class Change(ABC):
    """One change.

    Args:
        argument: as it is written behind the word.

    Raises:
        ValueError: the argument is none of such a change.

    Attributes:
        of: what it changes, in words.
    """

    of: ClassVar[str]

    @abstractmethod
    def __init__(self, argument: Any): ...

    @abstractmethod
    def fits(self, field: Field) -> bool:
        """Whether values of a field can be so changed."""

    @abstractmethod
    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        """A raw value (none that is missing) changed, in each way there is; empty where there is nothing to change in it.

        Args:
            value: of a row.
            chance: the only source of it.
        """


def number_of(argument: Any, what: str) -> float:
    """An argument that is a number. Raises `ValueError`."""
    if isinstance(argument, bool) or not isinstance(argument, int | float):
        raise ValueError(f"takes {what}, not {argument!r}")
    return float(argument)
