"""What a `RayJob` runs on its head: ``python -m components.rayjob.entry FOLDER``; the folder lies on the volume that all its pods share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.rayjob import ERROR, JOB, RESULT
from sluice.core import events, files
from sluice.core.errors import SluiceError
from sluice.core.onray import ADDRESS_ENV


def _validate(told: dict[str, Any], folder: Path) -> None:
    from sluice.data.prepare import validate_project_data
    from sluice.steps.execute import open_project
    from sluice.tasks import load_task

    project, base = open_project(told["project"], told["base_dir"])
    report = validate_project_data(project, base, load_task(project, base))
    files.write_json(folder / RESULT, report.to_dict())


def _prepare(told: dict[str, Any], folder: Path) -> None:
    from sluice.data.prepare import prepare
    from sluice.steps.execute import open_project
    from sluice.tasks import load_task

    project, base = open_project(told["project"], told["base_dir"])
    prepare(project, base, load_task(project, base), folder / RESULT)


WORK: dict[str, Callable[[dict[str, Any], Path], None]] = {"validate_data": _validate, "preprocess": _prepare}


def main(folder: Path) -> int:
    """Do what the folder says; what was wrong is written there, and is the exit status."""
    told = files.read_json(folder / JOB)
    os.environ.setdefault(ADDRESS_ENV, "auto")
    (folder / "tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")  # what is fetched from elsewhere has to be seen by the workers
    events.emit("note", text=f"{told['work']} on Ray")
    try:
        WORK[told["work"]](told, folder)
    except SluiceError as e:
        files.write_json(folder / ERROR, {**e.to_dict(), "kind": type(e).__name__})
        print(e, file=sys.stderr, flush=True)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
