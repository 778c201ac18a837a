"""One text for one value: what a category or a class is called, whatever type and program it comes from.

A flag is ``True`` in a CSV that pandas wrote, a bool in Parquet, ``true`` or ``1`` in JSON, 1.0 in a
tensor of FP32. Its text here is ``true``. A whole number is its digits, all of them; another number is
the shortest decimal that reads back as the same number of its type.

A text says so only where its column does: `Spelling.of` looks at a column's values once, when the
data is read, and what it finds goes with the model, so that a server reads as training did.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

BOOLEAN, NUMBER, TEXT = "boolean", "number", "text"
KINDS = (BOOLEAN, NUMBER, TEXT)

_WORDS = {"true": "true", "false": "false"}
_DIGIT_OF, _WORD_OF = {"true": "1", "false": "0"}, {"1": "true", "0": "false"}
#: No plus and no leading zero: ``+49`` and ``007`` name something, they count nothing.
_PLAIN = re.compile(r"(-?)(?:(0|[1-9][0-9]*)(?:\.([0-9]*))?|\.([0-9]+))")
_EXPONENT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)[eE][+-]?[0-9]{1,4}")
#: How programs write large floats: one digit before the point. Such a text is that float, whose digits are more than those shown.
_SCIENTIFIC = re.compile(r"-?[1-9](?:\.[0-9]*)?[eE]")
#: How programs write floats of themselves: 1e+16, 2.5e-07. ``1E5`` may be the name of a thing.
_WRITTEN_BY_FLOATS = re.compile(r"e[+-][0-9]{2,}")
#: A whole number as a float is written.
_WHOLE_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.0")
#: Characters of a number that is read as one, and decimal places between it and one: beyond any float.
_LONGEST = 400


def boolean_text(text: str) -> str | None:
    """``true`` or ``false`` for a text that says so in any case, else None."""
    return _WORDS.get(text.strip().lower()) if len(text) <= _LONGEST else None


def number_text(text: str) -> str | None:
    """The one text of the number a text spells, None where it spells none.

    ``1.0``, ``1.`` and ``1e0`` give ``1``; ``0.50`` gives ``0.5``. No digit is lost, however many there are.
    """
    if len(text) > _LONGEST:
        return None
    text = text.strip()
    found = _PLAIN.fullmatch(text)
    if found:
        return _plain(found[1], found[2] or "0", found[3] or found[4] or "")
    if not _EXPONENT.fullmatch(text):
        return None
    exact, near = Decimal(text), float(text)
    if _SCIENTIFIC.match(text) and math.isfinite(near) and Decimal(repr(near)) == exact:
        return _of_float(near, repr(near))
    return _of_decimal(exact)


def label_now(text: str) -> str:
    """What a class is called today that a model made before labels had one spelling calls by `text`: ``True`` is true, ``1.0`` is 1."""
    return boolean_text(text) or (text[:-2] if _WHOLE_FLOAT.fullmatch(text) else text)


def value_text(value: Any) -> str:
    """The text of a value that is no text: booleans, whole numbers, floats, decimals, dates and times; "" for None and NaN.

    Raises:
        ValueError: infinite, or of a type that has no text; the message says which.
    """
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return _of_float(float(value), str(value) if isinstance(value, np.floating) else repr(value))
    if isinstance(value, Decimal):
        if value.is_nan():
            return ""
        text = _of_decimal(value) if value.is_finite() else None
        if text is None:
            raise ValueError("is infinite" if value.is_infinite() else "is out of range")
        return text
    if isinstance(value, datetime.date | datetime.time):
        return str(value)  # as pandas writes it in a CSV
    raise ValueError("is not a category")


@dataclasses.dataclass(frozen=True)
class Spelling:
    """How a column of categories, or the classes of a label, are spelled.

    Attributes:
        kind: ``boolean`` (1 and 0 are true and false), ``number`` (texts of numbers are those numbers, true
            and false are 1 and 0), or ``text`` (texts stay as they are).
        written: of a column of texts: how it spells the booleans and numbers it holds otherwise than this
            module, by their text here: ``{"1": "1.0"}``, ``{"true": "True"}``, ``{"7": "007"}``. None where
            it spells one in several ways.
    """

    kind: str
    written: Mapping[str, str | None] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[str]) -> Spelling:
        """The spelling of a column with these different values (blank ones do not count).

        Booleans: every value is true, false, 1 or 0, and one is a word. Numbers: every value is a number
        without a leading zero or plus, and no two that name something else (``1.1`` and ``1.10``, ``1E5``
        and ``100000``) would become one. Texts: anything else.
        """
        texts = [v for v in values if v and not v.isspace()]
        words = [boolean_text(v) for v in texts]
        numbers = [number_text(v) for v in texts]
        if any(words) and all(w or n in _WORD_OF for w, n in zip(words, numbers, strict=True)):
            return cls(BOOLEAN)
        if texts and None not in numbers and _count_things(dict(zip(texts, numbers, strict=True))):
            return cls(NUMBER)
        return cls(TEXT, _written(texts))

    @classmethod
    def kept(cls, values: Iterable[str]) -> Spelling:
        """The spelling of values that are to stay as they are: those of a dataset, or the labels of a model."""
        texts = [v for v in values if v and not v.isspace()]
        found = cls.of(texts)
        return found if all(found.text(v) == v for v in texts) else cls(TEXT, _written(texts))

    def text(self, value: Any) -> str:
        """The category a value names, "" for what is missing: None, NaN and blank texts.

        Raises:
            ValueError: as `value_text`; or a number that the column spells in several ways.
        """
        if isinstance(value, str):
            if not value or value.isspace():
                return ""
            if self.kind == TEXT:
                return str(value)
            word, number = boolean_text(value), number_text(value)
            if self.kind == BOOLEAN:
                return word or _WORD_OF.get(number or "") or str(value)
            return number or _DIGIT_OF.get(word or "") or str(value)
        text = value_text(value)
        if self.kind == BOOLEAN:
            return _WORD_OF.get(text, text)
        if self.kind == NUMBER:
            return _DIGIT_OF.get(text, text)
        found = self.written.get(text, text)
        if found is None:
            raise ValueError("is spelled in several ways in this column, so a text must say which is meant")
        return found


def _plain(sign: str, whole: str, fraction: str) -> str:
    fraction = fraction.rstrip("0")
    if not fraction:
        return "0" if whole == "0" else sign + whole
    text = f"{sign}{whole}.{fraction}"
    short = repr(float(text))
    # 0.0000001 is 1e-07 to every program that writes floats; a number of more digits than a float has keeps them.
    return short if short == text or ("e-" in short and Decimal(short) == Decimal(text)) else text


def _of_float(value: float, shortest: str) -> str:
    """`shortest`: its decimal digits, which for float32 are fewer than those of the same number as float64."""
    if math.isnan(value):
        return ""
    if math.isinf(value):
        raise ValueError("is infinite")
    if value.is_integer():
        return str(int(value))
    exact = Decimal(shortest)
    return _plain("-" if exact.is_signed() else "", *format(exact.copy_abs(), "f").split("."))


def _of_decimal(value: Decimal) -> str | None:
    if abs(value.adjusted()) > _LONGEST:
        return None if value else "0"
    whole, _, fraction = format(value.copy_abs(), "f").partition(".")
    return _plain("-" if value.is_signed() else "", whole, fraction)


def _count_things(numbers: Mapping[str, str | None]) -> bool:
    """Whether texts that all look like numbers may be taken for them. `numbers`: text -> the number's one text."""
    places = {len(v.strip().partition(".")[2]) for v in numbers if "e" not in v.lower()}
    many: dict[str | None, int] = {}
    for number in numbers.values():
        many[number] = many.get(number, 0) + 1
    for text, number in numbers.items():
        text = text.strip()
        if "e" in text.lower():
            if many[number] > 1 and not _WRITTEN_BY_FLOATS.search(text):
                return False
        elif "." in str(number) and text.endswith("0") and len(places) > 1:
            return False  # no float is written 1.10; beside 1.2 it is a version, a section, a house on a street
    return True


def _written(texts: list[str]) -> dict[str, str | None]:
    there = set(texts)
    out: dict[str, str | None] = {}
    for text in texts:
        plain = boolean_text(text) or number_text(text) or _without_zeros(text)
        if plain and plain not in there:
            out[plain] = text if out.get(plain, text) == text else None
    # A column says either true or 1; a client may say the other.
    for pairs in (_DIGIT_OF, _WORD_OF):
        if not any(said in there or said in out for said in pairs):
            for said, other in pairs.items():
                if other in there or other in out:
                    out[said] = other if other in there else out[other]
            break
    return out


def _without_zeros(text: str) -> str | None:
    digits = text.strip()
    return number_text(digits.lstrip("0") or "0") if digits.isascii() and digits.isdigit() else None
