"""What files of one kind of field look like, for sources that list or hold them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Files:
    """Files whose bytes are values of a field.

    Attributes:
        word: what one is called: ``image``.
        forms: the formats that are read, as people call them.
        read: the endings of their names, in lower case with the dot.
        other: endings of files of the same kind in formats that are not read.
        starts: what their bytes begin with, one for each format.
        limit: most bytes; no server takes more.
    """

    word: str
    forms: tuple[str, ...]
    read: frozenset[str]
    other: frozenset[str]
    starts: tuple[bytes, ...]
    limit: int

    @property
    def either(self) -> str:
        """The formats in words: ``PNG or JPEG``."""
        return " or ".join(self.forms)

    @property
    def neither(self) -> str:
        """``neither PNG nor JPEG``."""
        return f"neither {' nor '.join(self.forms)}"

    @property
    def one(self) -> str:
        """``an image``."""
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"
