"""Whether what an answer claims stands in its sources: sentence by sentence, by words, numbers, names and negations, and by a small encoder where there is one.

A claim is a sentence. Its support is the best over the sources' sentences (and pairs of neighbours) of the share of its words, weighed by how rare
they are in the sources, that the sentence has, cut down where a number, a name or a negation of the claim has no counterpart. In the manner of
lexical entailment baselines (Dagan et al., Recognizing Textual Entailment, 2009); with an encoder its cosine is averaged in.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice.llm.encoder import Encoder

#: From here on a claim counts as supported.
THRESHOLD = 0.6
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])|\n+")
_CITED = re.compile(r"\[[^\]\n]{1,200}\]")
_WORD = re.compile(r"[A-Za-zÀ-ÿ]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "and",
        "or",
        "as",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "has",
        "have",
        "had",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "their",
        "they",
        "he",
        "she",
        "his",
        "her",
        "you",
        "your",
        "we",
        "our",
        "i",
        "do",
        "does",
        "did",
        "will",
        "would",
        "can",
        "could",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "there",
        "which",
        "who",
        "whom",
        "whose",
        "what",
        "when",
        "where",
        "how",
        "also",
        "than",
        "then",
        "so",
        "such",
        "into",
        "over",
        "under",
        "about",
        "per",
        "each",
        "any",
        "all",
        "some",
        "more",
        "most",
    ]
)
_NEGATIONS = frozenset(
    [
        "no",
        "not",
        "never",
        "none",
        "nobody",
        "nothing",
        "neither",
        "nor",
        "without",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "aren't",
        "wasn't",
        "weren't",
        "won't",
    ]
)
_WORDS_OF_NUMBERS = {
    w: str(i)
    for i, w in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "twice": "2", "once": "1", "dozen": "12"}
#: Words of which one takes the other's place in a claim that is wrong.
_OPPOSITES = [
    ("increase", "decrease"), ("rise", "fall"), ("before", "after"), ("first", "last"), ("open", "close"), ("more", "fewer"), ("more", "less"),
    ("high", "low"), ("maximum", "minimum"), ("north", "south"), ("east", "west"), ("always", "never"), ("accept", "reject"), ("allow", "forbid"),
    ("include", "exclude"), ("free", "paid"), ("hot", "cold"), ("warm", "cold"), ("large", "small"), ("long", "short"), ("old", "new"), ("early", "late"),
    ("above", "below"), ("left", "right"), ("win", "lose"), ("start", "end"), ("begin", "end"), ("buy", "sell"), ("enter", "leave"), ("arrive", "depart"),
    ("male", "female"), ("public", "private"), ("required", "optional"), ("safe", "dangerous"), ("cheap", "expensive"), ("fast", "slow"), ("heavy", "light"),
    ("wet", "dry"), ("up", "down"), ("morning", "evening"), ("day", "night"), ("winter", "summer"), ("oldest", "newest"), ("largest", "smallest"),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of an answer.

    Attributes:
        text: its sentence.
        support: from 0 to 1.
        source: the sentence that supports it best.
        why: what speaks against it; empty where nothing does.
    """

    text: str
    support: float
    source: str
    why: str = ""

    @property
    def supported(self) -> bool:
        """At or above `THRESHOLD`."""
        return self.support >= THRESHOLD


def claims(answer: str, sources: Sequence[str], encoder: Encoder | None = None) -> list[Claim]:
    """Each sentence of an answer that claims something, with its support; questions and sentences without content words claim nothing."""
    found = [s for s in sentences(_CITED.sub("", answer)) if not s.endswith("?") and _content(s)]
    spans = _spans(sources)
    weights = _weights(spans)
    return [_claim(text, spans, weights, encoder) for text in found]


def support(claim: str, source: str, encoder: Encoder | None = None) -> float:
    """How far a source supports one claim, from 0 to 1."""
    spans = _spans([source])
    return _claim(claim, spans, _weights(spans), encoder).support


def sentences(text: str) -> list[str]:
    """A text's sentences; a line is one as well."""
    return [s.strip() for s in _SENTENCE.split(text) if s.strip()]


def _spans(sources: Sequence[str]) -> list[str]:
    """Sentences, and each with the one behind it."""
    out = []
    for source in sources:
        each = sentences(source)
        out += each + [f"{a} {b}" for a, b in zip(each, each[1:], strict=False)]
    return out


