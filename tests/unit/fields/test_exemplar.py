"""Pictures as columns: what goes in comes out, and nothing of them drifts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.fields import field_of, processor_class
from sluice.fields.exemplar import column_of, pictures


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(0, 1000))
def test_pictures_come_back_as_they_were(rows: int, height: int, width: int, channels: int, seed: int) -> None:
    found = np.random.default_rng(seed).integers(0, 256, (rows, height, width, channels), dtype=np.uint8)
    column = column_of(list(found))
    assert column.type == field_of("pixels", "label").arrow
    assert np.array_equal(pictures(column), found)
    assert np.array_equal(pictures(column[1:]), found[1:]) or rows == 1
    assert field_of("pixels", "label").watched(column) == pytest.approx(found.reshape(rows, -1).mean(axis=1) / 255)


def test_one_that_cannot_be_read_is_null_and_the_others_stay_in_their_place() -> None:
    one = np.full((2, 2, 1), 7, np.uint8)
    column = column_of([None, one, None, one + 1])
    assert column.is_null().to_pylist() == [True, False, True, False]
    assert pictures(column.drop_null())[:, 0, 0, 0].tolist() == [7, 8]
    assert column_of([None, None]).null_count == 2


def test_pictures_of_two_shapes_are_no_column() -> None:
    mixed = pa.chunked_array([[[[[1]], [[2]]], [[[1]]]]], field_of("pixels", "label").arrow)
    with pytest.raises(ValueError, match="different shapes"):
        pictures(mixed)


def test_an_exemplar_is_checked_as_an_image_and_has_no_bins() -> None:
    field = field_of("exemplar", "image")
    assert {"images", "sizes"} <= field.checks
    assert field.reference(None) == {"kind": "exemplar", "parts": {}}  # type: ignore[arg-type]
    assert field.counts({}, [b""]) == {}
    with pytest.raises(Exception, match="kind of pre-processing"):
        processor_class("exemplar")
