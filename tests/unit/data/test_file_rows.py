"""Folders, archives and lists of files gone through a few files at a time: the same report, dataset, files and profile as read whole."""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sluice import project as projects
from sluice.core.errors import DataError, SluiceError
from sluice.data import filerows, inpieces, prepare
from sluice.data.shards import Shards
from sluice.tasks import load_task

N = 60


def picture(seed: int) -> bytes:
    r = np.random.default_rng(seed)
    out = io.BytesIO()
    size = (9, 8 + seed % 3)
    values = r.integers(0, 255, size, np.uint8) if seed % 4 else r.integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def sound(seed: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(8000)
        f.writeframes(np.random.default_rng(seed).integers(-9000, 9000, 400 + seed, np.int16).tobytes())
    return out.getvalue()


def folders(base: Path, ending: str, made: Callable[[int], bytes]) -> str:
    for i in range(N):
        folder = base / "files" / ("odd" if i % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}{ending}").write_bytes(made(i % 50))  # some stand twice
    return "files"


def packed(base: Path, ending: str, made: Callable[[int], bytes]) -> str:
    folders(base, ending, made)
    with tarfile.open(base / "files.tar.gz", "w:gz") as f:
        f.add(base / "files", "files")
    return "files.tar.gz"


def named(base: Path, ending: str, made: Callable[[int], bytes]) -> str:
    for i in range(N):
        (base / f"{'ab'[i % 2]}_{i}{ending}").write_bytes(made(i))
    return f"*{ending}"


def tabled(base: Path, ending: str, made: Callable[[int], bytes]) -> str:
    (base / "files").mkdir()
    lines = []
    for i in range(N):
        (base / "files" / f"{i}{ending}").write_bytes(made(i))
        lines.append(f"{'ab'[i % 2] if i else ''},{i}{ending},{i // 4}")  # the first has no label
    (base / "files" / "labels.csv").write_text("\n".join(["label,file,visit", *lines]) + "\n")
    return "files"


def outcome(base: Path, task: str, engine: str, **data: Any) -> Any:
    project = projects.parse({"name": "trial", "task": task, "data": {**data, "engine": engine}}, base_dir=base)
    report = prepare.validate_project_data(project, base, load_task(project, base)).to_dict()
    try:
        made = prepare.prepare(project, base, load_task(project, base), base / engine)
    except SluiceError as e:
        return report, str(e)
    return report, made.manifest, made.profile(), [p.read_bytes() for p in sorted(made.root.rglob("*.parquet"))]


@pytest.mark.parametrize("task, ending, made", [("image", ".png", picture), ("audio", ".wav", sound)])
@pytest.mark.parametrize(
    "write, more",
    [
        (folders, {"shard_rows": 17, "checks": {"duplicates_max": 0.01}}),
        (packed, {}),
        (named, {"columns": {"file_name": "{label}_{number}"}}),
        (tabled, {"split": {"by": "group", "column": "visit"}}),
    ],
)
def test_files_a_few_at_a_time_are_what_they_are_read_whole(
    tmp_path: Path, task: str, ending: str, made: Any, write: Any, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filerows, "_PART", 1 << 20)  # of 1 GB: a kilobyte a piece
    pieces: list[int] = []  # of each reading; 0 where it is whole
    read = inpieces.rows_in_pieces

    def watched(*given: Any) -> Any:
        found = read(*given)
        pieces.append(0 if found is None else sum(1 for _ in found[0].blocks(["label"])))
        return found

    monkeypatch.setattr(prepare, "rows_in_pieces", watched)
    settings = {"source": write(tmp_path, ending, made), **more}
    whole = outcome(tmp_path, task, "auto", **settings)
    assert pieces and not any(pieces)
    pieces.clear()
    assert outcome(tmp_path, task, "local", **settings) == whole
    assert pieces and min(pieces) > 5


@pytest.mark.parametrize("memory, pieces", [("1 GB", False), ("0.1 MB", True)])
def test_more_files_than_memory_holds_are_read_in_pieces(tmp_path: Path, memory: str, pieces: bool) -> None:
    source = folders(tmp_path, ".wav", sound)
    project = projects.parse({"name": "trial", "task": "audio", "data": {"source": source, "memory": memory}}, base_dir=tmp_path)
    found = inpieces.rows_in_pieces(project, tmp_path, load_task(project, tmp_path), tmp_path)
    assert (found is not None) is pieces


@pytest.mark.parametrize("fault", ["empty", "text", "loose"])
def test_what_is_wrong_with_a_file_is_said_as_of_a_folder_read_whole(tmp_path: Path, fault: str) -> None:
    source = folders(tmp_path, ".png", picture)
    path = tmp_path / "files" / ("even/030.png" if fault != "loose" else "loose.png")
    path.write_bytes({"empty": b"", "text": b"no picture", "loose": picture(1)}[fault])
    said = []
    for engine in ("auto", "local"):
        with pytest.raises(DataError) as e:
            outcome(tmp_path, "image", engine, source=source)
        said.append(str(e.value))
    assert said[0] == said[1] and path.name in said[0]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = folders(tmp_path, ".png", picture)
    (tmp_path / "files" / "odd" / "031.png").write_bytes(picture(3)[:60])
    reports = [outcome(tmp_path, "image", engine, source=source)[0] for engine in ("auto", "local")]
    assert reports[0] == reports[1] and reports[1]["decision"] == "refuse"
    assert any("odd/031.png" in c["message"] for c in reports[1]["checks"])


def test_a_row_group_of_large_values_ends_by_their_bytes_however_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sluice.data import shards

    monkeypatch.setattr(shards, "_GROUP_BYTES", 1000)
    rows = pa.table({"row_id": [str(i) for i in range(20)], "image": pa.array([bytes(300 if i < 10 else 40) for i in range(20)])})
    found = []
    for name, cut in (("a", 20), ("b", 3)):
        made = Shards(tmp_path / name, "train", 18) if (tmp_path / name).mkdir() is None else None
        assert made is not None
        for at in range(0, 20, cut):
            made.add(rows.slice(at, cut))
        made.close()
        files = sorted((tmp_path / name).rglob("*.parquet"))
        found.append([[pq.ParquetFile(f).metadata.row_group(i).num_rows for i in range(pq.ParquetFile(f).num_row_groups)] for f in files])
    assert found[0] == found[1] == [[4, 4, 10], [2]]


def test_rows_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filerows, "ROWS", 8)
    sizes = np.array([10, 10, 10, 10, 50, 1, 1, 1], np.int64)
    assert [filerows._rows_of_a_piece(sizes, most) for most in (1000, 60, 53, 51, 50, 5)] == [8, 4, 4, 2, 1, 1]


def test_a_link_to_nothing_among_files_is_named(tmp_path: Path) -> None:
    source = named(tmp_path, ".png", picture)
    (tmp_path / "a_999.png").symlink_to(tmp_path / "gone.png")
    for engine in ("auto", "local"):
        with pytest.raises(DataError, match=r"is a link to nothing(.|\n)*a_999.png"):
            outcome(tmp_path, "image", engine, source=source)
