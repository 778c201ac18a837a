"""Our PNG files are what an imaging library reads."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sluice.core.png import png


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (4, 2, 3), (1, 1)])
def test_an_imaging_library_reads_the_same_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    with Image.open(io.BytesIO(png(pixels))) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), pixels.reshape(shape[:2] if shape[-1] == 1 or len(shape) == 2 else shape))


def test_lists_are_pixels_too_and_equal_pixels_are_equal_bytes() -> None:
    assert png([[0, 255], [1, 2]]) == png(np.array([[0, 255], [1, 2]]))
