"""How a text file of rows is written: its separator, quotes, header line and encoding, as far as that is declared."""

from __future__ import annotations

import csv
import dataclasses

#: Separators that are found out, and what to call them.
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        delimiter: one character; null: found out from the file's name and its first rows.
        quote: a quote at the beginning of a cell opens it (`"`), is text (``none``), or whichever fits the file (``auto``).
        header: whether the first line has the columns' names; or the names, where there is no such line.
        encoding: a codec of Python's.
        skip: lines before the rows, where the names do not stand in the file as they are.
    """

    delimiter: str | None = None
    quote: str = "auto"
    header: bool | tuple[str, ...] = True
    encoding: str = "utf-8"
    skip: int = 0

    @property
    def declared(self) -> list[str]:
        """Names of the settings that are not as they are by default."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]

    @property
    def quoted(self) -> bool:
        """Whether cells may stand in quotes."""
        return self.quote != "none"

    def reader(self, lines: object, strict: bool = False) -> csv._reader:  # type: ignore[name-defined]
        """The csv module's reader of such lines."""
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.delimiter or ",", quoting=quoting, strict=strict)  # type: ignore[arg-type]

    @property
    def separator(self) -> str:
        """What separates the cells, in words."""
        return DELIMITERS.get(self.delimiter or ",", repr(self.delimiter))
