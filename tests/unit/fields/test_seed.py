"""A seed is a whole number, however it is written, and a graph gets it whole in two halves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.errors import InputError
from sluice.fields import Column, TabularProcessor, load_processor
from sluice.fields.seed import HALF, LIMIT

ROWS = TabularProcessor([Column("seed", "seed"), Column("class", "categorical", spelling="number")])


@given(st.integers(0, LIMIT - 1))
def test_both_halves_are_exact_in_32_bits(seed: int) -> None:
    found = ROWS.encode_batch([{"seed": seed}])
    high, low = found["seed.high"], found["seed.low"]
    assert high.dtype == low.dtype == np.float32
    assert int(high[0, 0]) * HALF + int(low[0, 0]) == seed


@pytest.mark.parametrize("written", [7, 7.0, "7", " 7 ", np.int64(7), np.float32(7), Decimal(7)])
def test_seven_is_seven_however_it_is_written(written: Any) -> None:
    assert ROWS.encode_batch([{"seed": written}])["seed.low"].tolist() == [[7.0]]
    assert ROWS.plain([{"seed": written, "class": 3}]) == [{"seed": 7, "class": "3"}]


@pytest.mark.parametrize("written", [None, -1, LIMIT, 1.5, "seven", "-7", True, float("nan"), float("inf"), "9" * 30, [7]])
def test_what_is_no_seed_is_refused_with_its_row(written: Any) -> None:
    with pytest.raises(InputError) as told:
        ROWS.encode_batch([{"seed": 1}, {"seed": written}])
    assert told.value.field == "rows[1].seed"
    assert str(LIMIT) in (told.value.fix or "")


def test_a_package_reads_it_back_and_clients_send_whole_numbers() -> None:
    again = load_processor(ROWS.spec(), ROWS.files())
    assert isinstance(again, TabularProcessor)
    assert again.fields["seed"].datatype == "INT64"
    assert [t.name for t in again.inputs] == ["seed.high", "seed.low", "class"]
