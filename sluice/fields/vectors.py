"""What a text, a picture or a recording is, in a few dozen numbers, without any model: cheap, and the same for ever, so that drift of whole rows can be seen.

Lengths, brightness and loudness are looked at beside them; these say how the rest is arranged: which words, which parts of a picture are bright,
which frequencies are loud.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Of words and of frequencies; a picture's are its cells, 8 by 8.
_WORDS, _BANDS, _CELLS = 64, 32, 8
#: Seconds of a recording.
_HEARD = 10


def of_texts(texts: Sequence[Any], word_break: str) -> Floats:
    """Words and pairs of neighbours, each at one of 64 places with a sign (Weinberger et al.: Feature hashing, ICML 2009), of length 1; NaN of what is no text."""
    import re

    out = np.zeros((len(texts), _WORDS))
    broken, places = re.compile(word_break), {}
    for i, text in enumerate(texts):
        words = [w for w in broken.split(text.lower()) if w] if isinstance(text, str) else []
        if not words:
            out[i] = np.nan
            continue
        for word in words:
            if word not in places:
                code = zlib.crc32(word.encode())
                places[word] = (code % _WORDS, 1.0 if code >> 16 & 1 else -1.0)
            at, sign = places[word]
            out[i, at] += sign
        out[i] /= max(float(np.sqrt((out[i] ** 2).sum())), 1e-12)
    return out


def of_pictures(values: Sequence[np.ndarray | None]) -> Floats:
    """Small pictures (UINT8 [channels, 32, 32]) as the brightness of 64 cells about their mean, in their own deviations; NaN where there is none."""
    out = np.full((len(values), _CELLS * _CELLS), np.nan)
    for i, picture in enumerate(values):
        if picture is not None:
            side = picture.shape[-1] // _CELLS
            cells = picture.astype(np.float64).mean(axis=0).reshape(_CELLS, side, _CELLS, side).mean(axis=(1, 3)).ravel()
            out[i] = (cells - cells.mean()) / (cells.std() + 1.0) / _CELLS
    return out


def of_waves(waves: Sequence[tuple[int, np.ndarray] | None]) -> Floats:
    """Recordings (rate, samples) as the share of their power in 32 bands of 60 Hz to 8 kHz, as roots; NaN where there is none, or nothing to hear."""
    out = np.full((len(waves), _BANDS), np.nan)
    edges = np.geomspace(60, 8000, _BANDS + 1)
    for i, wave in enumerate(waves):
        if wave is None:
            continue
        rate, heard = wave[0], wave[1][: _HEARD * wave[0]].astype(np.float64)
        if len(heard) < 2 or not np.isfinite(heard).all():
            continue
        power = np.abs(np.fft.rfft(heard - heard.mean())) ** 2
        bands = np.histogram(np.fft.rfftfreq(len(heard), 1 / rate), edges, weights=power)[0]
        if bands.sum() > 0:
            out[i] = np.sqrt(bands / bands.sum())
    return out
