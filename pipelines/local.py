"""`sluice run`: the training pipeline on this machine, by kfp's own local runner."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from pipelines import ahead
from sluice.audit.log import AUDIT_ENV, HEAD_ENV, FolderLog, open_log
from sluice.client.display import Display
from sluice.client.live import display_for
from sluice.core import events, files
from sluice.core.gate import Gate
from sluice.core.home import ROWS_ENV, Home, explain_os_error, is_storage_fault
from sluice.kfp.struct import to_struct
from sluice.project import Project, read_text
from sluice.proof.record import key_of
from sluice.report import page
from sluice.rollouts.again import Kept
from sluice.steps.execute import RUN_ENV, RUNNER_PID
from sluice.steps.outcome import conclude, last_exception
from sluice.steps.step import in_order, own_steps, read_gates

#: What kfp.local puts before each line that a step writes.
_INDENT = 4 * " "


class _Sink(io.TextIOBase):
    """Stands in for stdout: events of the run that has this nonce go to the display, everything else to the run's log."""

    def __init__(self, log: TextIO, display: Display, nonce: str):
        self._log, self._display, self._nonce, self._rest, self._blank = log, display, nonce, "", False
        self.events: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        self._rest += text
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            said = line.removeprefix(_INDENT)
            event = events.parse(said, self._nonce)
            if self._blank and event is None:  # what ends an open line before an event is none of the log's own
                self._log.write("\n")
            self._blank = not said
            if said and (event is None or event["kind"] == "error"):
                self._log.write(line + "\n")
            if event is not None:
                self.events.append(event)
                self._display.event(event)
        return len(text)

    def flush(self) -> None:
        self._log.flush()


def run(
    project: Project,
    *,
    text: str,
    base_dir: Path,
    home: Home,
    command: str,
    quiet: bool = False,
    again: Kept | None = None,
    name: str | None = None,
    until: str = "",
) -> dict[str, Any]:
    """Run the whole pipeline here, or its rollout again.

    Args:
        project: the checked project.
        text: the same, as text, overrides applied: what the steps are given.
        base_dir: the project file's folder.
        home: where everything is written; held for the length of the run.
        command: how this run was started, named to whoever finds the home in use.
        quiet: show nothing on stderr.
        again: the rollout to make again: nothing is trained, and the report shows the first run's gates before it.
        name: the run's id, of `Home.new_run`; null: a new one.
        until: the last step that runs, of `sluice.steps.step.NAMES` from ``train`` on; empty: all of them do.

    Returns:
        The outcome, as ``--json`` prints it: ``outcome``, ``exit_code``, ``run``, ``report``, ``steps``, ``error``, ``retry_of``...
        One that came to the end of `until` is ``made``, with the ``package`` it exported.

    Raises:
        HomeError: the home is in use or cannot be written.
        ProjectError: the key its package is to be signed with cannot be used.
    """
    key_of(project.provenance, base_dir, home.root)
    with home.lock(command):
        home.sweep()
        try:
            name = name or home.new_run(project.name)
            files.write_text(home.runs / name / "project.yaml", text + "\n")
            return _run(project, text, base_dir, home, name, quiet, again, until)
        except OSError as e:
            if not is_storage_fault(e, home.root):
                raise
            raise explain_os_error(e, home.root) from e


def _run(project: Project, text: str, base_dir: Path, home: Home, name: str, quiet: bool, again: Kept | None, until: str) -> dict[str, Any]:
    display = display_for(quiet)
    before = _before(home, again) if again else None
    display.start(f"{project.name}: {name}" + (f", the rollout of sha256:{again.digest[:12]} again" if again else ""))
    root = home.artifacts / "pipelines" / name
    start = time.perf_counter()
    home.note_tracking(project.tracking.uri, project.tracking.audit)
    with (home.runs / name / "log.txt").open("w") as log, contextlib.closing(display):
        nonce = secrets.token_hex(16)
        sink = _Sink(log, display, nonce)
        if again:
            begun = time.perf_counter()
            _rollout(home, name, again, root, sink, nonce)
        else:
            with (
                ahead.warm(project, base_dir, log),
                _kfp(root, sink, log, nonce, audited(home, name)),
            ):  # it imports while kfp is imported here
                from pipelines.training import pipeline_here

                own = [(where, step) for where, step, _ in own_steps(project.steps, beside=base_dir)]
                begin = pipeline_here(str(base_dir.resolve()), str(home.root), own, until)
                begun = time.perf_counter()
                with contextlib.suppress(RuntimeError):  # a failed task: its error event says more
                    begin(project=to_struct(read_text(text, "the project"), nulls=False))
        took = time.perf_counter() - begun
    gates = read_gates(root)
    failure = next((e for e in sink.events if e["kind"] == "error"), None)
    made = _made(root, gates, until) if until and failure is None else None
    outcome = made or conclude(gates, failure, last_exception((home.runs / name / "log.txt").read_text(errors="replace")))
    outcome |= {
        "run": name,
        "project": project.name,
        "seconds": round(time.perf_counter() - start, 2),
        "pipeline_seconds": round(took, 2),
        "log": str(home.runs / name / "log.txt"),
        "steps": [{"step": g.step, "decision": g.decision, "seconds": g.seconds, "reasons": list(g.reasons)} for g in gates],
    }
    if again:
        outcome["retry_of"] = before
        gates = [*_gates_of(home, before), *gates]
    report = home.reports / name / "index.html"
    outcome["report"] = str(report)
    for gate in gates:
        gate.write(home.runs / name / "gates" / f"{gate.step}.json")
    files.write_json(home.runs / name / "outcome.json", outcome)
    try:
        html = page.run_page(project, outcome, gates, _champions_report(home, name, gates))
    except Exception as e:  # the run stands, whatever its picture does
        html = page.plain_page(project.name, outcome, f"the report could not be drawn: {type(e).__name__}: {e}")
    files.write_text(report, html)
    _forget_old_intermediates(home)
    return outcome


