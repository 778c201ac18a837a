"""What a RayJob runs, on a Ray of three processes (a head that does no work, two workers), gives what one process gives."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.rayjob import JOB, RESULT
from sluice import project as projects
from sluice.core import files
from sluice.core.errors import DeadlineError
from sluice.core.processes import free_port, spawn, stop, wait_until
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare, validate_project_data
from sluice.tasks import load_task
from tests.tools.long import long

pytestmark = long  # three Rays want a minute to start

_ROOT = Path(__file__).parents[3]
#: As in the job's pods (`components.rayjob.spec`).
_ENV = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
_PORTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port")


def _node(log: Path, **options: Any) -> subprocess.Popen[bytes]:
    for tries in (2, 1, 0):  # Ray gives up by itself where a node wants more than 30 s, as on a machine with much to do
        asked = {**{name: free_port() for name in _PORTS}, "object-store-memory": 80 << 20, **options}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        given = [f"--{name}" if value is True else f"--{name}={value}" for name, value in asked.items()]
        process = spawn([*command, *given], log=log, env=_ENV)
        try:
            wait_until(functools.partial(_says_it_started, log), what="a node of Ray", seconds=180, process=process, log=log)
            return process
        except DeadlineError:
            stop(process)
            if not tries:
                raise
    raise AssertionError


def _says_it_started(log: Path) -> bool:
    return log.exists() and "Ray runtime started" in log.read_text(errors="replace")


@pytest.fixture(scope="module")
def three() -> Iterator[str]:
    """The cluster's address."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-ray-", dir="/tmp"))  # sockets below it have a short name at most
    port = free_port()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        head = {
            "head": True,
            "port": port,
            "num-cpus": 0,
            "ray-client-server-port": free_port(),
            "include-dashboard": "false",
            "temp-dir": folder,
        }
        stack.callback(stop, _node(folder / "head.log", **head))
        for i in range(2):
            stack.callback(stop, _node(folder / f"worker{i}.log", address=f"127.0.0.1:{port}", **{"num-cpus": 1}))
        yield f"127.0.0.1:{port}"


def _done(work: str, project: projects.Project, base: Path, address: str) -> Path:
    """The folder of the job, as the step makes it, after the job's command has run in it."""
    folder = base / "rayjobs" / work
    folder.mkdir(parents=True)
    files.write_json(folder / JOB, {"work": work, "project": project.model_dump_json(), "base_dir": str(base)})
    command = [sys.executable, "-m", "components.rayjob.entry", str(folder)]
    done = subprocess.run(command, env={**_ENV, "RAY_ADDRESS": address}, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_jobs_command_finds_what_one_process_finds(tmp_path: Path, three: str) -> None:
    r = np.random.default_rng(1)
    made = {"size": r.normal(size=300).round(1), "town": r.choice(["Rome", "Oslo"], 300), "label": r.choice(["yes", "no"], 300)}
    for i in range(2):
        pq.write_table(pa.table(made).slice(150 * i, 150), tmp_path / f"rows{i}.parquet", row_group_size=60)

    def told(engine: str) -> projects.Project:
        return projects.parse(
            {"name": "trial", "task": "tabular", "data": {"source": "rows*.parquet", "engine": engine}}, base_dir=tmp_path
        )

    here = told("local")
    report = validate_project_data(here, tmp_path, load_task(here, tmp_path))
    expected = prepare(here, tmp_path, load_task(here, tmp_path), tmp_path / "local")
    found = Dataset.open(_done("preprocess", told("ray"), tmp_path, three) / RESULT)
    assert (found.digest, found.manifest) == (expected.digest, expected.manifest)
    assert files.read_json(_done("validate_data", told("ray"), tmp_path, three) / RESULT) == report.to_dict()
