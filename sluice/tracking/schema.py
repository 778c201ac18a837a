"""MLflow's empty database, as its own migrations make it: sixty of them, the same each time, for over a second.

``python -m sluice.tracking.schema`` writes it down anew (``mlflow.sql``), for the MLflow that is installed; for any other it is not used.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sqlite3
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("mlflow.sql")
_OF = "-- MLflow "


def fill(path: Path) -> bool:
    """Make MLflow's tables in a new file, and no row of its own. False, and no file: what is written down is another MLflow's."""
    text = FILE.read_text() if FILE.exists() else ""
    if not text.startswith(f"{_OF}{importlib.metadata.version('mlflow')}\n"):
        return False
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(text)
    return True


def written(database: sqlite3.Connection, version: str) -> str:
    """The text of a database that MLflow has just made, without the experiment it begins with: that one names a folder of this machine."""
    database.execute("DELETE FROM experiments")
    return f"{_OF}{version}\n" + "\n".join(database.iterdump()) + "\n"


def main() -> None:
    """Let the installed MLflow make its tables, and write them down."""
    from sluice.tracking.mlflow import make_tables

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "new.db")
        make_tables(path)
        with contextlib.closing(sqlite3.connect(path)) as database:
            FILE.write_text(written(database, importlib.metadata.version("mlflow")))


if __name__ == "__main__":
    main()
