"""An endpoint is asked with deadlines, retries and a budget, and a key is told to nobody else."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.core.errors import ProjectError
from sluice.llm.budget import Budget, Price
from sluice.llm.endpoint import Endpoint, Timeouts
from sluice.llm.failures import (
    BadAnswer,
    BreakerOpen,
    BudgetSpent,
    Cut,
    EndpointError,
    Limited,
    Refused,
    ServerFault,
    TimedOut,
    Unreachable,
)
from sluice.llm.protocol import Completion
from sluice.llm.resilience import Breaker, Retry, retry_after
from tests.support.endpoint import Script, Scripted

KEY = "sk-not-a-real-key-0123456789"
ONCE = Retry(attempts=1)
QUICK = Retry(attempts=3, base=0.001, cap=0.002, reserve=1000)


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def always(play: str) -> Script:
    return lambda body, n: play


def test_an_answer_says_what_it_took() -> None:
    with Scripted().serving() as played:
        endpoint = Endpoint(played.url, "small", price=Price(1000, 2000))
        found = endpoint.complete(ask("what is 1 + 1, please?"), {"temperature": 0})
        again = endpoint.complete(ask("and 2 + 2"), {"temperature": 0})
    assert (found.text, found.model, found.finish_reason, found.attempts) == ("what is 1 + 1, please?", "played-1", "stop", 1)
    assert (found.tokens_in, found.tokens_out, found.counted) == (22, 22, True)
    assert found.cost == pytest.approx(22 * 0.001 + 22 * 0.002)
    assert found.first_token_seconds is None and found.seconds < 5 and again.text == "and 2 + 2"
    assert played.bodies[0] == {"model": "small", "messages": ask("what is 1 + 1, please?"), "temperature": 0, "stream": False}


def test_a_stream_comes_in_pieces_and_ends_with_the_whole() -> None:
    with Scripted().serving() as played:
        *pieces, whole = Endpoint(played.url, "small").stream(ask("a text of more than one piece"))
    assert len(pieces) > 2 and "".join(map(str, pieces)) == "a text of more than one piece"
    assert isinstance(whole, Completion) and whole.text == "a text of more than one piece" and whole.tokens_out == 29
    assert whole.first_token_seconds is not None and 0 < whole.first_token_seconds <= whole.seconds


def test_coroutines_share_an_endpoint_with_threads() -> None:
    with Scripted().serving() as played:
        endpoint = Endpoint(played.url, "small")

        async def many() -> list[str]:
            found = await asyncio.gather(*(endpoint.acomplete(ask(f"c{i}")) for i in range(20)))
            return [c.text for c in found]

        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(lambda i: endpoint.complete(ask(f"t{i}")).text, range(20)))
        assert texts == [f"t{i}" for i in range(20)] and asyncio.run(many()) == [f"c{i}" for i in range(20)]
        endpoint.close()


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        ("429", Limited),
        ("500", ServerFault),
        ("503", ServerFault),
        ("400", Refused),
        ("cut head", Cut),
        ("cut body", Cut),
        ("bad json", BadAnswer),
        ("no choice", BadAnswer),
        ("huge", BadAnswer),
        ("not http", BadAnswer),
        ("hang", TimedOut),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_is_told_by_its_class_within_the_deadline(play: str, kind: type[EndpointError], stream: bool) -> None:
    with Scripted(always(play)).serving() as played:
        endpoint, begun = Endpoint(played.url, "small", retry=ONCE), time.monotonic()
        with pytest.raises(kind) as caught:
            list(endpoint.stream(ask("a question of some length"), deadline=0.5)) if stream else endpoint.complete(ask("q"), deadline=0.5)
    assert time.monotonic() - begun < 1.5 and caught.value.attempts == 1
    assert (caught.value.field or "").startswith(f"endpoint {played.url.split('/')[2]}") and caught.value.fix, "which one, and what to do"


def test_nothing_listens() -> None:
    with pytest.raises(Unreachable) as caught:
        Endpoint("http://127.0.0.1:9/v1", "small", retry=ONCE).complete(ask("q"))
    assert "endpoint.url" in str(caught.value)


def test_a_fault_that_passes_is_tried_again_and_one_of_the_caller_is_not() -> None:
    script: dict[int, str] = {0: "500", 1: "cut body"}
    with Scripted(lambda body, n: script.get(n, "ok")).serving() as played:
        assert Endpoint(played.url, "small", retry=QUICK).complete(ask("q")).attempts == 3
    with Scripted(always("400")).serving() as played:
        with pytest.raises(Refused):
            Endpoint(played.url, "small", retry=QUICK).complete(ask("q"))
        assert played.asked["q"] == 1


def test_a_stream_whose_first_piece_is_out_is_not_begun_again() -> None:
    with Scripted(always("cut body")).serving() as played:
        pieces: list[Any] = []
        with pytest.raises(Cut):
            pieces.extend(Endpoint(played.url, "small", retry=QUICK).stream(ask("a question of some length")))
        assert pieces == ["a quest"] and played.asked["a question of some length"] == 1


def test_it_waits_as_long_as_it_is_asked_or_says_that_it_cannot() -> None:
    with Scripted(lambda body, n: "429 wait" if n == 0 else "ok").serving() as played:
        begun = time.monotonic()
        assert Endpoint(played.url, "small", retry=QUICK).complete(ask("q")).attempts == 2
        assert time.monotonic() - begun >= 1
    with Scripted(always("429 wait")).serving() as played:
        endpoint, begun = Endpoint(played.url, "small", retry=QUICK), time.monotonic()
        for _ in range(2):  # the second call knows what the first was told
            with pytest.raises(Limited) as caught:
                endpoint.complete(ask("q"), deadline=0.5)
        assert time.monotonic() - begun < 0.9 and caught.value.retry_after and played.asked["q"] == 1


def test_retries_of_all_calls_have_a_budget() -> None:
    with Scripted(always("500")).serving() as played:
        endpoint = Endpoint(played.url, "small", retry=Retry(3, 0.001, 0.002, ratio=0.1, reserve=4), breaker=Breaker(10**6))
        for _ in range(40):
            with pytest.raises(ServerFault):
                endpoint.complete(ask("q"))
    assert 44 <= played.asked["q"] <= 40 + 4 + 4


def test_an_endpoint_that_fails_is_left_alone_and_asked_once_later() -> None:
    down = True
    with Scripted(lambda body, n: "500" if down else "ok").serving() as played:
        endpoint = Endpoint(played.url, "small", retry=ONCE, breaker=Breaker(failures=3, seconds=0.2))
        for _ in range(3):
            with pytest.raises(ServerFault):
                endpoint.complete(ask("q"))
        with pytest.raises(BreakerOpen) as caught:
            endpoint.complete(ask("q"))
        assert played.asked["q"] == 3 and caught.value.retry_after
        time.sleep(0.25)
        with pytest.raises(ServerFault):  # the one that is let through
            endpoint.complete(ask("q"))
        with pytest.raises(BreakerOpen):
            endpoint.complete(ask("q"))
        down = False
        time.sleep(0.45)
        assert endpoint.complete(ask("q")).text == "q" and endpoint.complete(ask("q")).text == "q"


def test_a_budget_is_never_exceeded_by_many_threads_and_every_fault(tmp_path: Any) -> None:
    plays = ("ok", "cut body", "bad json", "500", "no usage", "429", "hang", "slow")
    with Scripted(lambda body, n: plays[n % 8], hangs=0.4).serving() as played:
        limit = 6_000
        shared = [Budget(tokens=limit, path=tmp_path / "spent") for _ in range(2)]
        endpoints = [Endpoint(played.url, "small", retry=QUICK, breaker=Breaker(10**6), budget=b) for b in shared]

        def one(i: int) -> str:
            try:
                return endpoints[i % 2].complete(ask(f"q{i}"), {"max_tokens": 4}, deadline=0.3).text
            except EndpointError as e:
                return e.kind

        with ThreadPoolExecutor(24) as pool:
            found = list(pool.map(one, range(240)))
        assert played.billed <= shared[0].spent[0] <= limit
    assert found.count("budget") > 20 and {"timeout"} < set(found)
    assert all(text in (f"q{i}", "timeout", "cut", "bad_answer", "server_error", "limited", "budget") for i, text in enumerate(found))


def test_what_was_not_used_of_a_reservation_comes_back() -> None:
    with Scripted().serving() as played:
        budget = Budget(cost=1.0)
        endpoint = Endpoint(played.url, "small", price=Price(0, 1e6), budget=budget)
        endpoint.complete(ask("q"), {"max_tokens": 1})
        assert budget.spent == (2, 1.0)
        with pytest.raises(BudgetSpent, match=r"budget\.cost: 1 of 1 is spent, and a call may cost"):
            endpoint.complete(ask("q"), {"max_tokens": 1})
        assert budget.spent == (2, 1.0) and played.asked["q"] == 1


def test_a_key_is_sent_and_told_to_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with Scripted(lambda body, n: "400" if n else "ok", answer=lambda q: f"you sent {KEY}").serving() as played:
        endpoint = Endpoint(played.url, "small", "MY_KEY")
        assert endpoint.complete(ask("q")).text == "you sent ***" and played.headers["authorization"] == f"Bearer {KEY}"
        with pytest.raises(Refused) as caught:
            endpoint.complete(ask("q"))
        assert KEY not in f"{caught.value!r} {caught.value.to_dict()} {endpoint!r} {vars(endpoint)}" and "***" in str(caught.value)
        (tmp_path / "key").write_text("another\n")
        with pytest.raises(Refused):
            Endpoint(played.url, "small", key_file=tmp_path / "key").complete(ask("q"))
        assert played.headers["authorization"] == "Bearer another"


@pytest.mark.parametrize("value", ["", "two words", "line\nbreak", "ключ"])
def test_a_key_that_is_none_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(ProjectError) as caught:
        Endpoint("http://127.0.0.1:9/v1", "small", "MY_KEY").complete(ask("q"))
    assert "MY_KEY" in str(caught.value) and (not value or value not in str(caught.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://x/v1", True),
        ("localhost:8000", True),
        ("http://", True),
        ("http://me:pass@host/v1", False),
        ("https://h/v1?api_key=s3cret", False),
    ],
)
def test_a_url_that_is_none_or_holds_a_key_is_refused(url: str, shown: bool) -> None:
    with pytest.raises(ProjectError) as caught:
        Endpoint(url, "small")
    assert "endpoint.url" in str(caught.value) and ((url in str(caught.value)) is shown)


def test_a_key_in_the_place_of_its_name_is_not_shown() -> None:
    with pytest.raises(ProjectError) as caught:
        Endpoint("http://h/v1", "small", KEY)
    assert "key_env" in str(caught.value) and KEY not in str(caught.value)


@pytest.mark.parametrize("parameters", [{"n": 2}, {"stream": True}, {"model": "other"}])
def test_what_is_not_the_callers_is_no_parameter(parameters: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, match="parameters"):
        Endpoint("http://127.0.0.1:9/v1", "small").complete(ask("q"), parameters)


def test_a_wait_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after("3") == 3 and retry_after("soon") is None and retry_after(None) is None and retry_after("nan") is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_silent_stream_ends_at_what_it_may_be_silent() -> None:
    with Scripted(always("hang")).serving() as played, pytest.raises(TimedOut):
        list(Endpoint(played.url, "small", retry=ONCE, timeouts=Timeouts(first=0.2)).stream(ask("q"), deadline=20))
