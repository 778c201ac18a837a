"""Images: PNG or JPEG bytes to raw pixels; scaling to numbers a model likes happens inside the graph."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.field import Field
from sluice.fields.files import Files

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.pieces import Pieces
    from sluice.fields.summaries import Cells

LIMIT_BYTES = 32 << 20
#: Pixels of the encoded image: 64 million decode to 192 MB of RGB.
LIMIT_PIXELS = 64 << 20
_LIMIT_SIDE = 4096
#: Where a PNG says how many bits a sample has: in its header, the first chunk.
_DEPTH = 24


class Image(Field):
    """Encoded pictures: PNG or JPEG. A row is its value alone."""

    kind = "image"
    listed = True
    files = Files(
        "image",
        ("PNG", "JPEG"),
        frozenset({".png", ".jpg", ".jpeg"}),
        frozenset({".bmp", ".gif", ".webp", ".tif", ".tiff", ".heic", ".avif", ".ico", ".svg", ".ppm", ".pgm"}),
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"),
        LIMIT_BYTES,
    )
    blob = True
    lacks = "no image (null)"
    checks = frozenset({"images"})
    column_type = "binary"

    @classmethod
    def processor(cls) -> type[Processor] | None:
        """`ImageProcessor`."""
        return ImageProcessor

    def disturbances(self) -> Mapping[str, Disturbance]:
        """Noise, a shift, another brightness."""
        from sluice.fields.changes.disturbances import PICTURES

        return PICTURES

    @property
    def arrow(self) -> pa.DataType:
        """binary."""
        import pyarrow as pa

        return pa.binary()

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, the sizes in pixels (as ``top``) and colour modes. Raises `MissingExtra`."""
        from sluice.fields.summaries import TOP

        good = [p for p in cells.probes if p.error is None]
        sizes, modes = Counter(f"{p.width}x{p.height}" for p in good), Counter(p.mode for p in good)
        return {
            **super().summary(cells),
            "distinct": cells.distinct,
            "unreadable": len(cells.probes) - len(good),
            "bytes": cells.bytes,
            "modes": dict(modes.most_common(TOP)),
            "top": [{"value": s, "count": n} for s, n in sorted(sizes.items(), key=lambda kv: (-kv[1], kv[0]))[:TOP]],
        }

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Parts ``brightness``, ``contrast``, ``pixels``, and ``channel_0`` ..., of a sample of images."""
        from sluice.fields.pixels import reference

        return {"kind": self.kind, **reference(rows, self.name)}

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of each part; what cannot be read is missing."""
        from sluice.fields.pixels import counts

        return counts(reference, values)

    def vectors(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """Where they are bright."""
        from sluice.fields.pixels import thumbnails
        from sluice.fields.vectors import of_pictures

        return of_pictures([None if t is None else t.values for t in thumbnails(values, None)])


class ImageProcessor(Processor):
    """Rows are the bytes of a PNG or JPEG file.

    The picture is turned upright by its EXIF orientation, laid over white where it is transparent,
    converted to grey (ITU-R 601-2 luma) or RGB, and resized with Pillow's area-aware bilinear filter
    unless it has the size already. 16-bit grey keeps its 8 high bits.

    Args:
        channels: 1 (grey) or 3 (RGB).
        size: (height, width) in pixels.

    Raises:
        PackageError: another number of channels, or a size out of range.
    """

    kind: ClassVar[str] = "image"
    value = Image("image")

    def __init__(self, channels: int, size: Sequence[int]):
        if channels not in (1, 3):
            raise PackageError("must be 1 or 3", field="preprocess.channels", value=channels)
        if len(size) != 2 or not all(type(n) is int and 1 <= n <= _LIMIT_SIDE for n in size):
            raise PackageError(f"must be [height, width] in 1..{_LIMIT_SIDE}", field="preprocess.size", value=list(size))
        self.channels, self.size = channels, (size[0], size[1])
        self.inputs = (TensorSpec("image", "UINT8", (-1, channels, *self.size)),)

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> ImageProcessor:
        """Read ``{"kind": "image", "channels": 1, "size": [height, width]}``. Raises `PackageError`."""
        only(spec, "kind", "channels", "size")
        return cls(setting(spec, "channels", int), setting(spec, "size", (list, tuple)))

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """`image`, UINT8 [channels, height, width] each. Raises `InputError`."""
        return [{"image": self._pixels(row, f"rows[{i}]")} for i, row in enumerate(rows)]

    def _pixels(self, raw: Any, field: str) -> np.ndarray:
        from PIL import Image, ImageOps

        if not isinstance(raw, bytes | bytearray | memoryview):
            raise InputError("is not an image", field=field, value=raw, fix="send the bytes of a PNG or JPEG file")
        if len(raw) > LIMIT_BYTES:
            raise InputError(f"is larger than {LIMIT_BYTES} bytes", field=field, value=len(raw), fix="send a smaller image")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of large or odd files; limits and errors here are our own
                with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG")) as picture:
                    width, height = picture.size
                    if width * height > LIMIT_PIXELS:
                        raise InputError(
                            f"has more than {LIMIT_PIXELS} pixels", field=field, value=f"{width}x{height}", fix="send a smaller image"
                        )
                    picture.load()
                    whole = _deep_and_clear(picture, raw) or picture
                    image = _flatten(ImageOps.exif_transpose(whole), "L" if self.channels == 1 else "RGB")
                    if image.size != (self.size[1], self.size[0]):
                        image = image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
                    array = np.array(image, dtype=np.uint8)
        except unreadable() as e:
            raise InputError(
                f"is not a readable PNG or JPEG image: {reason(e)}",
                field=field,
                value=bytes(raw[:16]),
                fix="send the whole file's bytes, PNG or JPEG",
            ) from e
        return array[None] if self.channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))

    def pieces(self, row: Any) -> Pieces:
        """Squares of the picture as the model sees it. Raises `InputError`."""
        from sluice.fields.pieces import of_pixels

        return of_pixels(self._pixels(row, "rows[0]"))

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """UINT8 [examples, channels, height, width]."""
        return {"image": np.stack([e["image"] for e in examples])}

    def spec(self) -> dict[str, Any]:
        return {"kind": "image", "channels": self.channels, "size": list(self.size)}