def _champions_report(home: Home, name: str, gates: list[Gate]) -> str:
    """Where the report of the model is that this one was compared with, seen from its own; "" where this home has none."""
    digest = next((g.evidence.get("champion_digest") for g in gates if g.step == "evaluate"), None)
    for found in home.outcomes() if digest else ():
        if found.get("digest") == digest and found["run"] != name and (home.reports / found["run"] / "index.html").exists():
            return f"../{found['run']}/index.html"
    return ""


def _made(root: Path, gates: list[Gate], until: str) -> dict[str, Any] | None:
    """What a run came to that was to go no further than a step; None where it did not get there."""
    if not any(g.step == until and g.decision != "refuse" for g in gates):
        return None
    package = next((str(p) for p in root.glob("*/export-onnx/package")), None)
    return {"outcome": "made", "exit_code": 0, "package": package, "reasons": [], "cautions": []}


def _before(home: Home, again: Kept) -> str | None:
    """The run that made the package: not a retry itself. None where it did not come to its end."""
    return next((o["run"] for o in home.outcomes(again.name) if o.get("digest") == again.digest and "retry_of" not in o), None)


def _gates_of(home: Home, run: str | None) -> list[Gate]:
    """The gates of an earlier run before its rollout, in pipeline order."""
    found = [Gate.read(path) for path in (home.runs / run / "gates").glob("*.json")] if run else []
    return in_order({g.step: g for g in found if g.step != "rollout"})


def _rollout(home: Home, name: str, again: Kept, root: Path, sink: _Sink, nonce: str) -> None:
    """The rollout step as a process of its own, as the pipeline starts it; what it says goes to `sink`."""
    folder = root / "rollout" / "rollout"
    folder.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "components.rollout",
        str(home.root),
        again.name,
        str(home.runs / name / "project.yaml"),
        str(folder / "report"),
        str(folder / "gate.json"),
    ]
    env = {"OMP_NUM_THREADS": "1", **os.environ, RUNNER_PID: str(os.getpid()), events.NONCE_ENV: nonce, **audited(home, name)}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sink.write(line.decode(errors="replace"))


def audited(home: Home, run: str) -> dict[str, str]:
    """Environment that has a run's steps write into the audit log that `sluice audit` of this home reads."""
    log = open_log(home)
    if isinstance(log, FolderLog):
        return {RUN_ENV: run, AUDIT_ENV: str(log.root), HEAD_ENV: str(log.head_path)}
    return {RUN_ENV: run, AUDIT_ENV: log.where}


@contextlib.contextmanager
def _kfp(root: Path, sink: _Sink, log: TextIO, nonce: str, more: dict[str, str]) -> Iterator[None]:
    """kfp.local set up to be quiet, with its output in the run's log; `more` is for the environment of its steps, which share one reading of the source."""
    rows = tempfile.TemporaryDirectory(prefix="sluice-run-rows-")
    more = {**more, ROWS_ENV: rows.name}
    environment = {name: os.environ.get(name) for name in (RUNNER_PID, events.NONCE_ENV, "OMP_NUM_THREADS", *more)}
    os.environ |= {RUNNER_PID: str(os.getpid()), events.NONCE_ENV: nonce, **more}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from kfp import local
    from kfp.local import subprocess_task_handler as handled

    handler = logging.StreamHandler(log)
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    kfps, handled.replace_python_executable = handled.replace_python_executable, by_interpreter
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink):
            warnings.simplefilter("ignore")
            local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
            yield
    finally:
        rows.cleanup()
        handled.replace_python_executable = kfps
        logger.handlers = before
        logger.setLevel(level)
        for key, value in environment.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def by_interpreter(full_command: list[str], new_executable: str) -> list[str]:
    """A task's command with another interpreter in its shell script. kfp's own writes it over every ``python3`` of the arguments, too: of the
    project's text, where a path like ``/opt/python3.11/model`` then leads nowhere."""
    return [part.replace("python3", new_executable) if option in ("-c", "-ec") else part for option, part in pairwise(["", *full_command])]


def _forget_old_intermediates(home: Home, keep: int = 3) -> None:
    """Shards and weights of the last `keep` runs stay; packages are in the store and numbers in the reports for good."""
    for old in sorted(home.artifacts.glob("pipelines/*"), key=lambda p: p.stat().st_mtime)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
