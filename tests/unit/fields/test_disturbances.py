"""How values are disturbed: what comes out is still such a value, near the one that went in, and the same for the same seed."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sluice.fields import FIELDS, ImageProcessor, field_of
from sluice.fields.audio import read
from sluice.fields.changes import disturbances as d
from sluice.fields.image import upright


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def png(pixels: np.ndarray, **more: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **more)
    return out.getvalue()


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=5), st.integers(0, 99))
def test_a_text_stays_a_text_and_one_with_something_in_it_keeps_something(values: list[str | None], seed: int) -> None:
    for how in d.TEXTS.values():
        out = how.change(values, rng(seed), 0.1)
        assert out == how.change(values, rng(seed), 0.1) and len(out) == len(values)
        for before, after in zip(values, out, strict=True):
            assert (after is None) == (before is None)
            assert before is None or (not before.strip() and after == before) or before.strip() == "" or after.strip()


def test_texts_are_mistyped_a_little_and_written_otherwise() -> None:
    text = "please transfer a hundred pounds to my savings account"
    (typed,) = d.typos([text], rng(), 0)
    assert typed != text and abs(len(typed) - len(text)) <= 3 and len(set(typed.split()) & set(text.split())) >= 5
    assert d.case([text, "ABC", None], rng(), 0) == [text.upper(), "abc", None]
    assert d.whitespace(["a b", " "], rng(), 0) == ["  a  b ", " "]
    assert d.typos(["x"], rng(), 0)[0].strip()
    assert d.case([["one", "Two"], ["你好"]], rng(), 0) == [["ONE", "TWO"], ["你好"]], "each of several texts"


def test_numbers_move_within_a_fraction_of_their_deviation_and_what_is_none_stays() -> None:
    values = [*np.random.default_rng(1).normal(100, 20, 2000), None, math.inf, math.nan]
    out = d.noisy_numbers(values, rng(), 0.1)
    assert np.std(np.array(out[:2000]) - np.array(values[:2000])) == pytest.approx(2, rel=0.1)
    assert out[2000] is None and out[2001] == math.inf and math.isnan(out[2002])
    assert d.noisy_numbers([None, None], rng(), 0.1) == [None, None] and d.noisy_numbers([5.0, 5.0], rng(), 0.1) == [5.0, 5.0]


@pytest.mark.parametrize("shape", [(8, 8), (32, 20, 3)])
def test_a_picture_stays_one_of_its_size_and_the_processor_reads_it(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(20, 200, shape).astype(np.uint8)
    for how in d.PICTURES.values():
        (out,) = how.change([png(pixels)], rng(), 0.1)
        assert upright(out).shape == shape and not np.array_equal(upright(out), pixels)
        ImageProcessor(1 if len(shape) == 2 else 3, shape[:2]).encode([out])
    (noisy,), (lit,) = d.noisy_pictures([png(pixels)], rng(), 0.1), d.brightness([png(pixels)], rng(), 0.1)
    assert np.abs(upright(noisy).astype(int) - pixels).mean() < 0.15 * pixels.std()
    assert upright(lit).mean() / pixels.mean() == pytest.approx(1.2, rel=0.02) or upright(lit).mean() / pixels.mean() == pytest.approx(
        0.8, rel=0.02
    )


def test_a_shifted_picture_is_moved_by_a_pixel_at_least_and_its_edge_is_drawn_out() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    found = {upright(v).tobytes() for v in d.shifted([png(pixels)] * 40, rng(), 0)}
    padded = np.pad(pixels, 1, mode="edge")
    assert found == {padded[i : i + 8, j : j + 8].tobytes() for i in range(3) for j in range(3) if (i, j) != (1, 1)}


def test_a_transparent_and_a_turned_picture_are_disturbed_as_they_are_seen() -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    assert upright(png(clear)).min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upright(png(np.zeros((4, 9), np.uint8), exif=exif)).shape == (9, 4)
    assert d.brightness([None], rng(), 0) == [None]


def test_a_recording_keeps_its_rate_and_length() -> None:
    wave = np.sin(np.arange(4000) / 10) * 0.3
    raw = d._wav(8000, wave)
    for how in d.RECORDINGS.values():
        (out,) = how.change([raw], rng(), 0.1)
        rate, found = read(out)
        assert rate == 8000 and len(found) == 4000 and np.corrcoef(found, wave)[0, 1] > 0.98
    loud = read(d.gain([raw], rng(1), 0)[0])[1].std() / wave.std()
    assert loud == pytest.approx(2.0, rel=0.1) or loud == pytest.approx(0.5, rel=0.1)
    assert d.gain([None], rng(), 0) == [None]


def test_kinds_of_fields_say_how_their_values_are_disturbed() -> None:
    told = {kind: set(field_of(kind, "c").disturbances()) for kind in FIELDS.built_in}
    assert told["text"] == {"typos", "case", "whitespace"} and told["words"] == told["text"] | {"missing"}
    assert told["numeric"] == {"noise", "missing"} and told["categorical"] == told["timestamp"] == {"missing"}
    assert told["image"] == {"noise", "shift", "brightness"} and told["audio"] == {"noise", "gain"}
    assert told["seed"] == told["key"] == set()
