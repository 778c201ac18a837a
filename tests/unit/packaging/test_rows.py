"""Arrow tables give the same tensors as the rows a client sends."""

from __future__ import annotations

import datetime
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError, InputError
from sluice.data.spellings import texts_of
from sluice.engines.rows import rows_from_arrow, spelled_by, tensors_from_arrow
from sluice.fields import Column, TabularProcessor
from sluice.fields.timeparts import TimeColumn
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import Zone

TABLE = pa.table(
    {
        "row_id": ["a", "b", "c"],
        "age": pa.array([1.5, None, float("nan")]),
        "job": pa.array(["cook", None, ""]),
        "n": pa.array([1, None, 3], pa.int64()),
        "label": ["x", "y", "x"],
    }
)
PROCESSOR = TabularProcessor([Column("age", "numeric"), Column("job", "categorical"), Column("n", "numeric")])


def test_tabular_rows_leave_out_the_identifier_and_the_label():
    assert rows_from_arrow("tabular", TABLE)[1] == {"age": None, "job": None, "n": None}
    assert list(rows_from_arrow("tabular", TABLE)[0]) == ["age", "job", "n"]


def test_a_specification_takes_only_its_own_columns():
    spec = TabularProcessor([Column("n", "numeric")]).spec()
    assert rows_from_arrow(spec, TABLE) == [{"n": 1}, {"n": None}, {"n": 3}]
    with pytest.raises(DataError) as e:
        rows_from_arrow(spec, TABLE.drop_columns(["n"]))
    assert e.value.field == "n"


@pytest.mark.parametrize("make", [lambda t: t, lambda t: t.to_batches()[0], lambda t: pa.concat_tables([t.slice(0, 1), t.slice(1)])])
def test_tensors_from_columns_equal_tensors_from_rows(make):
    table = make(TABLE)
    fast, slow = tensors_from_arrow(PROCESSOR, table), PROCESSOR.encode_batch(rows_from_arrow("tabular", TABLE))
    assert list(fast) == ["age", "job", "n"]
    for name in fast:
        assert fast[name].dtype == slow[name].dtype
        assert np.array_equal(fast[name], slow[name], equal_nan=name != "job")


def test_text_and_image_rows_are_their_column():
    assert rows_from_arrow("text", pa.table({"text": ["a", "b"], "label": ["x", "y"]})) == ["a", "b"]
    assert rows_from_arrow("image", pa.table({"image": [b"a"]}).to_batches()[0]) == [b"a"]


def test_a_missing_column_is_named():
    with pytest.raises(DataError) as e:
        rows_from_arrow("text", pa.table({"txt": ["a"]}))
    assert e.value.field == "text"
    with pytest.raises(DataError) as e:
        tensors_from_arrow(PROCESSOR, TABLE.drop_columns(["job"]))
    assert e.value.field == "job"
    with pytest.raises(DataError):
        rows_from_arrow("tabular", pa.table({"label": ["a"]}))


def test_a_text_in_a_numeric_column_is_named():
    with pytest.raises(InputError) as e:
        tensors_from_arrow(PROCESSOR, TABLE.set_column(1, "age", pa.array(["1", "x", "3"])))
    assert e.value.field == "rows[0].age"


def test_rows_are_spelled_as_a_package_of_before_knows_them(tmp_path):
    """A champion that was trained on ``True`` and ``1.0`` is judged on the same rows, not on ones it has never seen."""
    columns = [{"name": n, "type": t} for n, t in (("active", "categorical"), ("store", "categorical"), ("age", "numeric"))]

    class Old:
        preprocess: ClassVar = {"kind": "tabular", "columns": columns}

        def profile(self):
            return {
                "features": {n: {"parts": {"value": {"values": v}}} for n, v in (("active", ["True", "False"]), ("store", ["2.0", "1.0"]))}
            }

    rows = [{"active": "true", "store": "1", "age": 3}, {"active": None, "store": "other", "age": None}, {"active": ["no text"], "age": 1}]
    assert spelled_by(Old())(rows) == [{"active": "True", "store": "1.0", "age": 3}, *rows[1:]]

    class New(Old):
        preprocess: ClassVar = {
            "kind": "tabular",
            "columns": [{**c, "spelling": "text"} if c["type"] == "categorical" else c for c in columns],
        }

    assert spelled_by(New())(rows) is rows


def test_floats_of_32_bits_stay_such():
    assert rows_from_arrow("tabular", pa.table({"x": pa.array([0.1, None], pa.float32())}))[0]["x"] == np.float32(0.1)


def test_times_of_any_type_of_column_are_read_alike():
    """An instant of 16:30 in UTC is 18:30 on Berlin's clock, whatever type of column says so."""
    column = Column("when", "timestamp", time=TimeColumn(TimeForm("iso", Zone.named("Europe/Berlin")), None, ("hour",)))
    processor = TabularProcessor([column])
    wall, instant = datetime.datetime(2023, 7, 4, 18, 30), datetime.datetime(2023, 7, 4, 16, 30)
    typed = [pa.array([wall, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    typed += [pa.array([instant, None], pa.timestamp(unit, "UTC")) for unit in ("s", "us", "ns")] + [
        pa.array([instant, None], pa.timestamp("us", "Asia/Tokyo"))
    ]
    typed += [pa.array(["2023-07-04T16:30Z", None]), pa.array(["2023-07-04 18:30", ""])]
    for values in typed:
        table = pa.table({"when": values})
        for tensors in (tensors_from_arrow(processor, table), processor.encode_batch(rows_from_arrow(processor.spec(), table))):
            assert tensors["when.hour"].ravel().tolist() == ["18", ""], values.type


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime.time(8, 30), None]),
        pa.array([1, None], pa.time32("s")),
        pa.array([1_000_000_001, None], pa.time64("ns")),
        pa.array([datetime.date(2024, 1, 2), None]),
        pa.array([datetime.datetime(2024, 1, 2, 3), None], pa.timestamp("ns")),
        pa.array([datetime.datetime(2024, 1, 2, 3), None], pa.timestamp("s", "Asia/Tokyo")),
    ],
)
def test_a_date_or_time_as_a_category_is_the_text_that_training_read(column):
    trained = texts_of(pa.chunked_array([column]), "at").to_pylist()
    rows = rows_from_arrow("tabular", pa.table({"at": column}))
    processor = TabularProcessor([Column("at", "categorical", spelling="text")])
    assert [v or None for v in processor.encode_batch(rows)["at"].ravel().tolist()] == trained
