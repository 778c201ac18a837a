"""A time means one thing, however it is spelled and whoever reads it."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.core.errors import InputError, PackageError
from sluice.fields import Column, TabularProcessor, load_processor
from sluice.fields.centre import centre
from sluice.fields.timeparts import TimeColumn, parts_of, whole
from sluice.fields.timestamps import MISSING, TimeForm, iso
from sluice.fields.zones import Zone

MOMENTS = st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9000, 1, 1))
EPOCH = datetime.datetime(1970, 1, 1)
FULL = (
    "%Y-%m-%d %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S.%f",
    "%m/%d/%Y %I:%M:%S.%f %p",
    "%d/%m/%Y %H.%M.%S,%f",
    "%Y%m%d%H%M%S%f",
    "%a, %d %b %Y %T.%f",
    "%j/%Y %R:%S.%f",
    "%B %d, %Y at %H:%M:%S.%f",
)


def micros(moment: datetime.datetime) -> int:
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def read(form: str, *values: object, zone: str = "UTC") -> list[int]:
    return TimeForm(form, Zone.named(zone)).read(list(values), len(values), "when").tolist()


@given(MOMENTS, st.sampled_from(FULL))
@settings(max_examples=150, deadline=None)
@example(datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), FULL[2])
@example(datetime.datetime(2024, 2, 29, 0, 0), FULL[6])
def test_what_a_form_writes_it_reads(moment: datetime.datetime, form: str) -> None:
    assert read(form, moment.strftime(form)) == [micros(moment)]


@given(MOMENTS)
@settings(max_examples=100, deadline=None)
def test_iso_is_read_in_every_column_and_written_back(moment: datetime.datetime) -> None:
    for form in ("iso", "s", "ms", "%d/%m/%Y", "%H:%M"):
        assert read(form, moment.isoformat(), moment.isoformat(" "), moment) == [micros(moment)] * 3
    assert iso(micros(moment)) == moment.isoformat()
    assert iso(read("iso", moment)[0]) == moment.isoformat()


@given(
    st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2090, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "UTC"]),
    st.integers(-14 * 4, 14 * 4),
)
@settings(max_examples=100, deadline=None)
def test_an_instant_is_the_zones_wall_clock_whatever_offset_it_is_written_with(moment, name, quarters) -> None:
    there = moment.replace(tzinfo=datetime.UTC).astimezone(zoneinfo.ZoneInfo(name)).replace(tzinfo=None)
    shifted = moment.replace(tzinfo=datetime.UTC).astimezone(datetime.timezone(datetime.timedelta(minutes=15 * quarters)))
    seconds = moment.replace(microsecond=0, tzinfo=datetime.UTC)
    assert read("iso", shifted.isoformat(), moment.isoformat() + "Z", shifted, zone=name) == [micros(there)] * 3
    assert read("s", int(seconds.timestamp()), zone=name) == [micros(there.replace(microsecond=0))]


def test_a_zone_in_a_package_is_the_one_it_was_made_of() -> None:
    zone = Zone.named("America/New_York")
    assert Zone.load(zone.spec(), "") == zone
    instants = np.arange(-2_000_000_000, 4_000_000_000, 9_999_991) * 1_000_000
    expected = [
        i + int(datetime.datetime.fromtimestamp(i / 1e6, zoneinfo.ZoneInfo("America/New_York")).utcoffset().total_seconds()) * 1_000_000
        for i in instants.tolist()
    ]
    assert zone.locals(instants).tolist() == expected == [zone.local(i) for i in instants.tolist()]
    assert zone.locals(np.array([MISSING])).tolist() == [MISSING]
    with pytest.raises(ValueError, match="no time zone"):
        Zone.named("Europe/Nowhere")


@pytest.mark.parametrize(
    "form, value, expected",
    [
        ("iso", "2024-12-31T23:59:00Z", "2024-12-31T23:59:00"),
        ("iso", "2024-12-31 23:59", "2024-12-31T23:59:00"),
        ("iso", "2024-12-31", "2024-12-31T00:00:00"),
        ("iso", "2024-03", "2024-03-01T00:00:00"),
        ("iso", "20241231T235900Z", "2024-12-31T23:59:00"),
        ("iso", " 2024-12-31t08:00+0200 ", "2024-12-31T06:00:00"),
        ("iso", "2024-12-31T24:00:00", "2025-01-01T00:00:00"),
        ("iso", "2016-12-31 23:59:60", "2017-01-01T00:00:00"),
        ("iso", "2024-12-31T23:59:00.1234567", "2024-12-31T23:59:00.123456"),
        ("iso", 1735689540, "2024-12-31T23:59:00"),
        ("iso", 1735689540000, "2024-12-31T23:59:00"),
        ("iso", 1735689540000000000, "2024-12-31T23:59:00"),
        ("%d.%m.%Y", "31.12.2024", "2024-12-31T00:00:00"),
        ("%d.%m.%Y", "1.2.2024 7:05", "2024-02-01T07:05:00"),
        ("%m/%d/%Y", "12/31/2024", "2024-12-31T00:00:00"),
        ("%d/%m/%Y", "31/12/2024", "2024-12-31T00:00:00"),
        ("%m/%d/%Y %I:%M %p", "12/31/2024 12:05 am", "2024-12-31T00:05:00"),
        ("%d-%b-%y", "31-DEC-24", "2024-12-31T00:00:00"),
        ("%B %d, %Y", "december 31, 2024", "2024-12-31T00:00:00"),
        ("%Y%m%d", 20241231, "2024-12-31T00:00:00"),
        ("%Y%m%d", "20241231", "2024-12-31T00:00:00"),
        ("s", "1735689540", "2024-12-31T23:59:00"),
        ("s", 1735689540.5, "2024-12-31T23:59:00.500000"),
        ("ms", 1735689540123, "2024-12-31T23:59:00.123000"),
        ("ns", 1735689540123456789, "2024-12-31T23:59:00.123456"),
        ("%H:%M", "7:05", "1970-01-01T07:05:00"),
        ("%d/%m/%Y", np.datetime64("2024-12-31"), "2024-12-31T00:00:00"),
        ("%d %b %Y %H:%M:%S %z", "31 Dec 2024 23:59:00 +01:00", "2024-12-31T22:59:00"),
    ],
)
def test_spellings(form: str, value: object, expected: str) -> None:
    assert [iso(v) for v in read(form, value)] == [expected]


@pytest.mark.parametrize("value", [None, "", " ", "NA", "NaT", float("nan"), "0000-00-00", "null"])
@pytest.mark.parametrize("form", ["iso", "s", "%d/%m/%Y"])
def test_what_is_missing(form: str, value: object) -> None:
    assert read(form, value) == [MISSING]


@pytest.mark.parametrize(
    "form, value",
    [
        ("iso", "31.12.2024"),
        ("iso", "2024-02-30"),
        ("iso", "2024-13-01"),
        ("iso", "yesterday"),
        ("iso", True),
        ("iso", 12),
        ("iso", float("inf")),
        ("iso", ["2024-01-01"]),
        ("iso", "2024-01-01T25:00"),
        ("iso", "2024-01-01T10:00+25:00"),
        ("%d/%m/%Y", "12/31/2024"),
        ("%d.%m.%Y", "31.12.24"),
        ("s", "soon"),
        ("s", 1e300),
        ("s", 10**30),
        ("%m/%d/%Y %I:%M %p", "12/31/2024 13:00 PM"),
        ("%Y%m%d", 20241301),
        ("s", "9" * 5000),
        ("iso", "\ud800"),
        ("iso", "٢٠٢٤-٠١-٠١x"),
    ],
)
def test_what_is_no_time_is_named(form: str, value: object) -> None:
    with pytest.raises(InputError, match=r"rows\[1\]\.when: is not a time") as e:
        read(form, None, value)
    assert e.value.fix and "ISO 8601" in e.value.fix
    assert TimeForm(form).read([value], 1, "when", strict=False).tolist() == [MISSING]


@pytest.mark.parametrize(
    "form, message",
    [
        ("%Q", "no directive"),
        ("%d.%m", "neither a year nor an hour"),
        ("day", "neither"),
        ("%Y %Y", "stands twice"),
        ("%Y-%", "no directive"),
    ],
)
def test_a_form_that_cannot_be_is_named(form: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimeForm(form)


@given(st.lists(MOMENTS, min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_parts_are_the_calendars(moments: list[datetime.datetime]) -> None:
    wall = np.array([micros(m) for m in moments])
    expected = {
        "year": [m.year for m in moments],
        "month": [m.month for m in moments],
        "weekday": [m.isoweekday() for m in moments],
        "hour": [m.hour for m in moments],
        "minute": [m.minute for m in moments],
    }
    for part, values in expected.items():
        assert whole(wall, part).tolist() == values
        assert (part in parts_of(wall, True)) == (len(set(values)) > 1)


def column(*parts: str, form: str = "iso", reference: str = "2024-12-31T00:00:00", zone: str = "UTC") -> Column:
    return Column("when", "timestamp", time=TimeColumn(TimeForm(form, Zone.named(zone)), read("iso", reference)[0], parts))


def test_a_time_becomes_the_graphs_inputs() -> None:
    made = TabularProcessor([column("year", "month", "weekday", "hour", "minute", "age")])
    out = made.encode_batch([{"when": "2024-12-30T18:30:00"}, {"when": None}])
    assert list(out) == [t.name for t in made.inputs]
    assert {k: v[0, 0] for k, v in out.items() if v.dtype == object} == {"when.month": "12", "when.weekday": "1", "when.hour": "18"}
    assert out["when.age"][0, 0] == np.float32(-5.5 / 24) and out["when.year"][0, 0] == 2024
    assert np.allclose(
        [out["when.hour_sin"][0, 0], out["when.hour_cos"][0, 0]], [np.sin(2 * np.pi * 18.5 / 24), np.cos(2 * np.pi * 18.5 / 24)]
    )
    assert np.allclose([out["when.minute_sin"][0, 0], out["when.minute_cos"][0, 0]], [0, -1], atol=1e-6)
    assert all(v[1, 0] == "" if v.dtype == object else np.isnan(v[1, 0]) for v in out.values())
    for t in made.inputs:
        assert out[t.name].dtype == (object if t.datatype == "BYTES" else np.float32) and out[t.name].shape == (2, 1)


@given(st.lists(MOMENTS, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_every_spelling_of_a_time_gives_the_same_inputs(moments: list[datetime.datetime]) -> None:
    seconds = [m.replace(microsecond=0, year=1980 + m.year % 60, day=min(m.day, 28)) for m in moments]
    made = TabularProcessor([column("year", "month", "weekday", "hour", "minute", "age", form="%d/%m/%Y %H:%M:%S")])
    spellings = [
        [m.strftime("%d/%m/%Y %H:%M:%S") for m in seconds],
        [m.isoformat() for m in seconds],
        [f"{m.isoformat()}Z" for m in seconds],
        list(seconds),
        [micros(m) // 1_000_000 if m.year > 1980 else m.isoformat() for m in seconds],
    ]
    first, *others = [made.encode_columns({"when": s}, len(seconds)) for s in spellings]
    arrays = made.encode_columns({"when": np.array(seconds, "datetime64[us]")}, len(seconds))
    for other in (*others, arrays):
        assert all((first[k] == other[k]).all() for k in first)


def test_a_package_keeps_form_zone_reference_and_parts() -> None:
    made = TabularProcessor(
        [
            column("hour", "age", form="%d.%m.%Y %H:%M", zone="Europe/Berlin"),
            Column("n", "numeric", centre=1.7e9),
            Column("c", "categorical"),
        ]
    )
    spec = made.spec()
    assert spec["columns"][0]["reference"] == "2024-12-31T00:00:00" and spec["columns"][0]["zone"]["name"] == "Europe/Berlin"
    assert spec["columns"][1:] == [{"name": "n", "type": "numeric", "centre": 1.7e9}, {"name": "c", "type": "categorical"}]
    row = {"when": "01.07.2024 12:00", "n": 1_700_000_001, "c": "x"}
    again = load_processor(spec, {})
    assert again.spec() == spec and again.inputs == made.inputs
    assert all((a == b).all() for a, b in zip(made.encode_batch([row]).values(), again.encode_batch([row]).values(), strict=True))
    assert again.encode_batch([{**row, "when": "2024-07-01T10:00:00Z"}])["when.hour"][0, 0] == "12"
    assert [(f.name, f.datatype) for f in again.fields.values()] == [("when", "BYTES"), ("n", "FP64"), ("c", "BYTES")]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"parts": []}, "parts"),
        ({"parts": ["era"]}, "parts"),
        ({"form": "%Q"}, "is not how a time"),
        ({"form": None}, "is not how a time"),
        ({"reference": "soon"}, "is not how a time"),
        ({"zone": {"name": "x"}}, "rule of a time zone"),
        ({"centre": 1.0}, "centre"),
    ],
)
def test_a_spec_that_is_none_is_named(change: dict, message: str) -> None:
    spec = {"kind": "tabular", "columns": [{**column("age").spec(), **change}]}
    with pytest.raises(PackageError, match=message):
        load_processor(spec, {})


def test_a_column_named_like_a_part_of_a_time_is_refused() -> None:
    with pytest.raises(PackageError, match="stands twice"):
        TabularProcessor([column("age"), Column("when.age", "numeric")])


def test_numbers_far_from_zero_are_centred_before_they_become_32_bits() -> None:
    for start, step in ((1_700_000_000, 1), (1_700_000_000_000, 1000), (1e12, 0.25)):
        values = start + step * np.arange(1000.0)
        middle = centre(values)
        made = TabularProcessor([Column("t", "numeric", centre=middle)])
        out = made.encode_batch([{"t": v} for v in values.tolist()])["t"]
        assert len(np.unique(out)) == 1000 and middle
    for values in (np.arange(1000.0), np.linspace(-1, 1, 50), np.array([np.nan]), np.array([5.0]), np.array([1e-3, 1e6])):
        assert centre(values) == 0
