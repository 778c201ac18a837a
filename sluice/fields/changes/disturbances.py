"""How values come differently than they were collected: typing mistakes, noise, a missing cell, a picture that is darker. Which of these make sense
each kind of field says (`Field.disturbances`); the truth of a row does not change by any.

All are functions of raw values, so that a disturbed row goes the whole way of a served one, and deterministic by their generator. `amount` is the
deviation of noise as a fraction of the values' own: of a column, a picture, a recording.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.fields.changes.pictures import moved

if TYPE_CHECKING:
    from numpy.random import Generator

#: A typing mistake in so many characters, at least one a text.
_TYPO_EVERY = 20
#: Of a picture's side; of its brightness; of a recording's loudness, in decibels.
_SHIFT, _BRIGHTNESS, _GAIN = 0.05, 0.2, 6.0

#: Raw values of a column, a generator, an amount -> as many values.
Change = Callable[[Sequence[Any], "Generator", float], list[Any]]


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """One way of disturbing a column.

    Attributes:
        change: the values, changed.
        single: of each row one column alone is changed, which the generator chooses.
    """

    change: Change
    single: bool = False


def missing(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """No value."""
    return [None] * len(values)


def noisy_numbers(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Normal noise; what is missing or not finite stays."""
    found = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    known = np.isfinite(found)
    reach = amount * float(found[known].std()) if known.any() else 0.0
    moved = found + reach * rng.standard_normal(len(found))
    return [float(moved[i]) if known[i] else v for i, v in enumerate(values)]


def typos(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Neighbours swapped, characters left out, doubled, or taken for another of the text, one in twenty."""
    return [_written(v, lambda text: _mistyped(text, rng)) for v in values]


def _written(value: Any, change: Callable[[str], str]) -> Any:
    """A text, or each of several, changed; one with nothing in it and what is no text stays."""
    if isinstance(value, list | tuple):
        return [_written(v, change) for v in value]
    return change(value) if isinstance(value, str) and value.strip() else value


def _mistyped(text: str, rng: Generator) -> str:
    out = list(text)
    for _ in range(max(1, round(len(text) / _TYPO_EVERY))):
        at = [i for i, c in enumerate(out) if not c.isspace()]
        i, kind = at[int(rng.integers(len(at)))], int(rng.integers(4))
        if kind == 0 and i + 1 < len(out):
            out[i], out[i + 1] = out[i + 1], out[i]
        elif kind == 1 and len(at) > 1:
            del out[i]
        elif kind == 2:
            out[i] = out[at[int(rng.integers(len(at)))]]
        else:
            out.insert(i, out[i])
    return "".join(out)


def case(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """All in large letters, or where it is so already in small ones."""
    return [_written(v, lambda text: text.lower() if text == text.upper() else text.upper()) for v in values]


def whitespace(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Blanks before and behind, and two between words."""
    return [_written(v, lambda text: f"  {'  '.join(text.split(' '))} ") for v in values]


def noisy_pictures(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Normal noise on every pixel."""

    def noisy(pixels: np.ndarray) -> np.ndarray:
        return pixels + amount * float(pixels.std()) * rng.standard_normal(pixels.shape)

    return [_repainted(v, noisy) for v in values]


def shifted(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Moved by a twentieth of its sides, at least a pixel, in one of eight directions; what comes in is as the edge."""

    def elsewhere(pixels: np.ndarray) -> np.ndarray:
        down, right = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)][int(rng.integers(8))]
        high, wide = (max(1, round(_SHIFT * side)) for side in pixels.shape[:2])
        return moved(pixels, right * wide, down * high)

    return [_repainted(v, elsewhere) for v in values]


def brightness(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """A fifth darker, or brighter."""
    return [_repainted(v, lambda pixels: pixels * (1 + _BRIGHTNESS * (1 if rng.random() < 0.5 else -1))) for v in values]


def _repainted(raw: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A picture's bytes with its pixels (float64 [height, width] or [height, width, 3]) changed: a PNG. What is no picture stays."""
    from PIL import Image

    from sluice.fields.image import upright

    if not isinstance(raw, bytes | bytearray | memoryview):
        return raw
    pixels = change(upright(bytes(raw)).astype(np.float64))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def noisy_recordings(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Normal noise on every sample."""

    def noisy(wave: np.ndarray) -> np.ndarray:
        return wave + amount * float(wave.std()) * rng.standard_normal(len(wave))

    return [_rerecorded(v, noisy) for v in values]


def gain(values: Sequence[Any], rng: Generator, amount: float) -> list[Any]:
    """Six decibels louder, cut where that is too loud, or softer."""
    return [_rerecorded(v, lambda wave: wave * 10 ** (_GAIN / 20 * (1 if rng.random() < 0.5 else -1))) for v in values]


def _rerecorded(raw: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """A recording's bytes with its waveform changed: a WAV of 32-bit floats. What is no recording stays."""
    from sluice.fields.audio import read

    if not isinstance(raw, bytes | bytearray | memoryview):
        return raw
    rate, wave = read(bytes(raw))
    return _wav(rate, change(wave.astype(np.float64)))


def _wav(rate: int, wave: np.ndarray) -> bytes:
    """A waveform as the bytes of a WAV file; what is too loud is cut."""
    data = np.clip(wave, -1, 1).astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


TEXTS = {"typos": Disturbance(typos), "case": Disturbance(case), "whitespace": Disturbance(whitespace)}
NUMBERS = {"noise": Disturbance(noisy_numbers), "missing": Disturbance(missing, single=True)}
CELLS = {"missing": Disturbance(missing, single=True)}
PICTURES = {"noise": Disturbance(noisy_pictures), "shift": Disturbance(shifted), "brightness": Disturbance(brightness)}
RECORDINGS = {"noise": Disturbance(noisy_recordings), "gain": Disturbance(gain)}
