"""Personal data and keys in a text, found by rules: e-mail addresses, phone numbers, cards, IBANs, keys. A name or an address of a street is not found.

Numbers that have a checksum are told by it: cards by Luhn (ISO/IEC 7812-1), IBANs by their remainder modulo 97 (ISO 13616).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Characters looked through of one text; what lies behind is left out of a redacted one.
LIMIT = 200_000


class Found(NamedTuple):
    """A place in a text."""

    kind: str
    start: int
    end: int


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


#: Characters of an IBAN by country (SWIFT's registry); of the others any number that fits the checksum.
_LENGTHS = (
    "AD24 AE23 AT20 BE16 BG22 BR29 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 GB22 GR27 HR21 HU28 IE22 IL23 "
    "IS26 IT27 LI21 LT20 LU20 LV21 MC27 MT31 NL18 NO15 PL28 PT25 RO24 RS22 SA24 SE24 SI19 SK24 SM27 TR26 UA29"
)
_IBANS = {country: int(length) for country, length in re.findall(r"([A-Z]{2})(\d+)", _LENGTHS)}


def _iban(text: str) -> bool:
    plain = text.replace(" ", "").upper()
    return (
        15 <= len(plain) <= 34
        and len(plain) == _IBANS.get(plain[:2], len(plain))
        and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1
    )


def _phone(text: str) -> bool:
    digits = sum(c.isdigit() for c in text)
    return (9 if text.startswith("+") else 10 if text[0].isdigit() and text[0] != "0" else 9) <= digits <= 15


def _any(text: str) -> bool:
    return True


_KEYS = "|".join(
    (
        r"sk-[\w-]{16,200}",
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"gh[pousr]_[A-Za-z0-9]{30,250}",
        r"github_pat_\w{22,250}",
        r"glpat-[\w-]{20,64}",
        r"xox[abeprs]-[\w-]{10,250}",
        r"AIza[\w-]{35}",
        r"hf_[A-Za-z0-9]{30,64}",
        r"eyJ[\w-]{10,2000}\.eyJ[\w-]{5,4000}\.[\w-]{5,2000}",
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)",
        r"(?i:(?:api[_-]?key|password|passwd|secret|access[_-]?token)[\"']?\s{0,3}[:=]\s{0,3}[\"']?[^\s\"',;]{8,200})",
        r"(?i:bearer\s{1,3}[\w.~+/-]{16,2000})",
    )
)
#: In this order: what an earlier rule took, a later one does not look at.
_RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("key", re.compile(rf"(?<![A-Za-z0-9])(?:{_KEYS})"), _any),
    ("e-mail", re.compile(r"(?<![\w.+-])[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}(?!\w)"), _any),
    ("iban", re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])"), _iban),
    ("card", re.compile(r"(?<![\d.])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\d.]\d)(?!\d)"), _luhn),
    ("ssn", re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"), _any),
    (
        "phone",
        re.compile(
            r"(?<![\w.+])(?:\+\d{1,3}[ ./-]?(?:\(0\)[ ./-]?)?(?:\(?\d{1,5}\)?[ ./-]?){1,6}\d{2,8}"
            r"|0\d{1,4}[ /-]\d{2,9}(?:[ /-]\d{2,6}){0,4}|\(\d{2,5}\)[ ./-]?\d{2,5}(?:[ ./-]\d{2,6}){1,3}|\d{3}[ .-]\d{3}[ .-]\d{4})(?!\w)"
        ),
        _phone,
    ),
)
KINDS = tuple(kind for kind, _, _ in _RULES)


def found(text: str) -> list[Found]:
    """Where personal data and keys stand, in order; places do not overlap."""
    taken: list[Found] = []
    text = text[:LIMIT]
    for kind, pattern, is_one in _RULES:
        for start, end in _spans(text, pattern, is_one):
            if not any(start < t.end and t.start < end for t in taken):
                taken.append(Found(kind, start, end))
    return sorted(taken, key=lambda f: f.start)


def _spans(text: str, pattern: re.Pattern[str], is_one: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        # An IBAN or a card may be followed by a word or a number that looks like its end: the longest part with a right checksum is it.
        end = match.end()
        shortest = match.start() + (13 if is_one in (_iban, _luhn) else end - match.start())
        while end >= shortest:
            if text[end - 1] != " " and not text[end : end + 1].isalnum() and is_one(match[0][: end - match.start()]):
                yield match.start(), end
                break
            end -= 1


def redacted(text: str) -> str:
    """The text with ``[e-mail]``, ``[card]``, ... in the place of what was found; cut at `LIMIT`."""
    out, at = [], 0
    for f in found(text):
        out += [text[at : f.start], f"[{f.kind}]"]
        at = f.end
    return "".join([*out, text[at:LIMIT]])
