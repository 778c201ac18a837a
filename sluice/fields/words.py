"""A field of free texts beside other columns of a record: a row's words and pairs of neighbouring words, as one string for the graph to split."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError
from sluice.fields.column import Column, ColumnField
from sluice.fields.text import LIMIT_CHARACTERS, Text

if TYPE_CHECKING:
    from sluice.fields.changes.disturbances import Disturbance

#: Characters and words of a text that are looked at.
_MOST_CHARACTERS, _MOST_WORDS = 8000, 400
#: A sign of a script without spaces stands alone; of others a run of letters or digits is a word.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class Words(ColumnField, Text):
    """Texts that are one column among others. Where one is missing the row has no words."""

    kind = "words"
    lacks = ""
    options = ()

    @classmethod
    def processor(cls) -> None:  # type: ignore[override]
        """None: a text that is a row alone is of the kind ``text``."""

    def disturbances(self) -> Mapping[str, Disturbance]:
        """A text's, and a missing cell."""
        from sluice.fields.changes.disturbances import CELLS, TEXTS

        return {**TEXTS, **CELLS}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """One of strings: `tokens`."""
        return [(column.tensor, "BYTES")]

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """`tokens` of each text, numbers as they are written."""
        out = np.empty((rows, 1), dtype=object)
        out[:, 0] = [""] * rows if values is None else [tokens(_text(v, i, column.name)) for i, v in enumerate(values)]
        return {column.tensor: out}


def tokens(text: str) -> str:
    """A text's words in small letters, then each two neighbours with ``_`` between them, all parted by a space."""
    plain = unicodedata.normalize("NFKC", text[:_MOST_CHARACTERS]).lower()
    words = _WORD.findall(plain)[:_MOST_WORDS]
    return " ".join([*words, *(f"{a}_{b}" for a, b in zip(words, words[1:], strict=False))])


def _text(value: Any, i: int, name: str) -> str:
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, int | float | np.number):
        return str(value)
    if not isinstance(value, str):
        raise InputError("is not a text", field=f"rows[{i}].{name}", value=value, fix="send a string, or null when it is missing")
    if len(value) > LIMIT_CHARACTERS:
        raise InputError(
            f"has more than {LIMIT_CHARACTERS} characters", field=f"rows[{i}].{name}", value=len(value), fix="send a shorter text"
        )
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InputError(
            "is not valid Unicode", field=f"rows[{i}].{name}", value=value[:100], fix="send whole code points, no lone surrogates"
        ) from e
    return value
