"""`sluice tune`: a study on this machine, trials in processes of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sluice.core import events, files
from sluice.core.errors import ProjectError, SluiceError
from sluice.core.home import Home
from sluice.core.processes import spawn
from sluice.data.prepare import prepare
from sluice.project import Project, read_text, write_text
from sluice.report.study import study_page
from sluice.steps.execute import RUNNER_PID
from sluice.tasks import load_task
from sluice.tuning.study import best, check_space, ended, evidence, merged, open_study, requeue, settings_of

#: How often processes that were killed are replaced.
_ROUNDS = 4
_POLL = 0.5


def tune(
    project: Project, *, text: str, base_dir: Path, home: Home, command: str, output: Path | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Search until the study has its trials. One that was killed goes on; one that has them all is only reported.

    Args:
        project: the checked project, with `tune`.
        text: the same as text, overrides applied.
        base_dir: the project file's folder.
        home: where the study, its report and the merged project are written; held while it runs.
        command: named to whoever finds the home in use.
        output: where the project with the best settings goes; null: into the home.
        quiet: show no trial on stderr.

    Returns:
        ``study``, ``metric``, ``best`` (number, value, params), ``trials``, ``project`` (the merged file), ``report``, ``exit_code``.

    Raises:
        ProjectError, DataError, MissingExtra: as the project, its data or the space are wrong.
        SluiceError: trials cannot be run; the message is the failed process's own.
    """
    raw, tune = read_text(text, "the project"), settings_of(project)
    check_space(raw, tune, base_dir)
    with home.lock(command):
        home.sweep()
        root = home.root / "studies"
        dataset = prepare(project, base_dir, load_task(project, base_dir), root / "data" / project.name)
        study = open_study(project, dataset, home)
        work = root / study.study_name
        files.write_text(work / "project.json", text)
        told: set[int] = set()
        for _ in range(_ROUNDS):
            again = requeue(study)
            if again and not quiet:
                print(f"{again} unfinished trials of a killed process are run again", file=sys.stderr)
            if sum(map(ended, study.get_trials(deepcopy=False))) >= tune.trials:
                break
            _work(study, tune.parallel, work, base_dir, home, dataset.root, told, quiet)
        found = evidence(study, project, dataset.objective)
        report = home.reports / study.study_name / "index.html"
        files.write_text(report, study_page(project.name, found))
        out = output or work / "best.yaml"
        try:
            files.write_text(out, write_text(merged(raw, best(study).params)))
        except OSError as e:
            raise ProjectError(
                f"cannot be written: {e.strerror or e}", field="--output", value=str(out), fix="name a file in a folder you may write"
            ) from e
    return {
        "outcome": "found",
        "exit_code": 0,
        "study": found["study"],
        "metric": found["metric"],
        "direction": found["direction"],
        "best": found["best"],
        "trials": len(found["trials"]),
        "project": str(out),
        "report": str(report),
    }


def _work(study: Any, processes: int, work: Path, base_dir: Path, home: Home, dataset: Path, told: set[int], quiet: bool) -> None:
    """Run the processes until all have ended; the first that fails with a reason ends the others."""
    nonce = secrets.token_hex(16)
    env = {**os.environ, RUNNER_PID: str(os.getpid()), events.NONCE_ENV: nonce, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running: dict[subprocess.Popen[bytes], Path] = {}
    try:
        for worker in range(1, processes + 1):
            log = work / f"process-{worker}.log"
            log.unlink(missing_ok=True)
            command = [
                sys.executable,
                "-m",
                "components.tune",
                str(work / "project.json"),
                str(base_dir),
                str(home.root),
                str(worker),
                str(dataset),
                str(work / f"gate-{worker}.json"),
            ]
            running[spawn(command, log=log, env=env)] = log
        while any(p.poll() is None for p in running):
            time.sleep(_POLL)
            _show(study, told, quiet)
            for process, log in running.items():
                if (process.poll() or 0) > 0:
                    raise _failure(log, process.returncode, nonce)
        _show(study, told, quiet)
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _show(study: Any, told: set[int], quiet: bool) -> None:
    for t in study.get_trials(deepcopy=False):
        if ended(t) and t.number not in told:
            told.add(t.number)
            if not quiet:
                value = f"{t.value:.5g}" if t.state.name == "COMPLETE" else t.state.name.lower()
                params = "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in t.params.items())
                print(f"  trial {t.number:>3}  {value:<10} {params}", file=sys.stderr, flush=True)


def _failure(log: Path, status: int, nonce: str) -> SluiceError:
    """What a process said before it ended."""
    text = log.read_text(errors="replace") if log.exists() else ""
    said = [e for line in text.split("\n") if (e := events.parse(line, nonce)) is not None and e["kind"] == "error"]
    if not said:
        return SluiceError(f"a process of the study ended with status {status}\n{text[-2000:]}", field="tune", fix=f"its log: {log}")
    kind = ProjectError if said[-1].get("exit_code") == 2 else SluiceError
    return kind(said[-1]["message"], field=said[-1].get("field"), fix=said[-1].get("fix") or f"its log: {log}")
