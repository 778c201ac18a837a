"""The prediction log that model servers write, read in bounded batches from where one stopped.

Model servers write whole parts whose names begin with the time of writing (`serving/runtime/logs`)::

    predictions/model=NAME/version=DIGEST12/20261130T065314-....parquet
    feedback/model=NAME/20261130T065314-....parquet

Any other folder of Parquet files and of JSON lines (one prediction an object, the same columns) is read too, by name; JSON lines may grow
while they are read. What has been read is a `Cursor`: plain JSON, so that whoever reads goes on where it was killed. Parts of several
servers come late and in any order: all younger than the newest by less than `late_seconds` are remembered by name, all older ones are done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows and bytes of a batch, bytes of a part, JSON-lines files whose ends are remembered.
ROWS, _BYTES, LIMIT_PART, _LIMIT_FILES = 65_536, 32 << 20, 1 << 30, 1000
_STAMP = re.compile(r"\d{8}T\d{6}")
_LINES = (".jsonl", ".ndjson")
What = Literal["predictions", "feedback"]


@dataclasses.dataclass(frozen=True)
class Cursor:
    """What has been read.

    Attributes:
        boundary: parts with an older stamp are done.
        done: of the others, those that are: stamp, and the first 12 digits of the name's sha256.
        part, row: a part that is read as far as `row`.
        lines: JSON-lines files -> bytes that are read.
    """

    boundary: str = ""
    done: frozenset[str] = frozenset()
    part: str = ""
    row: int = 0
    lines: dict[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**dataclasses.asdict(self), "done": sorted(self.done)}

    @classmethod
    def since(cls, micros: int | None, early: float = 3600) -> Cursor:
        """Before all rows of `micros` (microseconds since 1970) and later: parts whose name says that they were written `early` seconds before are done."""
        if micros is None:
            return cls()
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=max(micros, 0))
        return cls(boundary=_before(at.strftime("%Y%m%dT%H%M%S"), early) if micros > early * 1e6 else "")

    @classmethod
    def of(cls, raw: dict[str, Any] | None) -> Cursor:
        """From plain JSON; None: nothing is read. Raises `DataError`."""
        try:
            known = dict(raw or {})
            return cls(**{**known, "done": frozenset(known.get("done", ())), "lines": dict(known.get("lines", {}))})
        except (TypeError, ValueError) as e:
            raise DataError(f"is no cursor: {e}", field="cursor", value=raw, fix="begin anew without one") from e


@dataclasses.dataclass(frozen=True)
class Part:
    """A file of the log: its name below the root, and its bytes."""

    name: str
    size: int

    @property
    def stamp(self) -> str:
        """When it was written, as its name says; "" of one that says nothing."""
        found = _STAMP.match(self.name.rpartition("/")[2])
        return found[0] if found else ""

    @property
    def lined(self) -> bool:
        """Whether it is JSON lines, which may grow."""
        return self.name.endswith(_LINES)

    @property
    def key(self) -> str:
        """What a cursor remembers it by; one without a stamp is never older than another."""
        return f"{self.stamp or '~'}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"


class PredictionLog:
    """A model's prediction log, or its feedback.

    Args:
        root: a folder, or ``s3://bucket/prefix``, as the server's ``--log``; or a folder that holds the files themselves.
        model: the model's name; "": every model's.
        version: only this version's, by the digits of its digest (12 or all); "": every version's.
        what: ``predictions`` or ``feedback``.
        late_seconds: how much later than another a part may appear that was written before it.

    Attributes:
        faults: what could not be read and was left out, in words, the last hundred.
        cursor: behind all that `read` has been through, parts without a row and such that could not be read among it.
    """

    def __init__(self, root: str | Path, model: str = "", *, version: str = "", what: What = "predictions", late_seconds: float = 900):
        self.root, self.model, self.version, self.what, self.late = str(root).rstrip("/"), model, version[:12], what, late_seconds
        self.faults: list[str] = []
        self.cursor: dict[str, Any] = Cursor().to_dict()
        try:
            self._place = Place(self.root, "prediction log") if self.root.startswith("s3://") else None
        except (ValueError, StoreFault) as e:
            raise DataError(str(e), field="log", value=self.root, fix="name a folder, or s3://bucket/prefix") from e

    def parts(self, cursor: Cursor | None = None) -> list[Part]:
        """Files that are not wholly read, the oldest first. Raises `DataError`: the folder or the store cannot be read."""
        known = cursor or Cursor()
        try:
            found = self._in_store(known) if self._place is not None else self._here(known)
            new = [p for p in found if p.stamp >= known.boundary or not p.stamp]
        except StoreFault as e:
            raise e.told(DataError, "log", value=self.root) from e
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror or e}", field="log", value=self.root, fix="name the server's --log") from e
        left = [p for p in new if p.key not in known.done and p.size > known.lines.get(p.name, -1)]
        return sorted(left, key=lambda p: (p.stamp or "~", p.name.rpartition("/")[2], p.name))

    def read(
        self, cursor: dict[str, Any] | None = None, *, columns: Sequence[str] | None = None, rows: int = ROWS, most: int | None = None
    ) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
        """Batches, each with the cursor behind it: kept together with what was made of the batch, nothing is read twice or left out.

        Args:
            cursor: where to begin; None: with the oldest part.
            columns: which of the log's columns; None: all. A struct's own are named ``features.age``. What a part has not is left out.
            rows: of a batch, at most; fewer where rows are large.
            most: end behind so many rows, or a few more.

        Raises:
            DataError: the folder or the store cannot be read, or the cursor is none. A file that cannot be read is told in `faults` and left out.
        """
        known, seen = Cursor.of(cursor), 0
        self.cursor = known.to_dict()
        for part in self.parts(known):
            held: pa.RecordBatch | None = None  # a part's last batch goes out with a cursor that says that the part is done
            try:
                with self._opened(part, known) as batches:
                    for batch, at in batches(columns, rows):
                        if held is not None:
                            self.cursor = known.to_dict()
                            yield held, self.cursor
                            seen += held.num_rows
                            if most is not None and seen >= most:
                                return
                        held, known = batch, _within(known, part, at)
            except StoreFault as e:
                if e.kind not in ("missing", "large"):
                    raise e.told(DataError, "log", value=self.root) from e
                self._fault(f"{part.name}: {e.message}")
            except (OSError, ValueError, DataError) as e:  # pyarrow's errors are ValueErrors and OSErrors
                self._fault(f"{part.name}: {e}")
            known = known if part.lined else self._behind(known, part)
            self.cursor = known.to_dict()
            if held is not None:
                yield held, self.cursor
                seen += held.num_rows
                if most is not None and seen >= most:
                    return

    def _behind(self, known: Cursor, part: Part) -> Cursor:
        boundary = max(known.boundary, _before(part.stamp, self.late))
        return dataclasses.replace(
            known, boundary=boundary, done=frozenset(k for k in {*known.done, part.key} if k >= boundary), part="", row=0
        )

    def _fault(self, text: str) -> None:
        self.faults = [*self.faults[-99:], text]

    # -- where the parts are -----------------------------------------------------------------------

    def _folder(self) -> str:
        return f"{self.what}/model={quote(self.model, safe='')}" if self.model else self.what

    def _wanted(self, folder: str) -> bool:
        return not self.version or "version=" not in folder or f"version={self.version}" in folder

    def _here(self, known: Cursor) -> Iterator[Part]:
        root = Path(self.root)
        base = root / self._folder()
        if not base.is_dir():
            if (root / self.what).is_dir():
                return
            next(root.iterdir(), None)  # raises where there is no folder
            base = root
        for path in base.rglob("*"):
            name = path.relative_to(root).as_posix()
            if self._is_part(path.name) and self._wanted(name):
                with contextlib.suppress(FileNotFoundError):
                    yield Part(name, path.stat().st_size)

    def _in_store(self, known: Cursor) -> Iterator[Part]:
        """Folder by folder, each from the boundary on: however long a log is, only what is new is listed."""
        assert self._place is not None
        base, last = f"{self._folder()}/", ""
        while True:
            first = next(self._place.list(base, after=last), None) if last else next(self._place.list(base), None)
            if first is None:
                return
            folder = first[0].rpartition("/")[0] + "/"
            if self._wanted(folder):
                for name, size in self._place.list(folder, after=folder + known.boundary):
                    if "/" not in name[len(folder) :] and self._is_part(name.rpartition("/")[2]):
                        yield Part(name, size)
            last = f"{folder}\U0010ffff"

    @staticmethod
    def _is_part(name: str) -> bool:
        return name.endswith((".parquet", *_LINES)) and not name.startswith(".")

    # -- reading one -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self, part: Part, known: Cursor) -> Iterator[Any]:
        if part.size > LIMIT_PART and not (part.lined and self._place is None):
            raise DataError(f"has {part.size} bytes, more than {LIMIT_PART}", field=part.name)
        from sluice.monitor.log_parts import lines_of, parquet_of

        reader = lines_of if part.lined else parquet_of
        start = known.lines.get(part.name, 0) if part.lined else known.row if part.name == known.part else 0
        if self._place is None:
            yield lambda columns, rows: reader(Path(self.root) / part.name, columns, rows, _BYTES, start)
            return
        with tempfile.TemporaryDirectory(prefix="sluice-log-") as folder:
            path = Path(folder) / "part"
            self._place.fetch(part.name, path, LIMIT_PART)
            yield lambda columns, rows: reader(path, columns, rows, _BYTES, start)


def _within(known: Cursor, part: Part, at: int) -> Cursor:
    if part.lined:
        return dataclasses.replace(known, lines=dict(list({**known.lines, part.name: at}.items())[-_LIMIT_FILES:]))
    return dataclasses.replace(known, part=part.name, row=at)


def _before(stamp: str, seconds: float) -> str:
    if not stamp:
        return ""
    try:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%S")
    except ValueError:
        return ""
    return (at - datetime.timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%S")
