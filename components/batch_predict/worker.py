"""A process that predicts some parts: ``python -m components.batch_predict.worker JOB``, a file that `write_job` wrote."""

from __future__ import annotations

import dataclasses
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from components.batch_predict.part import Work
from sluice.core import files
from sluice.core.errors import DataError, SluiceError


def write_job(work: Work, parts: Sequence[tuple[str, Path]]) -> Path:
    """What such a process is to do."""
    job = work.folder / f"job-{secrets.token_hex(6)}.txt"
    told = {**dataclasses.asdict(work), "root": str(work.root.absolute()), "folder": str(work.folder.absolute())}
    files.write_json(job, {"work": told, "parts": [[key, str(path.absolute())] for key, path in parts]})
    return job


def read_error(job: Path) -> SluiceError | None:
    """What ended it, if it said so."""
    path = job.with_suffix(".error")
    if not path.exists():
        return None
    told = files.read_json(path)
    path.unlink()
    value = {} if told["value"] is None else {"value": told["value"]}
    return DataError(told["message"], field=told["field"], fix=told["fix"], **value)


def main(job: Path) -> int:
    """Predict the parts that have no record yet, in order."""
    told = files.read_json(job)
    raw = told["work"]
    work = Work(**{**raw, "root": Path(raw["root"]), "folder": Path(raw["folder"]), "keep": tuple(raw["keep"])})
    try:
        for key, path in told["parts"]:
            if not (work.folder / f"{key}.json").exists():
                work(key, Path(path))
    except SluiceError as e:
        files.write_json(job.with_suffix(".error"), e.to_dict())
        return e.exit_code
    return 0


if __name__ == "__main__":
    found = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(found)
