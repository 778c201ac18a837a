"""Images from folders and lists, and what is wrong with them, by file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sluice.core.errors import DataError
from sluice.core.png import png
from sluice.data.config import Columns
from sluice.data.sources import Source, read_source
from sluice.fields import field_of
from sluice.fields.pixels import probe, thumbnails


def picture(seed: int = 0, form: str = "PNG", size: tuple[int, int] = (6, 5), mode: str = "L") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, form)
    return out.getvalue()


def put(root: Path, name: str, data: bytes | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture() if data is None else data)
    return path


def read(folder: Path, uri: str = "pets", **columns: str) -> Source:
    return read_source(uri, "auto", folder, field_of("image", "image"), Columns(**columns))


def test_subfolders_are_labels(tmp_path: Path) -> None:
    put(tmp_path, "pets/dog/2.png", picture(2))
    put(tmp_path, "pets/dog/10.JPG", picture(1, "JPEG"))
    put(tmp_path, "pets/cat/a.jpeg", picture(3, "JPEG"))
    put(tmp_path, "pets/cat/.hidden.png", b"x")
    put(tmp_path, "pets/.cache/x.png", b"x")
    put(tmp_path, "pets/dog/notes.txt", b"x")
    found = read(tmp_path)
    assert found.table.column("label").to_pylist() == ["cat", "dog", "dog"]
    assert found.table.column("image").to_pylist() == [picture(3, "JPEG"), picture(1, "JPEG"), picture(2)]
    assert [found.place(i) for i in range(3)] == ["pets/cat/a.jpeg", "pets/dog/10.JPG", "pets/dog/2.png"]


@pytest.mark.parametrize("header", ["file", "filename", "path", "image"])
def test_a_list_of_files_and_labels_counts_instead_of_subfolders(tmp_path: Path, header: str) -> None:
    for i in range(3):
        put(tmp_path, f"pets/all/{i}.png", picture(i))
    (tmp_path / "pets/labels.csv").write_text(f"{header},label\nall/2.png,dog\nall/0.png,cat\n")
    found = read(tmp_path)
    assert found.table.select(["image", "label"]).to_pylist() == [
        {"image": picture(2), "label": "dog"},
        {"image": picture(0), "label": "cat"},
    ]
    assert found.place(0) == "pets/all/2.png"
    again = read_source("pets/labels.csv", "auto", tmp_path, field_of("image", "image"), Columns())
    assert again.table.equals(found.table) and again.digest == found.digest


def test_the_digest_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for folder in ("a/pets", "b/other"):
        put(tmp_path, f"{folder}/dog/1.png", picture(1))
        put(tmp_path, f"{folder}/cat/1.png", picture(2))
    a, b = read(tmp_path / "a"), read(tmp_path / "b", "other")
    assert a.digest == b.digest
    put(tmp_path, "b/other/cat/1.png", picture(3))
    assert read(tmp_path / "b", "other").digest != a.digest


def listed(text: str):
    return lambda d: ((d / "pets").mkdir(), (d / "pets/labels.csv").write_text(text))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda d: (d / "pets").mkdir(), r"pets: holds no images in sub-folders"),
        (lambda d: put(d, "pets/1.png"), r"pets/1.png: lies in no label's folder"),
        (lambda d: put(d, "pets/train/dog/1.png"), r"pets/train/dog/1.png: lies deeper than its label's folder train"),
        (lambda d: (put(d, "pets/dog/1.png"), (d / "pets/cat").mkdir()), r"pets/cat: is a label's folder without images"),
        (lambda d: put(d, "pets/dog/1.webp"), r"pets/dog/1.webp: is of a format that is not read \(.webp\)"),
        (lambda d: put(d, "pets/dog/1.png", b""), r"pets/dog/1.png: is empty"),
        (lambda d: put(d, "pets/dog/1.png", b"<html>"), r"pets/dog/1.png: is neither PNG nor JPEG, whatever its name says"),
        (lambda d: (put(d, "pets/dog/1.png"), (d / "pets/dog/2.png").symlink_to("gone")), r"pets/dog/2.png: cannot be read: No such file"),
        (
            listed("file,label\ndog.png,dog\ncat.png,cat\n"),
            r"pets/labels.csv: names a file that is not there \(and 1 more\) \(got 'dog.png'\)",
        ),
        (
            listed("file,label\n../secret.png,dog\n/etc/passwd,cat\n"),
            r"pets/labels.csv: names a file outside the folder .*and 1 more.*'../secret.png'",
        ),
        (listed("file,label\nall/../../pets2/a.png,dog\n"), r"names a file outside the folder of the table"),
        (listed("name,label\ndog.png,dog\n"), r"pets/labels.csv: has no column of file names"),
        (listed("file,label\n,dog\n"), r"pets/labels.csv: row 1 names no image"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_by_file(tmp_path: Path, make, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message) as e:
        read(tmp_path)
    assert e.value.fix


def test_a_folder_of_images_for_a_task_without_images_is_a_directory_where_a_file_is_meant(tmp_path: Path) -> None:
    put(tmp_path, "pets/dog/1.png")
    with pytest.raises(DataError, match="is a directory where a file is meant"):
        read_source("pets", "auto", tmp_path, field_of("text", "text"))


def test_probe_tells_size_and_mode_or_what_is_wrong() -> None:
    good, cut = picture(size=(7, 9), mode="RGB"), picture(size=(40, 40))
    found = probe([good, picture(form="JPEG"), None, cut[: len(cut) // 2], b"\x89PNG\r\n\x1a\n", good.replace(b"IHDR", b"IHDX"), b""])
    assert (found[0].width, found[0].height, found[0].mode, found[0].error) == (7, 9, "RGB", None)
    assert found[1].error is None and found[2].error == "is missing"
    assert all(p.error and p.width == 0 for p in found[3:])


def test_probe_refuses_a_decompression_bomb_without_decoding_it() -> None:
    bomb = bytearray(png([[0] * 8] * 8))
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb[16:29] = head
    bomb[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + head))
    found = probe([bytes(bomb)])[0]
    assert found.error is not None and ("60000x60000" in found.error or "exceeds limit" in found.error)
    assert thumbnails([bytes(bomb)], None) == [None]


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (3, 70), (200, 5)])
def test_png_is_read_back_by_pillow(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels.tolist())))), pixels)


def test_thumbnails_are_what_a_model_sees_made_small() -> None:
    grey, colour, broken = thumbnails([picture(mode="L"), picture(mode="RGB"), b"x"], None)
    assert grey is not None and grey.grey and grey.values.shape == (1, 32, 32) and grey.pixels == 30
    assert colour is not None and not colour.grey and colour.values.shape == (3, 32, 32)
    assert broken is None
    assert thumbnails([picture(mode="L")], 3)[0].values.shape == (3, 32, 32)


def test_parquet_with_the_bytes_of_images_is_a_source(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [picture(1), picture(2)], "label": ["a", "b"]}), tmp_path / "x.parquet")
    assert read(tmp_path, "x.parquet").table.column("image").to_pylist() == [picture(1), picture(2)]
