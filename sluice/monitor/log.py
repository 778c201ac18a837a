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
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from sluice.core.errors import DataError
from sluice.core.s3 import Place, StoreFault
from sluice.monitor.log_files import grown, marked, settled
from sluice.monitor.log_parts import LINED, Unread, lines_of, parquet_of
from sluice.monitor.log_rows import sound

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows and bytes of a batch, bytes of a part, digits of a version that a log tells.
ROWS, _BYTES, LIMIT_PART, _DIGITS = 65_536, 32 << 20, 1 << 30, 12
_STAMP = re.compile(r"\d{8}T\d{6}")
#: Behind the name of a file of lines that is written to no more: a number, or from here on a date.
_TURNED, _DATES = re.compile(r"(?<=l|n)[.-](\d{1,15})(?:[.-]\d+)*(\.gz)?$"), 100_000
What = Literal["predictions", "feedback"]


@dataclasses.dataclass(frozen=True)
class Cursor:
    """What has been read.

    Attributes:
        boundary: parts with an older stamp are done.
        done: of the others, those that are: stamp, and the first 12 digits of the name's sha256.
        part, row: a part that is read as far as `row`.
        lines: JSON-lines files -> bytes that are read.
        heads: JSON-lines files of a folder -> how each is known again (`sluice.monitor.log_files`).
    """

    boundary: str = ""
    done: frozenset[str] = frozenset()
    part: str = ""
    row: int = 0
    lines: dict[str, int] = dataclasses.field(default_factory=dict)
    heads: dict[str, str] = dataclasses.field(default_factory=dict)

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
            dicts = {k: dict(known.get(k, {})) for k in ("lines", "heads")}
            return cls(**{**known, **dicts, "done": frozenset(known.get("done", ()))})
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
    def written(self) -> int:
        """Microseconds since 1970 of that; 0 where it says none, or one that is still to come."""
        try:
            at = datetime.datetime.strptime(self.stamp, "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC).timestamp()
        except ValueError:
            return 0
        return int(at * 1e6) if 0 < at < time.time() + 1 else 0

    @property
    def lined(self) -> bool:
        """Whether it is JSON lines, which may grow."""
        return LINED.search(self.name) is not None

    @property
    def order(self) -> tuple[str, int, int]:
        """Of files without a stamp: those that another took the place of first, ``x.jsonl.2`` before ``x.jsonl.1`` before ``x.jsonl``."""
        name = self.name.rpartition("/")[2]
        turned = _TURNED.search(name)
        number = int(turned[1]) if turned else 0
        return (name[: turned.start()] if turned else name, int(not turned), -number if number < _DATES else number)

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
        self.root, self.model, self.version, self.what, self.late = str(root).rstrip("/"), model, version[:_DIGITS], what, late_seconds
        self.faults: list[str] = []
        self._clock = time.time
        self.cursor: dict[str, Any] = Cursor().to_dict()
        try:
            self._place = Place(self.root, "prediction log") if self.root.startswith("s3://") else None
        except (ValueError, StoreFault) as e:
            raise DataError(str(e), field="log", value=self.root, fix="name a folder, or s3://bucket/prefix") from e

    def parts(self, cursor: Cursor | None = None) -> list[Part]:
        """Files that are not wholly read, the oldest first. Raises `DataError`: the folder or the store cannot be read."""
        return self._listed(cursor or Cursor())[0]

    def _listed(self, known: Cursor) -> tuple[list[Part], Cursor]:
        """These, and the cursor as it is once files that were renamed or emptied are known again."""
        try:
            found = list(self._in_store(known) if self._place is not None else self._here())
            found = [p for p in found if p.lined or p.stamp >= known.boundary or not p.stamp]
            if self._place is None:
                found, known = settled(Path(self.root), found, known)
        except StoreFault as e:
            raise e.told(DataError, "log", value=self.root) from e
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror or e}", field="log", value=self.root, fix="name the server's --log") from e
        left = [p for p in found if p.key not in known.done and (not p.lined or grown(p, known))]
        return sorted(left, key=lambda p: (p.stamp or "~", p.order, p.name)), known

    def read(
        self, cursor: dict[str, Any] | None = None, *, columns: Sequence[str] | None = None, rows: int = ROWS, most: int | None = None
    ) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
        """Batches, each with the cursor behind it: kept together with what was made of the batch, nothing is read twice or left out.

        The log's own columns are in the types that servers write (`sluice.monitor.log_rows.sound`), whoever wrote them. A part of Parquet of which nothing
        can be read is told in `faults` and asked for again, until parts that are `late_seconds` younger have been read.

        Args:
            cursor: where to begin; None: with the oldest part.
            columns: which of the log's columns; None: all. A struct's own are named ``features.age``. What a part has not is left out.
            rows: of a batch, at most; fewer where rows are large.
            most: end behind so many rows, or a few more.

        Raises:
            DataError: the folder or the store cannot be read, or the cursor is none. A file that cannot be read is told in `faults` and left out.
        """
        start, seen = Cursor.of(cursor), 0
        self.cursor = start.to_dict()
        parts, known = self._listed(start)
        for part in parts:
            held: pa.RecordBatch | None = None  # a part's last batch goes out with a cursor that says that the part is done
            again = False
            try:
                with self._opened(part, known, columns) as batches:
                    for batch, at in batches(rows):
                        if held is not None and batch.num_rows:
                            self.cursor = known.to_dict()
                            yield held, self.cursor
                            seen += held.num_rows
                            if most is not None and seen >= most:
                                return
                        held, known = (batch if batch.num_rows else held), self._within(known, part, at)
            except StoreFault as e:
                if e.kind not in ("missing", "large"):
                    raise e.told(DataError, "log", value=self.root) from e
                self._fault(f"{part.name}: {e.message}")
            except (OSError, ValueError, DataError) as e:  # pyarrow's errors are ValueErrors and OSErrors
                again = known.part != part.name
                self._fault(
                    f"{part.name} {e}"
                    if isinstance(e, DataError)
                    else f"{part.name}: {e.strerror if isinstance(e, OSError) and e.strerror else e}"
                )
            known = known if part.lined or again else self._behind(known, part)
            self.cursor = known.to_dict()
            if held is not None:
                yield held, self.cursor
                seen += held.num_rows
                if most is not None and seen >= most:
                    return

    def _behind(self, known: Cursor, part: Part) -> Cursor:
        # A part that says that it was written later than now says nothing of what is still to come.
        stamp = min(part.stamp, datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).strftime("%Y%m%dT%H%M%S"))
        boundary = max(known.boundary, _before(stamp, self.late))
        return dataclasses.replace(
            known, boundary=boundary, done=frozenset(k for k in {*known.done, part.key} if k >= boundary), part="", row=0
        )

    def _within(self, known: Cursor, part: Part, at: int) -> Cursor:
        if not part.lined:
            return dataclasses.replace(known, part=part.name, row=at)
        heads = known.heads if self._place is not None else {**known.heads, part.name: marked(Path(self.root) / part.name, at, part.size)}
        return dataclasses.replace(known, lines={**known.lines, part.name: at}, heads=heads)

    def _tell(self, unread: Unread) -> None:
        for text in unread.texts():
            self._fault(text)

    def _fault(self, text: str) -> None:
        self.faults = [*self.faults[-99:], text]

    # -- where the parts are -----------------------------------------------------------------------

    def _folder(self) -> str:
        return f"{self.what}/model={quote(self.model, safe='')}" if self.model else self.what

    def _wanted(self, folder: str) -> bool:
        return not self.version or "version=" not in folder or f"version={self.version}" in folder

    def _here(self) -> Iterator[Part]:
        root = Path(self.root)
        base = root / self._folder()
        if not base.is_dir():
            if (root / self.what).is_dir():
                return
            next(root.iterdir(), None)  # raises where there is no folder
            base = root
        for folder, _, names in os.walk(base, onerror=lambda e: self._fault(f"{e.filename}: {e.strerror}")):
            for each in filter(self._is_part, names):
                name = (Path(folder) / each).relative_to(root).as_posix()
                with contextlib.suppress(FileNotFoundError):
                    told = (root / name).stat()
                    # What is no file, a pipe say, would never end.
                    if self._wanted(name) and stat.S_ISREG(told.st_mode):
                        yield Part(name, told.st_size)

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
        return (name.endswith(".parquet") or LINED.search(name) is not None) and not name.startswith(".")

    # -- reading one -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(
        self, part: Part, known: Cursor, columns: Sequence[str] | None
    ) -> Iterator[Callable[[int], Iterator[tuple[pa.RecordBatch, int]]]]:
        if part.size > LIMIT_PART and not (part.lined and self._place is None):
            raise DataError(f"has {part.size} bytes, more than {LIMIT_PART}")
        reader = lines_of if part.lined else parquet_of
        start = known.lines.get(part.name, 0) if part.lined else known.row if part.name == known.part else 0
        # Who answered is told by the folder; where it is not, by the rows.
        own = {"model": self.model if "model=" not in part.name else "", "version": self.version if "version=" not in part.name else ""}
        own = {name: wanted for name, wanted in own.items() if wanted}
        asked = None if columns is None else [*columns, *(n for n in own if n not in columns)]
        with contextlib.ExitStack() as stack:
            path = Path(self.root) / part.name
            if self._place is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-log-"))
                path = Path(folder) / part.name.rpartition("/")[2]
                self._place.fetch(part.name, path, LIMIT_PART)
            unread = Unread(path, part.name, self.what)
            stack.callback(self._tell, unread)

            def batches(rows: int) -> Iterator[tuple[pa.RecordBatch, int]]:
                for batch, at in reader(path, asked, rows, _BYTES, start, unread):
                    batch, beyond = sound(batch, self._clock())
                    unread.times += beyond
                    yield _of(batch, own, columns), at

            yield batches


def _of(batch: pa.RecordBatch, own: dict[str, str], columns: Sequence[str] | None) -> pa.RecordBatch:
    """The rows of a model and version, where rows tell whose they are, and no column that was not asked for."""
    import pyarrow.compute as pc

    for name, wanted in own.items():
        if name in batch.schema.names and batch.num_rows:
            column = batch.column(name)
            mine = pc.equal(column if name == "model" else pc.utf8_slice_codeunits(column, 0, _DIGITS), wanted)
            batch = batch.filter(pc.fill_null(mine, True))
    drop = [n for n in own if columns is not None and n not in columns and n in batch.schema.names]
    return batch.select([n for n in batch.schema.names if n not in drop]) if drop else batch


def _before(stamp: str, seconds: float) -> str:
    if not stamp:
        return ""
    try:
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%S")
    except ValueError:
        return ""
    return (at - datetime.timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%S")
