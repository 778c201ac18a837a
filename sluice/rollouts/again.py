"""What a rollout on this machine leaves behind so that it can be made again without training.

<home>/rollouts/<name>/again/project.json   the project and the package's digest
                             rows.parquet   the held-out rows that were replayed, with their labels
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import RolloutError
from sluice.rollouts import control
from sluice.rollouts.store import Store

_FOLDER, _NOTE, _TABLE = "again", "project.json", "rows.parquet"
#: Rows that are replayed, round and round, and the bytes they may take in memory.
_ROWS, _BYTES = 5000, 64 << 20


@dataclass(frozen=True)
class Kept:
    """A rollout that can be made again.

    Attributes:
        name: the project's. project: its text, and base_dir the folder its relative paths start from.
        digest: of the package. rows: where the rows to replay are, a Parquet file.
    """

    name: str
    project: str
    base_dir: str
    digest: str
    rows: Path

    def table(self) -> pa.Table:
        """The rows. Raises `RolloutError` when the file is gone or cannot be read."""
        try:
            return pq.read_table(self.rows)
        except (OSError, pa.ArrowException) as e:
            raise _gone(self.name, self.rows, e) from e


def sample(table: pa.Table) -> pa.Table:
    """At most so many rows as a replay needs, from all over the table, in its order."""
    most = min(_ROWS, max(1, int(table.num_rows * _BYTES / max(table.nbytes, 1))))
    if table.num_rows <= most:
        return table
    return table.take(pa.array([i * table.num_rows // most for i in range(most)]))


def keep(home: Path, name: str, *, project: str, base_dir: str, digest: str, rows: pa.Table) -> None:
    """Write down what another rollout of this package would need, in place of what the last one left."""
    with files.new_dir(Store(home, name).root / _FOLDER) as folder:
        pq.write_table(rows, folder / _TABLE, compression="zstd")
        files.write_json(folder / _NOTE, {"project": project, "base_dir": base_dir, "digest": digest})


def kept(home: Path, name: str) -> Kept:
    """The last rollout of a name, to be made again.

    Raises:
        RolloutError: no rollout of this name, one that runs, one that was promoted, or what it needs is gone.
    """
    found = control.status(home, name)
    if found["running"]:
        raise RolloutError(
            "is still running", field="name", value=name, fix=f"`sluice rollout watch {name}`, or `sluice rollout abort {name}` first"
        )
    if found["outcome"] == "promoted":
        raise RolloutError(
            "was promoted: there is nothing to try again", field="name", value=name, fix="`sluice run` trains and rolls out the next model"
        )
    folder = Store(home, name).root / _FOLDER
    try:
        note = files.read_json(folder / _NOTE)
        kept = Kept(name, str(note["project"]), str(note["base_dir"]), str(note["digest"]), folder / _TABLE)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise _gone(name, folder / _NOTE, e) from e
    if not kept.rows.exists():
        raise _gone(name, kept.rows, None)
    return kept


def _gone(name: str, path: Path, error: Exception | None) -> RolloutError:
    why = f" ({error})" if error is not None and not isinstance(error, FileNotFoundError) else ""
    return RolloutError(
        f"what the rollout of {name} needs to be tried again is not there any more{why}",
        field=str(path),
        fix="`sluice run` makes the model anew",
    )
