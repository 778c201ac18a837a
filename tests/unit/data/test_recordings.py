"""Recordings from folders, archives, lists and names of files, and what is wrong with them, before anything is trained."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from sluice.commands.starter import draft
from sluice.core.errors import DataError
from sluice.data.checks import validate
from sluice.data.config import Checks, Columns, Split
from sluice.data.filenames import NamePattern, guessed
from sluice.data.report import Report
from sluice.data.sounds import wav
from sluice.data.sources import Source, read_source
from sluice.fields import field_of


def tone(hertz: float = 440, seconds: float = 0.2, rate: int = 8000, loud: float = 0.5) -> bytes:
    return wav(loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)


def flac(hertz: float = 440) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.sin(2 * np.pi * hertz * np.arange(800) / 8000), 8000, format="FLAC")
    return out.getvalue()


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def read(root: Path, uri: str, **columns: str) -> Source:
    return read_source(uri, "auto", root, field_of("audio", "audio"), Columns(**columns))


def test_subfolders_are_labels_and_flac_is_read_beside_wav(tmp_path: Path) -> None:
    put(tmp_path, "s/low/a.wav", tone(200))
    put(tmp_path, "s/high/b.FLAC", flac(2000))
    found = read(tmp_path, "s").table
    assert found.to_pylist() == [{"audio": flac(2000), "label": "high"}, {"audio": tone(200), "label": "low"}]


@pytest.mark.parametrize(
    ("pattern", "label", "row"),
    [
        ("{label}_{speaker}_{take}", "label", {"label": "7", "speaker": "lucas", "take": "12"}),
        ("{digit}_{who}_{n}", "digit", {"digit": "7", "who": "lucas", "n": "12"}),
        ("{who}/{label}_{rest}", "label", {"who": "x", "label": "7", "rest": "lucas_12"}),
        ("{a}_{speaker}_{take}", "label", {"a": "7", "speaker": "lucas", "take": "12", "label": "x"}),
    ],
)
def test_names_of_files_say_their_labels(tmp_path: Path, pattern: str, label: str, row: dict[str, str]) -> None:
    put(tmp_path, "s/x/7_lucas_12.wav", tone())
    found = read(tmp_path, "s", file_name=pattern, label=label)
    assert found.table.drop_columns(["audio"]).to_pylist() == [row] and found.place(0) == "s/x/7_lucas_12.wav"


def test_a_glob_of_files_is_read_by_their_names(tmp_path: Path) -> None:
    for name in ("a-1", "b-2"):
        put(tmp_path, f"s/{name}.wav", tone())
    assert read(tmp_path, "s/*.wav", file_name="{label}-{n}").table.column("label").to_pylist() == ["a", "b"]
    with pytest.raises(DataError, match=r"files without labels(.|\n)*file_name"):
        read(tmp_path, "s/*.wav")


@pytest.mark.parametrize("ending", ["tar.xz", "tgz", "zip"])
def test_an_archive_stands_for_its_folder(tmp_path: Path, ending: str) -> None:
    files = {f"all/{kind}_{i}.wav": tone(200 + 100 * i) for kind in "ab" for i in range(2)}
    if ending == "zip":
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as z:
            for name, data in files.items():
                z.writestr(name, data)
            z.writestr("__MACOSX/._a", b"x")
    else:
        with tarfile.open(tmp_path / f"s.{ending}", f"w:{ending[-2:]}") as t:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
    found = read(tmp_path, f"s.{ending}", file_name="{label}_{n}")
    assert found.table.column("label").to_pylist() == ["a", "a", "b", "b"] and found.place(0) == f"s.{ending}/a_0.wav"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("s/a/x.wav", b"", "is empty"),
        ("s/a/x.wav", b"ID3" + bytes(40), "neither WAV nor FLAC"),
        ("s/a/x.mp3", b"ID3", r"not read \(.mp3\)"),
        ("s/x.wav", tone(), "lies in no label's folder"),
        ("s/a/b/x.wav", tone(), "deeper than its label's folder"),
    ],
)
def test_what_is_no_recording_is_named_with_its_file(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    put(tmp_path, name, data)
    with pytest.raises(DataError, match=says) as e:
        read(tmp_path, "s")
    assert e.value.field == name and e.value.fix


@pytest.mark.parametrize("ending", ["tar", "zip"])
def test_a_damaged_file_of_an_archive_is_named(tmp_path: Path, ending: str) -> None:
    path, data = tmp_path / f"s.{ending}", tone()
    if ending == "tar":
        with tarfile.open(path, "w") as t:
            for name in ("a/1.wav", "b/2.wav"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
        path.write_bytes(path.read_bytes()[: 1024 + len(data) + 512])  # ends within the second
    else:
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("a/1.wav", data)
            z.writestr("b/2.wav", data[::-1])
        whole = path.read_bytes()
        path.write_bytes(whole.replace(data[::-1][-40:], bytes(40)))
    with pytest.raises(DataError, match="cannot be unpacked") as e:
        read(tmp_path, path.name)
    assert e.value.field == f"s.{ending}: b/2.wav" and e.value.fix


def test_a_damaged_archive_and_a_name_that_does_not_fit_are_named(tmp_path: Path) -> None:
    (tmp_path / "s.zip").write_bytes(b"PK no")
    with pytest.raises(DataError, match="cannot be unpacked"):
        read(tmp_path, "s.zip")
    for name in ("s/a_1.wav", "s/b.wav", "s/c.wav"):
        put(tmp_path, name, tone())
    with pytest.raises(DataError, match=r"no name of the form \{label\}_\{n\} \(and 1 more\)") as e:
        read(tmp_path, "s", file_name="{label}_{n}")
    assert e.value.field == "s/b.wav"


@pytest.mark.parametrize(
    ("stems", "label", "pattern"),
    [
        ([f"{d}_{s}_{i}" for d in range(3) for s in "xy" for i in range(5)], None, "{label}_{part_2}_{part_3}"),
        ([f"{d}_{s}_{i}" for d in range(3) for s in "xy" for i in range(5)], "part_2", "{part_1}_{label}_{part_3}"),
        ([f"rec-{i}-{k}" for k in ("dog", "cat") for i in range(5)], "part_3", "{part_1}-{part_2}-{label}"),
        (["one", "two"], None, None),
        ([f"{i}_x" for i in range(9)], None, None),
    ],
)
def test_the_label_of_names_is_guessed_where_it_can_be(stems: list[str], label: str | None, pattern: str | None) -> None:
    assert guessed(stems, label) == pattern


@pytest.mark.parametrize("bad", ["label", "{a}{a}", "{}_{b}", "{1}"])
def test_a_pattern_names_each_part_once(bad: str) -> None:
    with pytest.raises(ValueError, match="must name parts"):
        NamePattern(bad)


def checked(recordings: list[bytes | None]) -> Report:
    labels = ["a", "b"] * (len(recordings) // 2)
    table = pa.table({"audio": pa.array(recordings, pa.binary()), "label": labels})
    return validate(table, None, kinds={"audio": "audio"}, objective="classification", checks=Checks(rows_min=2), split=Split())


def lines(report: Report) -> list[tuple[str, str]]:
    return [(c.status, c.message) for c in report.checks if c.name == "recordings"]


GOOD = [tone(200 + 10 * i) for i in range(60)]


@pytest.mark.parametrize(
    ("row", "status", "says"),
    [
        (GOOD[0], "pass", "all 60 recordings can be read; 0.20 to 0.20 seconds"),
        (wav(np.zeros(0)), "refuse", "1 recording cannot be read: row 60"),
        (b"RIFF" + bytes(30), "refuse", "1 recording cannot be read"),
        (wav(np.zeros(800)), "warn", r"1 recording \(1.67 %\) is silent"),
        (tone(rate=16000), "warn", r"several sample rates: 8000 Hz \(59\), 16000 Hz \(1\)"),
        (tone(seconds=12), "warn", "1 recording of more than 10 seconds"),
    ],
)
def test_what_is_odd_about_recordings_is_found(row: bytes, status: str, says: str) -> None:
    import re

    (found,) = lines(checked([*GOOD[:59], row]))
    assert found[0] == status and re.search(says, found[1]), found


def test_silence_alone_teaches_nothing() -> None:
    report = checked([wav(np.zeros(800 + i)) for i in range(60)])
    assert report.decision == "refuse" and lines(report)[0][0] == "refuse"
    assert report.columns[0]["silent"] == 60


def test_init_finds_the_task_and_the_label_of_a_folder_of_recordings(tmp_path: Path) -> None:
    for k, kind in enumerate(["dog", "cat"]):
        for who in ("x", "y"):
            for i in range(15):
                put(tmp_path, f"sounds/{kind}_{who}_{i}.wav", tone(300 + 500 * k + 7 * i + (who == "x")))
    made = draft(tmp_path / "sounds", tmp_path / "p", name="n", task=None, label=None, ask=None)
    assert made.raw["task"] == "audio" and made.raw["data"]["columns"] == {"file_name": "{label}_{part_2}_{part_3}"}
    assert "task: audio" in made.text("x") and made.report is not None and made.report.labels == {"cat": 30, "dog": 30}


def test_init_finds_recordings_that_a_table_lists(tmp_path: Path) -> None:
    rows = ["file,animal"]
    for i in range(60):
        put(tmp_path, f"all/{i}.wav", tone(300 + 5 * i))
        rows.append(f"all/{i}.wav,{'cat' if i % 2 else 'dog'}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    made = draft(tmp_path / "list.csv", tmp_path / "p", name="n", task=None, label="animal", ask=None)
    assert made.raw["task"] == "audio" and made.raw["data"]["columns"] == {"label": "animal", "audio": "file"}
