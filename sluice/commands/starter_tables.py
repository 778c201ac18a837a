"""`sluice init --data` of tables: one file, the parts of one in a folder or of a glob, and those that a folder's names hold out."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from sluice.commands.draft import Draft
from sluice.commands.starter_files import TEST, TRAIN, VALIDATION
from sluice.core.errors import DataError
from sluice.data.forms import format_of
from sluice.data.look import looked_at
from sluice.data.packed import PACKED

#: Sub-folders of a table that is divided by a column's values.
_BY_VALUE = re.compile(r"[^=]+=.*")


@dataclasses.dataclass(frozen=True)
class Tables:
    """Where rows lie.

    Attributes:
        first: the file that is looked at.
        source: all of them: that file, or a glob.
        given, where: the same as it is called in errors, and as it is seen from the project.
        test: a file that a folder's names hold out.
        note: what was found out, in a sentence; "" where there is nothing to say.
    """

    first: Path
    source: Path
    given: str
    where: str
    test: Path | None = None
    note: str = ""


def holds_tables(folder: Path) -> bool:
    """Whether a folder holds files of rows, and nothing else that is read."""
    inside = [p for p in folder.iterdir() if not p.name.startswith((".", "_"))]
    if inside and all(p.is_dir() and _BY_VALUE.fullmatch(p.name) for p in inside):
        return True
    return (
        any(p.is_file() and format_of(p) for p in inside) and not any(p.is_dir() for p in inside) and not (folder / "labels.csv").is_file()
    )


def tables_of(data: Path, given: str, where: str) -> Tables:
    """The rows of a file, a folder or a glob.

    Args:
        data: where they lie, absolute. given: as it was said. where: as it is seen from the project.

    Raises:
        DataError: there is none; a folder holds several tables, or one that is divided by a column.
    """
    if data.is_dir():
        return _in_folder(data, given.rstrip("/"), where)
    if "*" in data.name and not data.exists():
        found = sorted(p for p in data.parent.glob(data.name) if p.is_file())
        if found:
            return Tables(found[0], data, given, where, note=f"{len(found)} files; {found[0].name} was looked at" if len(found) > 1 else "")
    if not data.is_file():
        raise DataError("no such file", field="--data", value=given, fix=f"it was looked for at {data}")
    return Tables(data, data, given, where)


def _in_folder(folder: Path, given: str, where: str) -> Tables:
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    if all(p.is_dir() for p in inside):
        code = f"import pandas as pd; pd.read_parquet({given!r}).to_parquet('rows.parquet')"
        raise DataError(
            f"is a table divided by {inside[0].name.partition('=')[0]}, whose values stand in its folders' names, which are not read",
            field="--data",
            value=given,
            fix=f'write it as one file: python3 -c "{code}"\nthen: --data rows.parquet',
        )
    tables = [p for p in inside if format_of(p)]
    parts = {_stem(p): p for p in tables}
    train = next((parts[n] for n in TRAIN if n in parts), None)
    test = next((parts[n] for n in (*TEST, *VALIDATION) if n in parts), None)
    if train is not None:
        return Tables(train, train, f"{given}/{train.name}", f"{where}/{train.name}", test)
    if len(tables) == 1:
        return Tables(tables[0], tables[0], f"{given}/{tables[0].name}", f"{where}/{tables[0].name}")
    ends = {_ending(p) for p in tables}
    if len(ends) > 1 or len({re.sub(r"[0-9a-f-]{8,}|\d+", "0", p.name.removesuffix(_ending(p))) for p in tables}) > 1:
        raise DataError(
            "is a folder of several tables",
            field="--data",
            value=given,
            fix=f"name one of {', '.join(f'{given}/{p.name}' for p in tables[:5])}, or a glob of those that are parts of one",
        )
    every = f"*{ends.pop()}"
    return Tables(
        tables[0],
        folder / every,
        f"{given}/{every}",
        f"{where}/{every}",
        note=f"{len(tables)} files of {given} are one table; {tables[0].name} was looked at",
    )


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:] if path.suffix.lower() in PACKED else path.suffixes[-1:])


def _stem(path: Path) -> str:
    return path.name.split(".")[0].lower()


def hold_out(made: Draft, rows: Tables, names: list[str]) -> None:
    """Name what the folder's names hold out, where it has the same columns."""
    if rows.note:
        made.notes.append(rows.note)
    if rows.test is None or "test" in made.raw["data"]:
        return
    with looked_at(rows.test, rows.test.name) as look:
        lacks = [n for n in names if n not in {c.name for c in look.columns}]
    if lacks:
        made.notes.append(f"not read: {rows.test.name}, which lacks {', '.join(lacks[:5])}: it is what is asked (sluice predict)")
        return
    made.test = rows.test
    made.raw["data"]["test"] = f"{Path(rows.where).parent.as_posix()}/{rows.test.name}"
    made.notes.append(f"rows are held out as the files say: {rows.test.name} (data.test)")
