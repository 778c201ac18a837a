"""`sluice init --data` of a folder or an archive of files: which of them are rows, what their labels are, what is held out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sluice.commands.draft import Draft, task_of_rows
from sluice.core.errors import DataError
from sluice.data.filenames import guessed
from sluice.data.folders import LABELS_FILE, files_below
from sluice.data.look import Look, kind_in, looked_at
from sluice.data.scheme import Found
from sluice.fields import Field, field_of
from sluice.fields.text import Text

#: What sub-folders are called that divide the rows, not by label.
TRAIN = ("train", "training", "trn")
VALIDATION = ("val", "valid", "validation", "dev")
TEST = ("test", "testing", "tst", "eval", "evaluation")


def of_files(made: Draft, data: Path, inside: Path, label: str | None, choose: Callable[[Look], str]) -> Path:
    """Complete a project of files: in a sub-folder a label, listed in a table, or with names that say their labels.

    Args:
        data: the folder, or an archive of it.
        inside: the folder.
        label: of the parts of a name, the one that is the label.
        choose: the label's column of a table that has several.

    Returns:
        Where the rows that are learnt from lie.

    Raises:
        DataError: there are no such files, or names that do not tell labels.
    """
    if data == inside:
        data = inside = _part_of(made, data)
    found = kind_in(inside)
    if not made.raw["task"]:
        made.raw["task"] = task_of_rows(lambda v: v is not None and v.listed and found in (None, v.kind))
    value = made.value
    if value is None or value.files is None or found is None or field_of(found, found).files is not value.files:
        _check_endings(inside, data, value)
        names = sorted({p.suffix for p in inside.iterdir() if p.is_file()})
        word = value.files.word if value is not None and value.files is not None else "image"
        raise DataError(
            f"is a folder without {word}s in sub-folders",
            field="--data",
            value=str(data),
            fix=f"name a file in it{f', or a glob: {data}/*{names[0]}' if names else ''}; {word}s lie in a sub-folder a label",
        )
    if not value.loose and not (inside / LABELS_FILE).is_file() and any(p.suffix.lower() in value.files.read for p in inside.iterdir()):
        _named(made, files_below(Found(inside, data.name), value.files), label)
    if (inside / LABELS_FILE).is_file() and not value.loose:
        with looked_at(inside / LABELS_FILE, f"{data.name}/{LABELS_FILE}") as look:
            others = [c.name for c in look.columns if c.kind != value.kind]
            chosen = label or ("label" if "label" in others else others[0] if len(others) == 1 else None)
            chosen = chosen or choose(look)
        if chosen != "label":
            made.raw["data"].setdefault("columns", {})["label"] = chosen
    return data


def _part_of(made: Draft, data: Path) -> Path:
    """Of a folder that is divided into train, validation and test, the one that is learnt from; what is held out is named.

    A folder that holds nothing but another one is that one.
    """
    while (only := _only_folder(data)) is not None:
        made.raw["data"]["source"] = f"{made.raw['data']['source'].rstrip('/')}/{only.name}"
        data = only
    parts = _folders(data)
    train, others = next((parts[n] for n in TRAIN if n in parts), None), [n for n in parts if n not in TRAIN]
    if train is None or not divides(data):
        return data
    where = made.raw["data"]["source"].rstrip("/")
    held = [parts[n] for n in (*TEST, *VALIDATION) if n in parts and _divided_alike(train, parts[n])]
    made.raw["data"]["source"] = f"{where}/{train.name}"
    if held and "test" not in made.raw["data"]:
        made.raw["data"]["test"] = f"{where}/{held[0].name}"
        made.test = held[0]
        made.notes.append(f"rows are held out as the folders say: {held[0].name} (data.test)")
    unread = [parts[n].name for n in others if made.test != parts[n]]
    if unread:
        why = (
            "validation rows are taken out of train"
            if any(n in VALIDATION for n in map(str.lower, unread))
            else "it has no labels' folders"
        )
        made.notes.append(f"not read: {', '.join(unread)} ({why})")
    return train


def divides(folder: Path) -> bool:
    """Whether its sub-folders are train and what is held out, and not labels."""
    names = set(_folders(folder))
    return bool(names & set(TRAIN)) and bool(names - set(TRAIN)) and names <= {*TRAIN, *VALIDATION, *TEST}


def _folders(folder: Path) -> dict[str, Path]:
    return {p.name.lower(): p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))}


def _only_folder(folder: Path) -> Path | None:
    """The one folder that stands in another with nothing beside it, and has folders itself."""
    inside = [p for p in folder.iterdir() if not p.name.startswith((".", "__"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and _folders(inside[0]) else None


def _divided_alike(train: Path, other: Path) -> bool:
    """Whether the held-out folder has labels' folders where the other has them."""
    return any(p.is_dir() for p in other.iterdir()) == any(p.is_dir() for p in train.iterdir())


def _check_endings(inside: Path, data: Path, value: Field | None) -> None:
    """Raises `DataError` where what a folder holds is of a format that is not read: recordings as MP3, texts a file each."""
    ends = Counter(p.suffix.lower() for p in inside.rglob("*") if p.is_file() and not p.name.startswith("."))
    other = [e for e, _ in ends.most_common() if value is not None and value.files is not None and e in value.files.other]
    if other and value is not None and value.files is not None:
        raise DataError(
            f"holds {ends[other[0]]:,} files of a format that is not read ({other[0]})",
            field="--data",
            value=str(data),
            fix=f"convert them to {value.files.either}",
        )
    if ends.get(".txt", 0) > sum(ends.values()) / 2 and isinstance(value, Text):
        raise DataError(
            f"holds {ends['.txt']:,} texts, a file each, which are not read from a folder",
            field="--data",
            value=str(data),
            fix="put them into one CSV with a row a text and a column of labels: pandas.DataFrame([(p.read_text(), p.parent.name) "
            f"for p in pathlib.Path({str(data)!r}).rglob('*.txt')], columns=['text', 'label']).to_csv('texts.csv', index=False)",
        )


def _named(made: Draft, paths: list[Path], label: str | None) -> None:
    """What the names of files without labels' folders say."""
    pattern = guessed([p.stem for p in paths], label)
    if pattern is None:
        raise DataError(
            "lies in no label's folder, and names do not tell labels",
            field=paths[0].name,
            fix=f"put files into a sub-folder a label, or list files and labels in {LABELS_FILE}",
        )
    made.raw["data"]["columns"] = {"file_name": pattern}
    made.notes.append(
        f"the label is taken from the files' names, as {paths[0].name} is read by {pattern}; give parts their own names (data.columns.file_name)"
    )
    if others := [p for p in re.findall(r"{(.*?)}", pattern) if p != "label"]:
        made.notes.append(f"if rows of one {others[0]} belong together: split: {{by: group, column: {others[0]}}}")
