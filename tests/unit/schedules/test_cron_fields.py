"""Cron expressions against croniter, across changes of the clocks, and in Kubeflow Pipelines' own time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core import cron
from sluice.core.cron import CronError

BERLIN, SYDNEY, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Sydney"), ZoneInfo("Asia/Kolkata")


def at(*when: int, where: ZoneInfo | None = None) -> float:
    return datetime(*when, tzinfo=where or UTC).timestamp()  # type: ignore[misc]


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    # croniter takes 0-0 for *
    span = st.tuples(number, number).filter(lambda p: p[0] != p[1]).map(lambda p: f"{min(p)}-{max(p)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 9)).map(lambda p: f"{p[0]}/{p[1]}")
    return st.one_of(
        st.just("*"), number.map(str), span, step, st.lists(st.one_of(number.map(str), span), min_size=1, max_size=3).map(",".join)
    )


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(
        field(0, 59),
        field(0, 23),
        st.one_of(st.just("*"), st.integers(1, 28).map(str)),
        st.just("*"),
        st.one_of(st.just("*"), st.integers(0, 6).map(str)),
    ).map(" ".join),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_ticks_are_cronitors(text: str, now: int) -> None:
    assert cron.parse(text).after(now) == croniter(text, now).get_next(float)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 2 * *", "five fields"),
        ("@daily", "five fields"),
        ("0 24 * * *", "hour lies between 0 and 23"),
        ("60 2 * * *", "minute"),
        ("0 2 * * 7", "Sunday is 0"),
        ("0 2 30 2 *", "no date matches"),
        ("0 2 * * mo", "day of week"),
        ("*/0 * * * *", "empty"),
        ("5-1 * * * *", "empty"),
        ("TZ=UTC 0 2 * * *", "five fields"),
        ("0 2 1,, * *", "day of month"),
        ("-1 2 * * *", "minute"),
    ],
)
def test_a_wrong_expression_names_its_field(text: str, said: str) -> None:
    with pytest.raises(CronError, match=said):
        cron.parse(text)


def test_names_of_days_and_months_are_numbers() -> None:
    named, plain = cron.parse("0 2 * JAN-mar Mon,fri"), cron.parse("0 2 * 1-3 1,5")
    assert (named.months, named.weekdays) == (plain.months, plain.weekdays)


def test_a_local_time_the_clocks_skip_does_not_happen() -> None:
    nightly = cron.parse("30 2 * * *")
    # on 29 March 2026 Berlin goes from 01:59:59 to 03:00
    assert nightly.after(at(2026, 3, 28, 12), BERLIN) == at(2026, 3, 30, 2, 30, where=BERLIN)


def test_a_local_time_the_clocks_repeat_happens_once() -> None:
    nightly = cron.parse("30 2 * * *")
    first = nightly.after(at(2026, 10, 24, 12), BERLIN)
    assert first == at(2026, 10, 25, 0, 30)
    assert nightly.after(first, BERLIN) == at(2026, 10, 26, 1, 30)


def test_every_hour_means_every_hour_when_the_clocks_repeat_one() -> None:
    found, now = [], at(2026, 10, 24, 23, 30)
    for _ in range(4):
        now = cron.parse("0 * * * *").after(now, BERLIN)
        found.append(now)
    assert [b - a for a, b in zip(found, found[1:], strict=False)] == [3600, 3600, 3600]


@pytest.mark.parametrize(
    ("text", "where", "now", "said"),
    [
        ("0 2 * * *", "Europe/Berlin", at(2026, 1, 10), "0 0 1 * * *"),
        ("0 2 * * *", "Europe/Berlin", at(2026, 7, 10), "0 0 0 * * *"),
        ("30 9 * * 1-5", "Australia/Sydney", at(2026, 1, 10), "0 30 22 * * 0,1,2,3,4"),
        ("0 2 * * *", "Asia/Kolkata", at(2026, 1, 10), "0 30 20 * * *"),
        ("*/15 * * * *", "Asia/Kolkata", at(2026, 1, 10), "0 0,15,30,45 * * * *"),
        ("0 12 1 * *", "Europe/Berlin", at(2026, 1, 10), "0 0 11 1 * *"),
        ("0 2 * * *", "UTC", at(2026, 1, 10), "0 0 2 * * *"),
        ("0 22 * * sat", "America/New_York", at(2026, 1, 10), "0 0 3 * * 0"),
    ],
)
def test_six_fields_in_the_pipelines_zone(text: str, where: str, now: float, said: str) -> None:
    assert cron.translated(cron.parse(text), cron.zone(where), cron.zone("UTC"), now)[0] == said


@pytest.mark.parametrize("text", ["0 0 1 * *", "0 0-6 * * 1-5", "0,30 2 * * *"])
def test_what_another_zone_cannot_say_is_refused_with_a_way_out(text: str) -> None:
    where = KOLKATA if "30" in text else BERLIN
    with pytest.raises(CronError, match="UTC") as said:
        cron.translated(cron.parse(text), where, cron.zone("UTC"), at(2026, 1, 10))
    assert said.value.fix
    # in the pipelines' own zone nothing is refused
    assert cron.translated(cron.parse(text), where, where, at(2026, 1, 10))[0] == "0 " + text


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(field(0, 59), field(0, 23), st.just("*"), st.just("*"), st.just("*")).map(" ".join),
    st.sampled_from([BERLIN, SYDNEY, KOLKATA]),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_the_translated_expression_ticks_when_the_local_one_does(text: str, where: ZoneInfo, now: int) -> None:
    parsed = cron.parse(text)
    try:
        six, tick = cron.translated(parsed, where, cron.zone("UTC"), now)
    except CronError:
        return
    back = cron.parse_six(six)
    assert back is not None and back.after(tick - 1) == tick == parsed.after(now, where)


def test_a_zone_that_is_none_is_named() -> None:
    for bad in ("Europe/Berlinn", "", "../etc/passwd", "CEST+2x"):
        with pytest.raises(CronError, match="no such time zone"):
            cron.zone(bad)
