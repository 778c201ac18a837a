"""A text, a picture and a sound in pieces: each one away in turn, and nothing else; and what a model's answer loses with it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sluice.fields.audio import read
from sluice.fields.image import ImageProcessor
from sluice.fields.pieces import PARTS, SQUARES, WORDS, drawn, of_pixels, of_text, of_wave
from sluice.gates.highlights import _chosen, _weighed


def test_a_text_without_each_word() -> None:
    found = of_text("book a table")
    assert found.without == ["a table", "book table", "book a"] and [found.shown["text"][int(a) : int(b)] for a, b in found.places] == [
        "book",
        "a",
        "table",
    ]


def test_a_text_without_spaces_is_taken_apart_by_characters() -> None:
    assert of_text("很好看的电影").without[0] == "好看的电影" and len(of_text("很好看的电影").places) == 6


@given(st.text(max_size=2000))
def test_any_text_gives_few_pieces_each_with_something_left(text: str) -> None:
    found = of_text(text)
    assert len(found.places) == len(found.without) <= WORDS and all(t.strip() for t in found.without)
    assert all(0 <= a < b <= len(text) for a, b in found.places)
    assert "<script" not in drawn(found.shown, found.places, [1.0] * len(found.places))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 17), (1, 1, 1), (3, 224, 224)])
def test_the_squares_of_a_picture_cover_it_once(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    found = of_pixels(pixels)
    assert len(found.without) <= SQUARES**2
    assert sum(w * h for _, _, w, h in found.places) == pytest.approx(1, abs=0.01)
    processor = ImageProcessor(shape[0], shape[1:])
    changed = [processor.encode([c])[0]["image"] != pixels for c in found.without]
    assert (sum(c.any(0).astype(int) for c in changed) <= 1).all(), "no pixel is covered twice"


def test_a_part_of_a_sound_is_silent_in_turn() -> None:
    samples = np.sin(np.arange(8000) / 5).astype(np.float32) * 0.5
    found = of_wave(samples, 8000)
    assert len(found.places) == PARTS and found.shown["seconds"] == 1.0
    rate, rest = read(found.without[3])
    a, b = (round(x * 8000) for x in found.places[3])
    assert rate == 8000 and not rest[a + 1 : b - 1].any()
    np.testing.assert_allclose(np.delete(rest, range(a - 1, b + 1)), np.delete(samples, range(a - 1, b + 1)), atol=1e-4)


class Corner:
    """A model that looks at nothing but the upper left quarter."""

    processor = ImageProcessor(1, (16, 16))

    def predict(self, rows: list[bytes]) -> np.ndarray:
        seen = np.array([e["image"][0, :8, :8].mean() / 256 for e in self.processor.encode(rows)])
        return np.stack([1 - seen, seen], 1)


def test_what_the_model_looks_at_has_the_weight_and_the_rest_none() -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8, :8] = 250
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    model = Corner()
    found: dict[str, Any] = _weighed(model, file.getvalue(), 1, float(model.predict([file.getvalue()])[0, 1]))  # type: ignore[assignment]
    inside = np.array([x < 0.5 and y < 0.5 for x, y, *_ in found["places"]])
    weights = np.array(found["weights"])
    assert (weights[inside] > 0.1).all() and not weights[~inside].any()
    assert "data:image/png" in drawn(found["shown"], found["places"], found["weights"])


def test_a_clip_of_one_sample_has_nothing_to_take_away() -> None:
    assert of_wave(np.array([0.5]), 8000).without == []


def test_the_surest_wrong_rows_come_first_then_right_ones_of_every_label() -> None:
    outputs = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.99, 0.01], [0.4, 0.6]])
    targets = np.array([1, 0, 1, 0, -1])
    assert _chosen(outputs, targets, outputs.argmax(1), 4) == [0, 3, 2, 1]
    assert _chosen(outputs, targets, outputs.argmax(1), 2) == [0, 3]
