"""Parts by themselves: those that are finished are kept, those that are missing are predicted on every core, or by the workers of a Ray cluster."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.batch_predict.part import Work
from sluice.core import files
from sluice.core.errors import DataError, SluiceError
from sluice.core.processes import spawn

#: Rows below which another process costs more than it brings; how often a part is tried whose process ends.
_WORTH, _TRIES = 20_000, 3
#: In the folder of records: which part of the result each is.
_PLACES = "places.json"
Part = tuple[str, Path]


class PartLost(SluiceError):
    """The process that predicted a part ended each time it was tried."""


def ledger_of(out: Path) -> Path:
    """The folder beside a result in which its parts are finished and written down."""
    return out.with_name(f".{out.name}.parts")


def finished(folder: Path, out: Path, keys: Sequence[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Of parts that stand whole from an earlier run: where, and their records. One that was changed is none."""
    places = files.read_json(folder / _PLACES) if (folder / _PLACES).exists() else {}
    found = {}
    for key in dict.fromkeys(keys):
        if not (folder / f"{key}.json").exists():
            continue
        record = files.read_json(folder / f"{key}.json")
        for path in (folder / f"{key}.parquet", out / places.get(key, "-")):
            if path.is_file() and path.stat().st_size == record["bytes"] and files.sha256_file(path) == record["sha256"]:
                found[key] = (path, record)
                break
    return found


def put_together(folder: Path, out: Path, paths: Mapping[str, Path], keys: Sequence[str], name: Callable[[int], str]) -> None:
    """All parts as one folder, which appears whole; then what no part of it needs any more goes."""
    with files.new_dir(out) as tmp:
        for number, key in enumerate(keys):
            try:
                os.link(paths[key], tmp / name(number))
            except OSError:  # another file system, or one without links
                shutil.copyfile(paths[key], tmp / name(number))
    files.write_json(folder / _PLACES, {key: name(number) for number, key in enumerate(keys)})
    for path in folder.iterdir():
        if path.suffix == ".parquet" or (path.suffix == ".json" and path.name != _PLACES and path.stem not in keys):
            path.unlink()


def by_workers(work: Work, parts: Sequence[Part]) -> None:
    """Over Ray, a part a task.

    Raises:
        MissingExtra: Ray is not installed. WorkersLost: a part's workers were lost. DataError: of a part; or workers do not see the folder.
    """
    from sluice.core.onray import on_ray

    with on_ray() as workers:
        for (key, _), _record in zip(parts, workers.mapped(work, parts), strict=True):
            if not (work.folder / f"{key}.parquet").exists():
                fix = "name an output on a volume that all workers mount at the same place"
                raise DataError("a worker wrote a part here that is not here", field="output_path", value=str(work.folder), fix=fix)


def by_processes(work: Work, parts: Sequence[Part], workers: int) -> None:
    """Here: in this process, or in as many as there are cores where there is enough to do for each.

    Raises:
        DataError: of a part. PartLost: its process ended, `_TRIES` times.
    """
    rows = {key: _rows(path) for key, path in parts}
    many = min(workers, len(parts), sum(rows.values()) // _WORTH)
    if many < 2:
        for key, path in parts:
            work(key, path)
        return
    tried: dict[str, int] = {}
    while missing := [p for p in parts if not (work.folder / f"{p[0]}.json").exists()]:
        _round(dataclasses.replace(work, threads=max(1, workers // many)), _dealt(missing, rows, many), tried)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except Exception:  # told by whoever reads it
        return 0


def _dealt(parts: Sequence[Part], rows: Mapping[str, int], many: int) -> list[list[Part]]:
    """The largest first, each to who has least."""
    hands: list[list[Part]] = [[] for _ in range(many)]
    for part in sorted(parts, key=lambda p: -rows[p[0]]):
        min(hands, key=lambda hand: sum(rows[k] for k, _ in hand)).append(part)
    return [hand for hand in hands if hand]


def _round(work: Work, hands: list[list[Part]], tried: dict[str, int]) -> None:
    """A process a hand, until all have ended. The first part without a record is the one a process ended at."""
    from components.batch_predict.worker import read_error, write_job

    jobs = [write_job(work, hand) for hand in hands]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    log = work.folder / "workers.log"
    running = [spawn([sys.executable, "-m", "components.batch_predict.worker", str(job)], env=env, log=log) for job in jobs]
    try:
        statuses = [process.wait() for process in running]
    finally:
        for process in running:
            process.kill()
    for job, hand, status in zip(jobs, hands, statuses, strict=True):
        error = read_error(job)
        job.unlink(missing_ok=True)
        if error is not None:
            raise error
        at = next(((k, p) for k, p in hand if not (work.folder / f"{k}.json").exists()), None)
        if at is None:
            continue
        tried[at[0]] = tried.get(at[0], 0) + 1
        if tried[at[0]] >= _TRIES:
            tail = log.read_text(errors="replace")[-800:] if log.exists() else ""
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise PartLost(
                f"its process ended {how}, {_TRIES} times\n{tail}".rstrip(),
                field=str(at[1]),
                fix="more memory, or fewer workers; a rerun does only what is missing",
            )
