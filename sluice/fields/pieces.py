"""A value in pieces, and the value without each: what an answer comes from, shown upon the text, the picture or the sound itself."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import wave
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sluice.core.png import png

#: Squares on a picture's longer side; words or runs of characters of a text; parts of a sound.
SQUARES, WORDS, PARTS = 8, 60, 24
#: Pixels of the longer side and points of an outline that are kept to be drawn.
_SIDE, _POINTS = 96, 240
_WORD = re.compile(r"\S+")
#: What speaks for the answer, and what against it.
_FOR, _AGAINST = "0,114,178", "213,94,0"
#: What those hear who do not see a picture.
_HEARD = "the value, its parts coloured by what they say for the answer and against it"


@dataclasses.dataclass(frozen=True)
class Pieces:
    """A raw value, taken apart.

    Attributes:
        shown: what a page needs to draw the value; plain JSON.
        places: where each piece lies in it: [start, end] of a text's characters or of 0..1 of a sound, [x, y, width, height] of 0..1 of a picture.
        without: the raw value without each piece, as a client would send it.
    """

    shown: dict[str, Any]
    places: list[list[float]]
    without: list[Any]


def of_text(text: str) -> Pieces:
    """A text's words; of one without spaces or with too many of them, runs of characters. Only the first 600 characters are looked at."""
    head = text[:600]
    spans = [m.span() for m in _WORD.finditer(head)]
    if len(spans) < 3 and len(head.strip()) > 3:
        spans = [(i, i + 1) for i, c in enumerate(head) if not c.isspace()]
    while len(spans) > WORDS:
        spans = [(a[0], b[1]) for a, b in zip(spans[::2], [*spans[1::2], spans[-1]], strict=False)]
    kept = [(a, b, (text[:a].rstrip() + " " + text[b:].lstrip()).strip() if " " in text else text[:a] + text[b:]) for a, b in spans]
    kept = [k for k in kept if k[2].strip()]
    return Pieces({"text": head}, [[a, b] for a, b, _ in kept], [rest for *_, rest in kept])


def of_pixels(pixels: np.ndarray) -> Pieces:
    """Squares of a picture, each in turn laid over with the picture's mean colour.

    Args:
        pixels: UINT8 [channels, height, width].
    """
    _, height, width = pixels.shape
    side = max(1, -(-max(height, width) // SQUARES))
    mean = pixels.mean((1, 2)).round().astype(np.uint8)
    places, without = [], []
    for y in range(0, height, side):
        for x in range(0, width, side):
            covered = pixels.copy()
            covered[:, y : y + side, x : x + side] = mean[:, None, None]
            without.append(png(covered.transpose(1, 2, 0)))
            tall, wide = min(side, height - y), min(side, width - x)
            places.append([round(n, 4) for n in (x / width, y / height, wide / width, tall / height)])
    step = -(-max(height, width) // _SIDE)
    small = pixels[:, ::step, ::step].transpose(1, 2, 0)
    return Pieces({"png": base64.b64encode(png(small)).decode(), "ratio": round(width / height, 4)}, places, without)


def of_wave(samples: np.ndarray, rate: int) -> Pieces:
    """Parts of a sound, each in turn silent.

    Args:
        samples: float [samples], of one channel, in -1..1.
        rate: samples a second.
    """
    edges = np.unique(np.linspace(0, len(samples), PARTS + 1).astype(int))
    places, without = [], []
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rest = samples.copy()
        rest[a:b] = 0
        if rest.any():
            places.append([round(a / len(samples), 4), round(b / len(samples), 4)])
            without.append(_wav(rest, rate))
    groups = np.array_split(np.abs(samples), min(_POINTS, len(samples)))
    peaks = np.array([g.max() for g in groups])
    return Pieces({"outline": (peaks / (peaks.max() or 1)).round(3).tolist(), "seconds": round(len(samples) / rate, 3)}, places, without)


def _wav(samples: np.ndarray, rate: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def drawn(shown: Mapping[str, Any], places: Sequence[Sequence[float]], weights: Sequence[float]) -> str:
    """The value as HTML, each piece coloured by its weight: blue speaks for the answer, orange against it."""
    most = max((abs(w) for w in weights), default=0) or 1
    colours = [f"rgba({_FOR if w > 0 else _AGAINST},{0.65 * abs(w) / most:.2f})" for w in weights]
    titles = [f"{w:+.2f}" for w in weights]
    if "text" in shown:
        return _text(str(shown["text"]), places, colours, titles)
    if "png" in shown:
        wide, tall = (160, 160 / shown["ratio"]) if shown["ratio"] >= 1 else (160 * shown["ratio"], 160)
        image = f'<image href="data:image/png;base64,{escape(str(shown["png"]), quote=True)}" width="{wide:.0f}" height="{tall:.0f}" preserveAspectRatio="none" style="image-rendering:pixelated"/>'
        squares = "".join(
            f'<rect x="{x * wide:.1f}" y="{y * tall:.1f}" width="{w * wide:.1f}" height="{h * tall:.1f}" fill="{c}"><title>{t}</title></rect>'
            for (x, y, w, h), c, t in zip(places, colours, titles, strict=True)
        )
        return (
            f'<svg viewBox="0 0 {wide:.0f} {tall:.0f}" style="width:{wide:.0f}px" role="img" aria-label="{_HEARD}">{image}{squares}</svg>'
        )
    return _outline(shown["outline"], places, colours, titles)


def _text(text: str, places: Sequence[Sequence[float]], colours: Sequence[str], titles: Sequence[str]) -> str:
    out, at = "", 0
    for (a, b), colour, title in zip(places, colours, titles, strict=True):
        start, end = int(a), int(b)
        out += f'{escape(text[at:start])}<span style="background:{colour}" title="{title}">{escape(text[start:end])}</span>'
        at = end
    return f"<span>{out}{escape(text[at:])}</span>"


def _outline(outline: Sequence[float], places: Sequence[Sequence[float]], colours: Sequence[str], titles: Sequence[str]) -> str:
    wide, tall = 240, 48
    parts = "".join(
        f'<rect x="{a * wide:.1f}" y="0" width="{(b - a) * wide:.1f}" height="{tall}" fill="{c}"><title>{t}</title></rect>'
        for (a, b), c, t in zip(places, colours, titles, strict=True)
    )
    bars = "".join(
        f'<line x1="{i * wide / len(outline):.1f}" x2="{i * wide / len(outline):.1f}" y1="{tall / 2 * (1 - v):.1f}" y2="{tall / 2 * (1 + v):.1f}" stroke="currentColor"/>'
        for i, v in enumerate(outline)
    )
    return f'<svg viewBox="0 0 {wide} {tall}" style="width:{wide}px" role="img" aria-label="{_HEARD}">{parts}{bars}</svg>'
