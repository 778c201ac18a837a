"""Numbers as people export them are read where there is one way to read them, else named; and a server reads them as training did."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import project as projects
from sluice.core.errors import DataError, InputError, PackageError, ProjectError
from sluice.core.numerals import Doubt, Numerals, find_numerals
from sluice.data.config import Columns
from sluice.data.prepare import prepare, validate_project_data
from sluice.data.sources import read_source
from sluice.fields import load_processor
from sluice.learners.tables.fit import fit_table
from sluice.tasks import load_task


@pytest.mark.parametrize(
    "texts, numbers",
    [
        (["3,14", "2,5", "7"], [3.14, 2.5, 7]),
        (["1,234", "12.5"], [1234, 12.5]),
        (["12.5%", "3 %"], [12.5, 3]),
        (["$5", "-$1,200.50"], [5, -1200.5]),
        (["$1,200", "$950"], [1200, 950]),
        (["€ 1.234,50", "5,00 €"], [1234.5, 5]),
        (["1 234", "12", "1\u202f234\u00a0567"], [1234, 12, 1234567]),
        (["(5)", "7"], [-5, 7]),
        (["1,23,456", "5"], [123456, 5]),
        (["1’234.50", "20"], [1234.5, 20]),
        (["\u22125,5", "+2,1", "3,0-"], [-5.5, 2.1, -3]),
        (["1,5e3", "2,5"], [1500, 2.5]),
        (["R$ 5,10", "R$ 1.000,00"], [5.1, 1000]),
    ],
)
def test_what_can_be_read_in_one_way_is(texts: list[str], numbers: list[float]) -> None:
    found = find_numerals(texts)
    assert isinstance(found, Numerals) and [found.parse(t) for t in texts] == numbers
    assert math.isnan(found.parse(" ") or 0) and found.parse("x") is None and found.parse("1,2,3.4.5") is None


@pytest.mark.parametrize(
    "texts", [["950", "1,200"], ["5%", "0.3"], ["$5", "€5"], ["555 123 456", "666 222 111"], ["192.168.100.200"], ["(5)", "(6)"]]
)
def test_what_can_be_read_in_several_ways_or_names_something_is_a_doubt(texts: list[str]) -> None:
    assert isinstance(find_numerals(texts), Doubt)


@pytest.mark.parametrize(
    "texts", [["2020-01-05"], ["01.02.2020"], ["12:30"], ["18-25", "26-40"], ["1,5", "2.5"], ["abc"], ["1 kg"], ["12,3,4"], [""]]
)
def test_what_is_no_number_is_none(texts: list[str]) -> None:
    assert find_numerals(texts) is None


@given(st.floats(-1e9, 1e9), st.sampled_from([(".", ","), (",", "."), (".", " "), (",", "'")]))
def test_a_formatted_number_is_read_back(value: float, convention: tuple[str, str]) -> None:
    decimal, thousands = convention
    text = f"{value:,.3f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    assert Numerals(decimal, thousands).parse(text) == float(f"{value:.3f}")


def rows(folder: Path, amounts: list[str], **columns: Any) -> Path:
    lines = [f'"{a}";{i % 7};{"ab"[i % 2]}' for i, a in enumerate(amounts)]
    (folder / "d.csv").write_text("\n".join(["amount;x;label", *lines]))
    return folder


AMOUNTS = [f"{950 + 37 * i:,}" for i in range(60)]


def test_an_ambiguous_column_is_named_with_the_settings_that_read_it(tmp_path: Path) -> None:
    found = read_source("d.csv", "auto", rows(tmp_path, AMOUNTS), None)
    assert pa.types.is_string(found.table.schema.field("amount").type) and not found.numerals
    said = found.notes[-1]
    assert (
        '\'1,024\' may be 1024 ({decimal: ".", thousands: ","}) or 1.024 ({decimal: ",", thousands: "."})' in said
        and "data.columns.numbers: {amount: " in said
    )
    english = read_source("d.csv", "auto", tmp_path, None, numerals={"amount": Numerals(".", ",")})
    assert english.table.column("amount").to_pylist() == [950.0 + 37 * i for i in range(60)] and english.numerals == {
        "amount": Numerals(".", ",")
    }
    german = read_source("d.csv", "auto", tmp_path, None, numerals={"": Numerals(",", ".")})
    assert german.table.column("amount")[2].as_py() == 1.024 and german.numerals.keys() == {"amount"}
    assert len(english.notes) == 1, "what is declared needs no word"


def test_a_column_that_can_be_read_in_one_way_is_read_and_said_in_every_form(tmp_path: Path) -> None:
    texts = ["1.234,50 €", "", "7 €", "n/a", "12,5 €"]
    rows(tmp_path, texts)
    pq.write_table(pa.table({"amount": texts, "label": list("ababa")}), tmp_path / "d.parquet")
    (tmp_path / "d.jsonl").write_bytes(b"\n".join(orjson.dumps({"amount": t, "label": "a"}) for t in texts))
    for name in ("d.csv", "d.parquet", "d.jsonl"):
        found = read_source(name, "auto", tmp_path, None)
        assert found.table.column("amount").to_pylist() == [1234.5, None, 7.0, None, 12.5], name
        assert found.numerals == {"amount": Numerals(",", ".", "€")} and "'1.234,50 €' is 1234.5" in found.notes[-1]
        assert read_source(name, "auto", tmp_path, None, Columns(categorical=["amount"])).table.column("amount")[0].as_py() == texts[0]


def test_a_price_with_separators_is_a_quantity_to_learn(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,price\n" + "".join(f'{i},"${1000 + i * 17:,}.00"\n' for i in range(60)))
    made = projects.parse({"name": "p", "task": "tabular", "data": {"source": "d.csv", "columns": {"label": "price"}}}, base_dir=tmp_path)
    report = validate_project_data(made, tmp_path, load_task(made, tmp_path))
    assert report.objective == "regression" and any(c.name == "reading" and "'$1,000.00' is 1000" in c.message for c in report.checks)


def test_a_column_that_is_mostly_such_numbers_names_what_is_not(tmp_path: Path) -> None:
    found = read_source("d.csv", "auto", rows(tmp_path, [*[f"{i},5" for i in range(60)], "much"]), None)
    assert (
        "'amount' spells numbers ('0,5') but is read as categories, since 1 of its 61 different values are none, such as 'much'"
        in found.notes[-1]
    )


def test_one_separated_number_among_plain_ones_asks_which_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"amount, row 61: is text in a column of numbers(.|\n)*may be 1200 (.|\n)*data.columns.numbers"):
        read_source("d.csv", "auto", rows(tmp_path, [*[str(i) for i in range(60)], "1,200"]), None)


def test_a_wrong_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot separate both decimals and thousands"):
        projects.parse({"name": "p", "task": "tabular", "data": {"source": "d.csv", "numbers": {"decimal": ",", "thousands": ","}}})
    with pytest.raises(DataError, match=r"data.columns.numbers: d.csv has no such column \(got 'amounts'\)\n  fix: did you mean 'amount'"):
        read_source("d.csv", "auto", rows(tmp_path, AMOUNTS), None, Columns.model_validate({"numbers": {"amounts": {}}}))


def test_what_is_trained_is_what_is_served(tmp_path: Path) -> None:
    rows(tmp_path, [f"{1000 + i * 37:,}.5" for i in range(60)])
    (tmp_path / "test.csv").write_text('amount;x;label\n"1,500.25";1;a\n"2,000.00";2;b\n')
    made = projects.parse({"name": "p", "task": "tabular", "data": {"source": "d.csv", "test": "test.csv"}}, base_dir=tmp_path)
    task = load_task(made, tmp_path)
    dataset = prepare(made, tmp_path, task, tmp_path / "ds")
    assert dataset.columns["amount"] == "numeric" and dataset.read("test").column("amount").to_pylist() == [1500.25, 2000.0]
    state = fit_table(dataset)
    assert state.preprocess["columns"][0] == {
        "name": "amount",
        "type": "numeric",
        "numerals": {"decimal": ".", "thousands": ",", "unit": None},
    }
    processor = load_processor(state.preprocess, state.files)
    found = processor.encode_batch([{"amount": v, "x": 1} for v in ("1,500.25", 1500.25, "1500.25", "", None, "N/A")])["amount"].ravel()
    assert np.array_equal(found, np.float32([1500.25, 1500.25, 1500.25, np.nan, np.nan, np.nan]), equal_nan=True)
    for row in ({"amount": "1.500,25"}, {"amount": "many"}, {"x": "1"}):
        with pytest.raises(InputError, match=r"is not a number( as the training rows write it)?"):
            processor.encode_batch([row])
    assert processor.plain([{"amount": "1,500.25"}]) == [{"amount": 1500.25, "x": None}]
    for broken in ({"decimal": ";"}, {"points": 1}, {"decimal": ",", "thousands": ","}):
        spec = {"kind": "tabular", "columns": [{"name": "a", "type": "numeric", "numerals": broken}]}
        with pytest.raises(PackageError, match=r"preprocess.columns\[0\].numerals"):
            load_processor(spec, {})
