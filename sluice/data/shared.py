"""One reading of a source for the steps of a run here that follow one another: what the first made of it stands in a folder of the run."""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.home import ROWS_ENV
from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.data.blocks import Spool
from sluice.data.scheme import Found, scheme_of
from sluice.data.timestamps import Times

if TYPE_CHECKING:
    from sluice.project import Project

_STATE, ROWS = "state.json", "rows.arrow"


def place(project: Project, found: list[Found]) -> Path | None:
    """Where such a reading of these files stands or is to stand; None where no step shares it. Another setting, or a changed file, has another place."""
    folder = os.environ.get(ROWS_ENV)
    if not folder or scheme_of(project.data.source) is not None:
        return None
    stats = [(str(f.path.absolute()), f.where, (s := f.path.stat()).st_size, s.st_mtime_ns) for f in found]
    made = Path(folder) / files.digest_of({"project": project.model_dump(mode="json"), "files": stats})
    made.mkdir(exist_ok=True, parents=True)
    return made


def note_checked(project: Project, digest: str, rows: int) -> None:
    """Keep what rows were checked, for the step of this run that writes the dataset."""
    if (path := _checked(project)) is not None:
        files.write_json(path, {"digest": digest, "rows": rows})


def as_checked(project: Project, digest: str, rows: int) -> None:
    """Raise `DataError` where files have other rows than those that were checked in this run: a dataset holds no row that no check has seen."""
    path = _checked(project)
    if path is None or not path.exists():
        return
    before = files.read_json(path)
    if before["digest"] != digest:
        raise DataError(
            f"changed while the run went on: {before['rows']:,} rows were checked, and there are {rows:,} now"
            + (", others" if before["rows"] == rows else ""),
            field="data.source",
            value=project.data.source,
            fix="run it again once the files are written; or name a copy of them",
        )


def _checked(project: Project) -> Path | None:
    """Where that is kept; None where no step asks, rows come from elsewhere, or steps of the project's own may have changed the files."""
    folder = os.environ.get(ROWS_ENV)
    if not folder or scheme_of(project.data.source) is not None or project.steps:
        return None
    Path(folder).mkdir(exist_ok=True, parents=True)
    return Path(folder) / f"checked-{files.digest_of(project.model_dump(mode='json'))}.json"


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was found out of a source beside its rows."""

    kinds: dict[str, str]
    objective: str
    schema: pa.Schema
    digest: str
    parts: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    numerals: dict[str, Numerals]
    spellings: dict[str, Spelling]
    times: Mapping[str, Times]

    def keep(self, folder: Path) -> None:
        """Write it down, the last thing of a reading."""
        plain = {name: getattr(self, name) for name in ("objective", "digest", "parts", "notes")}
        several: dict[str, Any] = {
            name: {k: dataclasses.asdict(v) for k, v in getattr(self, name).items()} for name in ("numerals", "spellings", "times")
        }
        schema = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        files.write_json(folder / _STATE, {**plain, **several, "kinds": list(self.kinds.items()), "schema": schema})


def kept(folder: Path) -> tuple[Spool, Reading] | None:
    """A reading that stands there."""
    if not (folder / _STATE).exists():
        return None
    raw = orjson.loads((folder / _STATE).read_bytes())
    return Spool(folder / ROWS), Reading(
        kinds=dict(raw["kinds"]),
        objective=raw["objective"],
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(raw["schema"]))),
        digest=raw["digest"],
        parts=tuple((where, rows) for where, rows in raw["parts"]),
        notes=tuple(raw["notes"]),
        numerals={k: Numerals(**v) for k, v in raw["numerals"].items()},
        spellings={k: Spelling(**v) for k, v in raw["spellings"].items()},
        times={k: Times(**v) for k, v in raw["times"].items()},
    )
