"""Forms in which collections of data are handed round: `sluice init` says what they are, and its command writes them as they are read."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sluice.cli import main
from sluice.data.sounds import wav
from sluice.project import load

WORDS = ("Anna flew to Oslo .", "In Rome it rained", "Otto saw Mia , then left", "Nobody came")
TAGS = {"Anna": "B-PER", "Otto": "B-PER", "Mia": "B-PER", "Oslo": "B-LOC", "Rome": "B-LOC"}
SENTENCES = [[(w, TAGS.get(w, "O")) for w in WORDS[i % 4].split()] for i in range(60)]


def said(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[int, str]:
    code = main(["init", str(folder / "p"), *more])
    got = capsys.readouterr()
    return code, got.out + got.err


def convert(text: str, folder: Path) -> list[str]:
    """Run the command that an error names; what it says to give to `sluice init` then."""
    command = re.search(r'python3 -c "(.*)"\nthen: (.*)', text)
    assert command is not None, text
    subprocess.run([sys.executable, "-c", command[1]], cwd=folder, check=True)
    return command[2].split()


def conll(sep: str, ends: str = "\n") -> str:
    return (ends * 2).join(ends.join(f"{w}{sep}NN{sep}{t}" for w, t in s) for s in SENTENCES) + ends


def conllu() -> str:
    blocks = ["# text = x\n" + "\n".join(f"{i + 1}\t{w}\t{w}\t{t}" + "\t_" * 6 for i, (w, t) in enumerate(s)) for s in SENTENCES]
    return "\n\n".join(blocks) + "\n"


def rows(every: bool) -> str:
    lines = ["Sentence #,Word,POS,Tag"]
    for i, s in enumerate(SENTENCES):
        lines += [f'{f"Sentence: {i}" if every or k == 0 else ""},"{w}",NN,{t}' for k, (w, t) in enumerate(s)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        conll(" "),
        conll("\t"),
        conll(" ", "\r\n"),
        "-DOCSTART- -X- O\n\n" + conll(" "),
        conllu(),
        rows(every=False),
        rows(every=True),
    ],
    ids=["blanks", "tabs", "windows", "docstart", "conllu", "first word", "every word"],
)
def test_words_with_tags_become_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    task = ["--task", "tagging"] if len(text) % 2 else []
    (tmp_path / "train.txt").write_bytes(text.encode())
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / "train.txt"), *task)
    assert code == 2 and "where a sentence a row is read" in told
    then = convert(told, tmp_path)
    made = [json.loads(line) for line in (tmp_path / "sentences.jsonl").read_text().splitlines()]
    assert [list(zip(r["tokens"], r["tags"], strict=True)) for r in made] == SENTENCES
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / then[1]), *then[2:])
    assert code == 0, told


def test_fasttext_becomes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"__label__{'good' if i % 2 else 'bad'} the meal number {i} was {'fine' if i % 2 else 'cold'}" for i in range(80)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / "train.txt"))
    assert code == 2 and "fastText" in told
    then = convert(told, tmp_path)
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / then[1]), *then[2:])
    assert code == 0 and "label 'label', 80 rows" in told


def recording(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(0.3 * np.random.default_rng(seed).normal(size=4000).clip(-1, 1), 8000))


@pytest.mark.parametrize("layout", ["ljspeech", "ljspeech folder", "librispeech"])
def test_transcripts_beside_recordings_become_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    base, texts = tmp_path / "corpus", ["one two", "two three", "three one one"]
    if layout == "librispeech":
        data = base
        for speaker in range(4):
            chapter = base / str(100 + speaker) / "7"
            lines = [f"{100 + speaker}-7-{i:04d} {texts[i % 3].upper()}" for i in range(8)]
            for i, line in enumerate(lines):
                recording(chapter / f"{line.split()[0]}.wav", 8 * speaker + i)
            (chapter / f"{100 + speaker}-7.trans.txt").write_text("\n".join(lines) + "\n")
    else:
        for i in range(32):
            recording(base / "wavs" / f"LJ-{i}.wav", i)
        (base / "metadata.csv").write_text("".join(f"LJ-{i}|{texts[i % 3].title()}.|{texts[i % 3]}\n" for i in range(32)))
        data = base if "folder" in layout else base / "metadata.csv"
    code, told = said(capsys, tmp_path, "--data", str(data), "--task", "transcribe")
    assert code == 2 and "is laid out as" in told
    then = convert(told, tmp_path)
    code, told = said(capsys, tmp_path, "--data", then[1], *then[2:])
    assert code == 0 and "label 'transcript', 32 rows" in told


def test_recordings_to_mix_in_are_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(40):
        recording(tmp_path / "d" / ("yes" if i % 2 else "no") / f"{i}.wav", i)
    recording(tmp_path / "d" / "_background_noise_" / "running_tap.wav", 99)
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / "d"), "--task", "audio")
    assert code == 0 and "40 rows" in told
    assert "labels: ['no', 'yes']" in (tmp_path / "p" / "sluice.yaml").read_text()


@pytest.mark.parametrize(("separator", "called"), [("::", "'::'"), ("   ", "blanks")], ids=["colons", "blanks"])
def test_separators_of_several_characters_are_told_with_what_replaces_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str, called: str
) -> None:
    lines = [separator.join((f"u{i % 9}", f"i{i % 7}", str(1 + i % 5), str(978300760 + i))) for i in range(60)]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n")
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / "ratings.dat"), "--task", "recommend")
    assert code == 2 and f"cells separated by {called}" in told
    command = re.search(r"(sed -E '.*?') ratings\.dat > (ratings\.tsv)", told)
    assert command is not None
    with (tmp_path / "ratings.tsv").open("w") as out:
        subprocess.run(["bash", "-c", f"{command[1]} ratings.dat"], cwd=tmp_path, stdout=out, check=True)
    names = ["model.user=column_1", "model.item=column_2", "model.weight=column_3", "model.time=column_4"]
    more = [v for n in names for v in ("--set", n)]
    code, told = said(capsys, tmp_path, "--data", str(tmp_path / "ratings.tsv"), "--task", "recommend", *more)
    assert code == 0, told


def test_a_file_that_only_looks_like_one_of_them_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A blank line here and there among rows, a column called sentence."""
    lines = ["sentence,label"] + [f"it was a day number {i},{'good' if i % 2 else 'bad'}" + ("\n" if i == 9 else "") for i in range(80)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    assert said(capsys, tmp_path, "--data", str(tmp_path / "rows.csv"))[0] == 0


def test_rows_with_a_blank_line_among_them_are_no_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["place;size state"] + [f"p{i % 7};{i} {'ok' if i % 2 else 'bad'}" + ("\n" if i == 900 else "") for i in range(1000)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    assert "a sentence a row" not in said(capsys, tmp_path, "--data", str(tmp_path / "rows.csv"))[1]


def pictures(folder: Path, many: int = 30) -> dict[str, set[str]]:
    """Pictures in two folders that divide them, and which classes each holds; red ones hold a dog, blue ones a cat."""
    held = {}
    for i in range(many):
        colour = [(200, 30, 30), (30, 30, 200), (200, 30, 200)][i % 3]
        path = folder / "images" / ("train" if i % 5 else "val") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.array(colour) + np.random.default_rng(i).integers(-20, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        held[path.relative_to(folder).as_posix()] = {n for n, there in (("dog", colour[0] > 100), ("cat", colour[2] > 100)) if there}
    return held


def coco(folder: Path, held: dict[str, set[str]]) -> None:
    ids = {"dog": 3, "cat": 7}
    boxes = [{"image_id": k, "category_id": ids[n], "bbox": [1, 1, 2, 2]} for k, names in enumerate(held.values()) for n in sorted(names)]
    whole = {
        "images": [{"id": k, "file_name": Path(p).name, "width": 16, "height": 16} for k, p in enumerate(held)],
        "annotations": boxes,
        "categories": [{"id": i, "name": n} for n, i in ids.items()],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_text(json.dumps(whole))


def yolo(folder: Path, held: dict[str, set[str]]) -> None:
    for path, names in held.items():
        text = (folder / path.replace("images/", "labels/")).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("".join(f"{['cat', 'dog'].index(n)} 0.5 0.5 0.25 1e-3\n" for n in sorted(names)))


def voc(folder: Path, held: dict[str, set[str]]) -> None:
    (folder / "Annotations").mkdir()
    for path, names in held.items():
        objects = "".join(f"<object><name>{n}</name><bndbox><xmin>1</xmin></bndbox></object>" for n in sorted(names))
        (folder / "Annotations" / f"{Path(path).stem}.xml").write_text(f"<annotation><filename>x</filename>{objects}</annotation>")


@pytest.mark.parametrize("form", [coco, yolo, voc])
def test_of_boxes_the_classes_that_a_picture_holds_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Callable[[Path, dict[str, set[str]]], None]
) -> None:
    held = pictures(tmp_path / "set")
    form(tmp_path / "set", held)
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / "set"))
    assert code == 2 and "which no task learns; which classes a picture holds can be learnt" in text
    again = convert(text, tmp_path)
    written = {Path(r["file"]).name: set(r["label"].split("|")) for r in csv.DictReader((tmp_path / "classes.csv").open())}
    named = {"0": "cat", "1": "dog"} if form is yolo else {"cat": "cat", "dog": "dog"}
    assert {f: {named[n] for n in names} for f, names in written.items()} == {Path(p).name: names for p, names in held.items()}
    assert again == ["--data", "classes.csv", "--task", "image"]
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / "classes.csv"), "--task", "image")
    assert code == 0 and "several labels a row" in text


