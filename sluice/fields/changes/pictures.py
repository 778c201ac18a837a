"""Changes of pictures: each is decoded, changed and written as PNG, so that the served pre-processing reads it."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

from sluice.fields.changes.change import Change, number_of
from sluice.fields.field import Field

if TYPE_CHECKING:
    import numpy as np


class _OfPictures(Change):
    of = "pictures"

    def fits(self, field: Field) -> bool:
        from sluice.fields.image import Image

        return isinstance(field, Image)

    def variants(self, value: Any, chance: random.Random) -> list[Any]:
        import numpy as np
        from PIL import Image as Pillow
        from PIL import ImageOps

        with Pillow.open(io.BytesIO(value)) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        out = io.BytesIO()
        Pillow.fromarray(self.changed(np.asarray(picture), chance)).save(out, "PNG")
        return [out.getvalue()]

    def changed(self, pixels: np.ndarray, chance: random.Random) -> np.ndarray:
        """Pixels uint8 [height, width] or [height, width, 3], changed."""
        raise NotImplementedError


def moved(pixels: np.ndarray, right: int, down: int) -> np.ndarray:
    """Pixels [height, width] or [height, width, 3], so many to the right and down; what comes in is as the edge."""
    import numpy as np

    height, width = pixels.shape[:2]
    out: np.ndarray = pixels[np.clip(np.arange(height) - down, 0, height - 1)][:, np.clip(np.arange(width) - right, 0, width - 1)]
    return out


class Shift(_OfPictures):
    """``[right, down]`` in pixels; the edge goes on where the picture left."""

    def __init__(self, argument: Any):
        if not isinstance(argument, list) or len(argument) != 2 or not all(type(v) is int and abs(v) < 1000 for v in argument):
            raise ValueError(f"takes [right, down] in pixels, not {argument!r}")
        self.right, self.down = argument

    def changed(self, pixels: np.ndarray, chance: random.Random) -> np.ndarray:
        return moved(pixels, self.right, self.down)


class Brightness(_OfPictures):
    """So many times as bright: 0.8 is darker, 1.2 brighter."""

    def __init__(self, argument: Any):
        self.by = number_of(argument, "a factor")
        if not 0 < self.by <= 10:
            raise ValueError(f"takes a factor above 0, up to 10, not {argument!r}")

    def changed(self, pixels: np.ndarray, chance: random.Random) -> np.ndarray:
        import numpy as np

        return np.clip(np.rint(pixels * self.by), 0, 255).astype(np.uint8)


class Noise(_OfPictures):
    """Normal noise on each value, its deviation as a share of white."""

    def __init__(self, argument: Any):
        self.share = number_of(argument, "a share of white")
        if not 0 < self.share <= 1:
            raise ValueError(f"takes a share of white above 0, up to 1, not {argument!r}")

    def changed(self, pixels: np.ndarray, chance: random.Random) -> np.ndarray:
        import numpy as np

        drawn = np.random.default_rng(chance.getrandbits(64)).normal(0, 255 * self.share, pixels.shape)
        return np.clip(np.rint(pixels + drawn), 0, 255).astype(np.uint8)
