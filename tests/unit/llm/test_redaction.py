"""Personal data and keys are found by rules, and what only looks like them is left."""

from __future__ import annotations

import time

import pytest

from sluice.llm.redaction import found, redacted
from sluice.llm.rules import Toxicity, refuses


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to anna.b+x@mail.example.co.uk, please", "write to [e-mail], please"),
        ("Write to <o'neil@example.com>.", "Write to <[e-mail]>."),
        ("call +49 (0)89 1234-5678 or (415) 555-2671", "call [phone] or [phone]"),
        ("415-555-2671, 0171 2345678, +14155552671", "[phone], [phone], [phone]"),
        ("card 4111 1111 1111 1111, exp 12/27", "card [card], exp 12/27"),
        ("5500005555555559 and 3782-822463-10005", "[card] and [card]"),
        ("to DE89 3704 0044 0532 0130 00 today", "to [iban] today"),
        ("GB82WEST12345698765432 AND MORE", "[iban] AND MORE"),
        ("my ssn is 078-05-1120", "my ssn is [ssn]"),
        ("key sk-proj-abcdefghijklmnop1234, AKIAIOSFODNN7EXAMPLE", "key [key], [key]"),
        ("password: hunter22secret; api_key='0123456789abc'", "[key]; [key]'"),
        ("Authorization: Bearer abcdefghijklmnop123456", "Authorization: [key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\nx", "[key]\nx"),
    ],
)
def test_what_is_personal_goes(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "On 2026-11-30 at 12:15:00 it was 3.14159265358979",
        "4111 1111 1111 1112 is no card, DE89370400440532013901 no account",
        "version 1.2.3.4, order 20261130123456, 1,234,567 rows, 10000000000",
        "user@localhost and @handle; a@b",
        "the password is kept; a token: yes",
        "0000000000000000",
        "sk-short, pages 100-200-300",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redacted(text) == text, found(text)


@pytest.mark.parametrize(
    "unit", ["a.", "1 ", "4 ", "eyJaaaaaaaaaa.", "AB12 ", "+1 ", "@a", "(1) ", "-----BEGIN PRIVATE KEY-----", "password:"]
)
def test_no_text_takes_long(unit: str) -> None:
    begun = time.process_time()
    found(unit * (100_000 // len(unit)))
    assert time.process_time() - begun < 2.5


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide medical advice.", True),
        ("As an AI language model, I am not able to do this.", True),
        ("I\u2019m unable to assist with this request", True),
        ("Das tut mir leid, das kann ich leider nicht.", True),
        ("Ich kann dir dabei nicht helfen.", True),
        ("You cannot return it after 30 days.", False),
        ("Sorry for the delay! Your order is on its way.", False),
        ("The answer is 4." + " Padding." * 50 + " I cannot help with that.", False),
    ],
)
def test_refusals_are_told_from_answers(text: str, is_one: bool) -> None:
    assert refuses(text) is is_one


def test_insults_are_found_as_whole_words() -> None:
    rules = Toxicity(("blockhead",))
    assert rules.found("You stupid BLOCKHEAD, go die") == ["stupid", "BLOCKHEAD", "go die"]
    assert rules.found("Scunthorpe is a town; the moronity of it") == []
