"""Changes of texts."""

from __future__ import annotations

import random
import re
import string
from typing import Any

from sluice.fields.changes.change import Change
from sluice.fields.field import Field


class _OfTexts(Change):
    of = "texts"

    def fits(self, field: Field) -> bool:
        return field.words


class Replace(_OfTexts):
    """Words by others, as whole words in any case: ``{Anna: [Ahmed, Mei]}``; each other word is a variant."""

    def __init__(self, argument: Any):
        if not isinstance(argument, dict) or not argument:
            raise ValueError("takes {word: another}, or {word: [others]}")
        self.words = {str(k): [str(w) for w in (v if isinstance(v, list) else [v])] for k, v in argument.items()}
        if any(isinstance(v, dict) for v in argument.values()) or not all(self.words.values()):
            raise ValueError("takes {word: another}, or {word: [others]}")

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        out = []
        for word, others in self.words.items():
            whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
            if whole.search(str(value)):
                out += [whole.sub(other.replace("\\", r"\\"), str(value)) for other in others]
        return out


class Typos(_OfTexts):
    """So many slips of the finger: two neighbouring letters swapped, one left out, doubled or another."""

    def __init__(self, argument: Any):
        if isinstance(argument, bool) or not isinstance(argument, int) or not 1 <= argument <= 20:
            raise ValueError(f"takes how many, 1 to 20, not {argument!r}")
        self.many = argument

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        letters = list(str(value))
        for _ in range(self.many):
            at = [i for i in range(len(letters) - 1) if letters[i].isalpha() and letters[i + 1].isalpha()]
            if not at:
                return []
            i, how = chance.choice(at), chance.randrange(4)
            if how == 0:
                letters[i], letters[i + 1] = letters[i + 1], letters[i]
            elif how == 1:
                del letters[i]
            elif how == 2:
                letters.insert(i, letters[i])
            else:
                letters[i] = chance.choice(string.ascii_lowercase)
        return [] if "".join(letters) == value else ["".join(letters)]


class Case(_OfTexts):
    """``upper`` or ``lower``."""

    def __init__(self, argument: Any):
        if argument not in ("upper", "lower"):
            raise ValueError(f"takes upper or lower, not {argument!r}")
        self.upper = argument == "upper"

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        made = str(value).upper() if self.upper else str(value).lower()
        return [] if made == value else [made]


class Append(_OfTexts):
    """A text behind it; of a list each."""

    def __init__(self, argument: Any):
        self.texts = argument if isinstance(argument, list) else [argument]
        if not self.texts or not all(isinstance(t, str) and t for t in self.texts):
            raise ValueError("takes a text, or a list of texts")

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        return [f"{value}{text}" for text in self.texts]


class Prepend(Append):
    """A text before it; of a list each."""

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        return [f"{text}{value}" for text in self.texts]