def test_masks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "set", 10)
    for path in list((tmp_path / "set" / "images").rglob("*.png")):
        mask = tmp_path / "set" / "masks" / f"{path.stem}_mask.png"
        mask.parent.mkdir(exist_ok=True)
        mask.write_bytes(path.read_bytes())
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / "set"))
    assert code == 2 and "holds pictures (images) and their masks (masks), which no task learns" in text


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Validation"), ("train", "val", "test")])
def test_folders_that_divide_the_rows_are_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]) -> None:
    for k, part in enumerate(names):
        for i in range(24):
            path = tmp_path / "set" / part / ("dog" if i % 2 else "cat") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(100 * k + i).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / "set"))
    assert code == 0 and f"rows are held out as the folders say: {names[-1]} (data.test)" in text
    assert ("not read: val (validation rows are taken out of train)" in text) == (len(names) == 3)
    data = load(tmp_path / "p" / "sluice.yaml").data
    assert (data.source, data.test) == (f"../set/{names[0]}", f"../set/{names[-1]}")
    assert main(["data", "check", str(tmp_path / "p" / "sluice.yaml")]) == 0


def test_a_folder_of_loose_files_to_be_told_is_not_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(40):
        for path in (tmp_path / "set" / "train" / ("dog" if i % 2 else "cat") / f"{i}.png", tmp_path / "set" / "test" / f"{i}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / "set"))
    assert code == 0 and "not read: test (it has no labels' folders)" in text
    assert load(tmp_path / "p" / "sluice.yaml").data.test is None


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_an_archive_of_such_folders_is_to_be_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    for part in ("train", "test"):
        for i in range(40):
            path = tmp_path / "made" / "set" / part / ("dog" if i % 2 else "cat") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = i + 100 * (part == "test")
            Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(path)
    packed = shutil.make_archive(str(tmp_path / "pets"), form, tmp_path / "made")
    code, text = said(capsys, tmp_path, "--data", packed)
    command = re.search("unpack it: (.*)\nthen: --data (.*)", text)
    assert code == 2 and command is not None
    subprocess.run(command[1], shell=True, cwd=tmp_path, check=True)
    code, text = said(capsys, tmp_path, "--data", str(tmp_path / command[2]))  # the folder in it is all there is
    assert code == 0 and load(tmp_path / "p" / "sluice.yaml").data.test == "../pets/set/test"