def upright(raw: bytes) -> np.ndarray:
    """A picture's pixels as a person sees them, transparency laid over white: uint8 [height, width], or [height, width, 3] where it has colours.

    Raises what `unreadable` lists.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG")) as picture:
        picture.load()
        turned = ImageOps.exif_transpose(_deep_and_clear(picture, raw) or picture)
        return np.array(_flatten(turned, "L" if turned.mode in ("1", "L", "LA", "La") or turned.mode.startswith("I") else "RGB"))


def unreadable() -> tuple[type[Exception], ...]:
    """What Pillow raises of bytes that are no picture it reads: its decoders let through whatever their own parsing meets."""
    from PIL import Image

    parsing = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError, AttributeError, ZeroDivisionError)
    return (*parsing, struct.error, zlib.error, Image.DecompressionBombError)


def reason(error: Exception) -> str:
    """Why Pillow cannot read an image, without the address of the buffer it was read from."""
    return str(error).split(" <_io")[0] or type(error).__name__


def _deep_and_clear(picture: Any, raw: bytes | bytearray | memoryview) -> Any:
    """A 16-bit PNG that calls one colour transparent (tRNS) as 8-bit RGBA; null for other pictures.

    PNG (Third Edition) 11.3.1.1: all 16 bits of a sample count. Pillow keeps the high 8 of RGB, so the low ones are read by themselves.
    """
    from PIL import Image

    clear = picture.info.get("transparency")
    if picture.format != "PNG" or raw[_DEPTH] != 16:
        return None
    if picture.mode == "I;16" and isinstance(clear, int):
        deep = np.asarray(picture)
        opaque, colours = deep != clear, [(deep >> 8).astype(np.uint8)] * 3
    elif picture.mode == "RGB" and isinstance(clear, tuple):
        with Image.open(io.BytesIO(raw), formats=("PNG",)) as low:
            low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]
            deep = np.asarray(picture).astype(np.uint16) << 8 | np.asarray(low)
        opaque, colours = (deep != np.array(clear, np.uint16)).any(axis=2), list(np.asarray(picture).transpose(2, 0, 1))
    else:
        return None
    out = Image.fromarray(np.dstack([*colours, np.where(opaque, 255, 0).astype(np.uint8)]), "RGBA")
    out.info = {k: v for k, v in picture.info.items() if k != "transparency"}  # with its orientation
    return out


def _flatten(picture: Any, mode: str) -> Any:
    """Eight bits a channel in `mode`, transparency laid over white."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert(mode)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over).convert("RGB")
    return picture.convert(mode)