def _weights(spans: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for span in spans:
        counts.update(set(_content(span)))
    return counts


def _claim(text: str, spans: Sequence[str], counts: Counter[str], encoder: Encoder | None) -> Claim:
    if not spans:
        return Claim(text, 0.0, "", "there is no source")
    near = _cosines(text, spans, encoder) if encoder is not None else None
    best = Claim(text, -1.0, "")
    for i, span in enumerate(spans):
        score, why = _by_words(text, span, counts, len(spans))
        if near is not None:
            score = _with_meaning(score, near[i], why)
        if score > best.support:
            best = Claim(text, score, span, why)
    return best


def _cosines(text: str, spans: Sequence[str], encoder: Encoder) -> list[float]:
    vectors = encoder.encode([text, *spans])
    return [max(0.0, float(v)) for v in vectors[1:] @ vectors[0]]


def _with_meaning(score: float, cosine: float, why: str) -> float:
    """Words and meaning together: what is said in other words counts, what contradicts does not."""
    meant = min(1.0, max(0.0, (cosine - 0.2) / 0.6))
    return 0.5 * score + 0.5 * meant * (0.35 if why else 1.0)


def _by_words(text: str, span: str, counts: Counter[str], n: int) -> tuple[float, str]:
    ours, theirs = _content(text), _content(span)
    there = set(theirs)
    weight = {w: math.log(1 + (n + 1) / (1 + counts.get(w, 0))) for w in set(ours)}
    covered = sum(v for w, v in weight.items() if w in there or _near(w, there)) / (sum(weight.values()) or 1.0)
    against = _against(text, span, ours, there)
    return covered * (0.35 if against else 1.0), against


def _against(text: str, span: str, ours: list[str], there: set[str]) -> str:
    """What of a claim a sentence contradicts or does not have: a number, a name, a negation, an opposite."""
    numbers = set(_numbers(text)) - set(_numbers(span))
    if numbers:
        return f"{', '.join(sorted(numbers)[:3])} is not in it"
    names = [w for w in _names(text) if w not in there and not _near(w, there)]
    if names:
        return f"{', '.join(names[:3])} is not in it"
    if _negated(text) != _negated(span):
        return "one says it is so, the other that it is not"
    own = set(ours)
    for a, b in _OPPOSITES:
        for one, other in ((a, b), (b, a)):
            one, other = _stem(one), _stem(other)
            if one in own and other in there and one not in there:
                return f"{one} against {other}"
    return ""


def _content(text: str) -> list[str]:
    return [_stem(w) for w in _words(text) if w not in _STOP and w not in _NEGATIONS]


def _words(text: str) -> list[str]:
    return [w.casefold() for w in _WORD.findall(text)]


@functools.lru_cache(65_536)
def _stem(word: str) -> str:
    """A word without the commonest English endings."""
    if word[0].isdigit():
        return word.replace(",", "")
    word = _WORDS_OF_NUMBERS.get(word, word).removesuffix("'s")
    for ending, least in (
        ("ization", 4),
        ("ations", 4),
        ("ation", 4),
        ("ments", 4),
        ("ment", 4),
        ("ings", 3),
        ("ing", 3),
        ("edly", 3),
        ("ies", 2),
        ("ied", 2),
        ("ed", 3),
        ("es", 3),
        ("ly", 4),
        ("s", 3),
        ("e", 4),
        ("y", 4),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= least and not (ending == "s" and word.endswith("ss")):
            return word[: -len(ending)]
    return word


def _near(word: str, there: set[str]) -> bool:
    """Whether a word has the beginning of another: forms that endings do not explain."""
    if len(word) < 5 or word[0].isdigit():
        return False
    return any(
        len(t) >= 5
        and t[: max(4, min(len(word), len(t)) - 2)] == word[: max(4, min(len(word), len(t)) - 2)]
        and abs(len(t) - len(word)) <= 4
        for t in there
    )


def _numbers(text: str) -> list[str]:
    found = [m.replace(",", "").rstrip(".") for m in _NUMBER.findall(text)]
    return found + [_WORDS_OF_NUMBERS[w] for w in _words(text) if w in _WORDS_OF_NUMBERS and w not in ("one", "once")]


def _names(text: str) -> list[str]:
    """Words in capitals inside a sentence."""
    return [_stem(w.casefold()) for w in re.findall(r"(?<=[a-z,;:] )([A-Z][A-Za-zÀ-ÿ]+)", text) if w.casefold() not in _STOP]


def _negated(text: str) -> bool:
    return sum(w in _NEGATIONS or w.endswith("n't") for w in _words(text)) % 2 == 1
