"""Answers that were given are known: the last ones in a table of fixed size, older ones and other replicas' by their receipt."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from serving.runtime.cli import _secret
from serving.runtime.errors import NotFound, RequestError
from serving.runtime.http.outside import FORWARDED, check_feedback, keep_inside
from serving.runtime.logs.answers import WAYS, Answers
from sluice.core.errors import SluiceError
from sluice.problems.problem import problem


def test_what_was_answered_is_known_with_its_rows_and_nothing_else() -> None:
    answers = Answers(places=1 << 10)
    for i in range(100):
        answers.add("m", f"r{i}", i + 1)
    assert [answers.rows("m", f"r{i}") for i in range(100)] == [i + 1 for i in range(100)]
    assert answers.rows("m", "r100") is None and answers.rows("other", "r1") is None


def test_the_memory_is_bounded_and_forgets_the_oldest_first() -> None:
    places = 1 << 10
    answers = Answers(places=places)
    for i in range(20 * places):
        answers.add("m", str(i), 1)
    known = [i for i in range(20 * places) if answers.rows("m", str(i))]
    assert len(known) <= places and min(known) > 16 * places
    last = range(20 * places - places // 4, 20 * places)
    assert sum(i in set(known) for i in last) > 0.99 * len(last)
    assert answers._table.size == places and answers._table.shape[1] == WAYS


def test_a_fork_shares_what_is_known() -> None:
    answers = Answers(places=1 << 10)
    if not (pid := os.fork()):
        answers.add("m", "from the child", 3)
        os._exit(0)
    os.waitpid(pid, 0)
    assert answers.rows("m", "from the child") == 3


def test_replicas_that_share_the_token_know_each_others_receipts_and_no_one_elses() -> None:
    one, two, stranger = Answers("0123456789abcdef"), Answers("0123456789abcdef"), Answers()
    receipt = one.receipt("m", "r", 5).decode()
    assert two.rows("m", "r", receipt) == 5 and stranger.rows("m", "r", receipt) is None
    bad = [receipt.replace("5-", "6-", 1), receipt[:-1], "", "-", "5-", "x" * 1000, "\u0665-" + receipt[2:], "9" * 5000 + "-ab"]
    assert [two.rows("m", "r", b) for b in bad] == [None] * len(bad)
    assert two.rows("m2", "r", receipt) is two.rows("m", "r2", receipt) is None


def test_remembering_an_answer_costs_microseconds() -> None:
    answers, begun = Answers(), time.process_time()
    for i in range(2000):
        answers.add("m", str(i), 1)
        answers.receipt("m", str(i), 1)
    assert (time.process_time() - begun) / 2000 < 100e-6


@pytest.mark.parametrize("name", FORWARDED)
def test_a_forwarded_request_finds_nothing_that_is_for_inside(name: bytes) -> None:
    with pytest.raises(NotFound):
        keep_inside({name: b""}, "/metrics")
    with pytest.raises(RequestError) as e:
        check_feedback({name: b""}, None)
    assert e.value.status == 403
    check_feedback({name: b"", b"authorization": b"Bearer 0123456789abcdef"}, "0123456789abcdef")


@pytest.mark.parametrize("given", [None, b"", b"Bearer", b"Bearer x", b"Basic 0123456789abcdef", b"Bearer 0123456789abcdeF"])
def test_a_server_with_a_token_wants_it_from_everybody(given: bytes | None) -> None:
    with pytest.raises(RequestError) as e:
        check_feedback({} if given is None else {b"authorization": given}, "0123456789abcdef")
    assert e.value.status == 401


def test_a_token_is_read_from_a_file_or_the_environment_and_is_no_password_of_four_letters(tmp_path: Any, monkeypatch: Any) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef0\n")
    assert _secret(str(path)) == "0123456789abcdef0" and _secret(None) is None
    monkeypatch.setenv("SLUICE_FEEDBACK_TOKEN", "f" * 20)
    assert _secret(None) == "f" * 20
    path.write_text("abcd")
    for bad in (str(path), str(tmp_path / "none")):
        with pytest.raises(SluiceError):
            _secret(bad)


REFERENCE = {"min": -2.0, "max": 50.0}


@pytest.mark.parametrize(
    ("name", "labels", "answer", "kept"),
    [
        ("regression", [], 3, "3.0"),
        ("regression", [], "2.5", "2.5"),
        ("regression", [], 50_000, "50000.0"),
        ("arrays", ["0", "1"], [1, 2.5], "[1.0,2.5]"),
        ("arrays", ["0", "1"], "[1, 2]", "[1.0,2.0]"),
        ("multilabel", ["a", "b"], ["b", "a"], '["b","a"]'),
        ("multilabel", ["a", "b"], "a", '["a"]'),
        ("multilabel", ["a", "b"], [], "[]"),
        ("transcription", ["a"], "aa", "aa"),
    ],
)
def test_what_can_be_true_is_kept_as_a_text(name: str, labels: list[str], answer: Any, kept: str) -> None:
    assert problem(name).heard(answer, labels, REFERENCE) == kept


@pytest.mark.parametrize(
    ("name", "labels", "answer"),
    [
        ("regression", [], 1e200),
        ("regression", [], 50_001),
        ("regression", [], "inf"),
        ("regression", [], True),
        ("regression", [], None),
        ("regression", [], 10**400),
        ("arrays", ["0", "1"], [1]),
        ("arrays", ["0", "1"], [1, 1e200]),
        ("arrays", ["0", "1"], [1, float("nan")]),
        ("multilabel", ["a", "b"], ["c"]),
        ("multilabel", ["a", "b"], [1]),
        ("transcription", ["a"], {"a": 1}),
    ],
)
def test_what_cannot_be_true_is_refused(name: str, labels: list[str], answer: Any) -> None:
    with pytest.raises(ValueError):
        problem(name).heard(answer, labels, REFERENCE)


def test_a_value_far_from_all_training_rows_is_refused_with_what_they_have() -> None:
    with pytest.raises(ValueError, match=r"training rows have -2 to 50"):
        problem("regression").heard(1e9, [], REFERENCE)
    assert problem("regression").heard(1e9, [], {}) == "1000000000.0"
