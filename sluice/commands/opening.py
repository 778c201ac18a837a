"""How a file is opened in the commands that errors print."""

from __future__ import annotations

from pathlib import Path

from sluice.data.forms import format_of


def opened(given: str) -> str:
    """pandas' expression for a file's table.

    Args:
        given: its name, as a person wrote it.
    """
    form = format_of(Path(given)) or "csv"
    if form == "parquet":
        return f"pd.read_parquet({given!r})"
    if form == "jsonl":  # a file of that ending is lines, or one array
        lines = f"open({given!r}).read(1) != '['" if given.lower().endswith(".json") else "True"
        return f"pd.read_json({given!r}, lines={lines}, convert_dates=False)"
    return f"pd.read_csv({given!r}, sep=None, engine='python')"
