"""A tracker of a user's own: ``tracking: {also: [csv_tracker:CsvTracker]}`` writes a run's curves to ``csv/<run>.csv`` below the home."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.core.home import Home
from sluice.project import Project
from sluice.tracking.tracker import Data


class CsvTracker:
    needs = None

    @classmethod
    def open(cls, project: Project, home: Home, name: str) -> CsvTracker:
        folder = home.root / "csv"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder / f"{name}.csv")

    def __init__(self, path: Path):
        self.run_id: str | None = path.stem
        self._path = path

    def _write(self, what: str, step: int, values: Mapping[str, Any]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([what, step, key, value] for key, value in values.items())

    def params(self, values: dict[str, Any]) -> None:
        self._write("parameter", 0, values)

    def tags(self, values: dict[str, str]) -> None:
        self._write("tag", 0, values)

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        self._write("metric", step, values)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._write("artifact", 0, {folder or "": path})

    def dataset(self, data: Data) -> None:
        self._write("dataset", 0, {data.name: data.digest})

    def child(self, name: str, points: Sequence[tuple[int, Mapping[str, float]]], tags: Mapping[str, str]) -> None:
        for step, values in points:
            self._write(name, step, values)

    def finish(self, status: str = "FINISHED") -> None:
        self._write("end", 0, {"status": status})
