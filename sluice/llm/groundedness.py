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

from sluice.llm.words import FORMS, NEGATIONS, NUMBERS, OPPOSITES, STOP, WIDE

if TYPE_CHECKING:
    from sluice.llm.encoder import Encoder

#: From here on a claim counts as supported.
THRESHOLD = 0.5
#: What is left of a support where something speaks against it; where two sentences are needed; how much the order of words decides, over how many words.
_AGAINST, _GOES_ON, _TWO, _ORDER, _WINDOW = 0.35, 0.9, 0.6, 0.3, 2
_CLAUSE = re.compile(r"[,;:.]| because | but | although | though | while | unless | whereas | and (?=it |they |he |she )")
_PRONOUNS = frozenset(["it", "its", "he", "she", "his", "her", "they", "their", "this", "these", "that", "such", "there", "both"])
_CONTRAST = re.compile(r"(?:,| but),? (?:but )?not (?:an? |the )?\w+(?=[,.;]|$)|, rather than [^,.;]+|instead of [^,.;]+")
_TURNS = {"from": "to", "to": "from", "before": "after", "after": "before", "until": "from", "since": "until"}
_ENDINGS = (
    ("ization", 4), ("ations", 4), ("ation", 4), ("ments", 4), ("ment", 4), ("ings", 3), ("ing", 3), ("edly", 3), ("ies", 2), ("ied", 2), ("ed", 3),
    ("es", 3), ("ly", 4), ("s", 3), ("e", 3), ("y", 4),
)  # fmt: skip
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])|\n+")
_CITED = re.compile(r"\[[^\]\n]{1,200}\]")
_WORD = re.compile(r"[A-Za-zÀ-ÿ]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


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


def _apart(span: str) -> float:
    """What is left of a support that needs two sentences: most where the second one goes on about the first, else less."""
    each = sentences(span)
    if len(each) < 2:
        return 1.0
    return _GOES_ON if each[1].split()[0].casefold() in _PRONOUNS else _TWO


def _read(text: str) -> str:
    """A text with the month told from the verb, and without what it says is not so (``of wood, not stone``)."""
    return _CONTRAST.sub("", re.sub(r"(?<=[\w,;:] )May\b", "Mayday", text))


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
    return 0.5 * score + 0.5 * meant * (_AGAINST if why else 1.0)


def _by_words(text: str, span: str, counts: Counter[str], n: int) -> tuple[float, str]:
    two, text, span = _apart(span), _read(text), _read(span)
    ours, theirs = _content(text), _content(span)
    there = set(theirs)
    weight = {w: math.log(1 + (n + 1) / (1 + counts.get(w, 0))) for w in set(ours)}
    covered = sum(v for w, v in weight.items() if w in there or _near(w, there)) / (sum(weight.values()) or 1.0)
    why = _against(text, span, ours, there)
    joined = _joined(ours, theirs)
    score = covered * (1 - _ORDER + _ORDER * joined) * two
    return score * (_AGAINST if why else 1.0), why


def _joined(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The share of neighbours in a claim that are near each other in the source, too: in the same order whole, in the other a half."""
    at: dict[str, list[int]] = {}
    for i, word in enumerate(theirs):
        at.setdefault(word, []).append(i)
    found = []
    for a, b in zip(ours, ours[1:], strict=False):
        if a in at and b in at and a != b:
            gaps = [j - i for i in at[a] for j in at[b]]
            found.append(1.0 if any(0 < g <= _WINDOW for g in gaps) else 0.5 if any(-_WINDOW <= g < 0 for g in gaps) else -1.0)
    return max(0.0, sum(found) / len(found)) if found else 1.0


def _against(text: str, span: str, ours: list[str], there: set[str]) -> str:
    """What of a claim a sentence contradicts or does not have: a number, a name, a negation, an opposite, a wide word."""
    numbers = set(_numbers(text)) - set(_numbers(span))
    if numbers:
        return f"{', '.join(sorted(numbers)[:3])} is not in it"
    names = [w for w in _names(text) if w not in there and not _near(w, there)]
    if names:
        return f"{', '.join(names[:3])} is not in it"
    if _negated(text) != _negated(_clause(span, ours)):
        return "one says it is so, the other that it is not"
    wide = WIDE & set(_words(text)) - {"never"}
    if wide and not WIDE & set(_words(span)):
        return f"{', '.join(sorted(wide))} says more than it does"
    if turned := _turned(text, span):
        return turned
    own = set(ours)
    for a, b in OPPOSITES:
        for one, other in ((_stem(a), _stem(b)), (_stem(b), _stem(a))):
            if one in own and other in there and one not in there and other not in own:
                return f"{one} against {other}"
    return ""


def _turned(text: str, span: str) -> str:
    """Whether what comes from, or before, something in one goes to it, or comes after it, in the other."""
    ours, theirs = _words(text), _words(span)
    held = set(zip(theirs, theirs[1:], strict=False))
    for a, b in zip(ours, ours[1:], strict=False):
        if (other := _TURNS.get(a)) and (other, b) in held and (a, b) not in held:
            return f"{a} {b} against {other} {b}"
    return ""


def _content(text: str) -> list[str]:
    return [_stem(w) for w in _words(text) if w not in STOP and w not in NEGATIONS]


def _words(text: str) -> list[str]:
    return [w.casefold() for w in _WORD.findall(text)]


@functools.lru_cache(65_536)
def _stem(word: str) -> str:
    """A word's usual form, without the commonest English endings."""
    if word[0].isdigit():
        return word.replace(",", "")
    word = word.removesuffix("'s")
    word = FORMS.get(word, word)
    word = NUMBERS.get(word, word)
    for ending, least in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= least and not (ending == "s" and word.endswith("ss")):
            cut = word[: -len(ending)]
            return FORMS.get(cut, FORMS.get(cut + "e", cut)).removesuffix("e")
    return word


def _near(word: str, there: set[str]) -> bool:
    """Whether a word has the beginning of another: forms that endings do not explain."""
    if len(word) < 5 or word[0].isdigit():
        return False
    return any(len(t) >= 5 and abs(len(t) - len(word)) <= 4 and _begins(word, t) for t in there)


def _begins(a: str, b: str) -> bool:
    most = max(5, min(len(a), len(b)) - 2)
    return a[:most] == b[:most]


def _numbers(text: str) -> list[str]:
    found = [m.replace(",", "").rstrip(".") for m in _NUMBER.findall(text)]
    return found + [NUMBERS[w] for w in _words(text) if w in NUMBERS and w not in ("one", "second", "hundred")]


def _names(text: str) -> list[str]:
    """Words in capitals inside a sentence."""
    return [_stem(w.casefold()) for w in re.findall(r"(?<=[\w,;:] )([A-Z][A-Za-zÀ-ÿ]+)", text) if w.casefold() not in STOP]


def _clause(span: str, ours: list[str]) -> str:
    """The part of a sentence that a claim is about, where one part has most of what both say."""
    parts = [p for p in _CLAUSE.split(span) if p and p.strip()]
    shared = [len(set(ours) & set(_content(p))) for p in parts]
    best = max(range(len(parts)), key=shared.__getitem__, default=0)
    return parts[best] if parts and shared[best] > sum(shared) / 2 else span


def _negated(text: str) -> bool:
    return sum(w in NEGATIONS or w.endswith("n't") for w in _words(text)) % 2 == 1
