"""Pictures side by side, for a report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_GAP = 1
#: Pixels a picture is drawn across, at least.
_SHOWN = 48


def plate(pictures: np.ndarray, shape: Sequence[int], side: int) -> str:
    """The first pictures, `side` a row and as many rows, as one PNG in base64.

    Args:
        pictures: [rows, pixels] in [0, 1].
        shape: (height, width, channels).
    """
    from sluice.core.png import png

    height, width, channels = shape
    chosen = pictures[: side * side]
    rows = -(-len(chosen) // side)
    sheet = np.full((rows * (height + _GAP) - _GAP, side * (width + _GAP) - _GAP, channels), 255, np.uint8)
    for i, picture in enumerate(np.rint(np.clip(chosen, 0, 1) * 255).astype(np.uint8)):
        top, left = i // side * (height + _GAP), i % side * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture.reshape(shape)
    return base64.b64encode(png(sheet)).decode()


def section(found: Mapping[str, Any]) -> str:
    """Made pictures beside held-out ones, seed by seed, as the report shows them."""
    plates = found.get("plates")
    if not plates:
        return ""
    height, width, _ = found["picture"]
    across = 8 * width * max(1, -(-_SHOWN // max(height, width)))
    drawn = "".join(
        f'<figure style="margin:0"><img alt="pictures {name}" style="width:{across}px;max-width:100%;image-rendering:pixelated" '
        f'src="data:image/png;base64,{data}"><figcaption class="note">{name}</figcaption></figure>'
        for name, data in plates.items()
    )
    twins = found.get("repeated")
    said = "" if twins is None else f'<p class="note">{twins:.1%} of the made pictures have a twin among them</p>'
    return f'<h3>Pictures</h3><div style="display:flex;gap:24px;flex-wrap:wrap">{drawn}</div>{said}'
