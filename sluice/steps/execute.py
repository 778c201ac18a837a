"""How a step runs: timed, its gate written, its failure typed."""

from __future__ import annotations

import atexit
import dataclasses
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from sluice.audit.log import AUDIT_ENV, anchor, log_at
from sluice.audit.record import Entry, Kind
from sluice.core import events
from sluice.core.errors import SluiceError
from sluice.core.files import digest_of
from sluice.core.gate import Gate, brief
from sluice.core.home import explain_os_error, is_storage_fault
from sluice.core.processes import die_with
from sluice.core.registry import findable
from sluice.project import Project, parse, read_text
from sluice.steps import lineage

#: Set by `sluice run` for its steps, which end when it does.
RUNNER_PID = "SLUICE_RUNNER_PID"
#: Bytes of JSON that a single part of the evidence may take in an event: a report drawn from a pod's log shows as much.
_TOLD = 1 << 16
#: Bytes of JSON that a single part of the evidence may take in the audit log; the hash of the whole is beside it.
_KEPT = 1 << 10
#: The run's name, set by `sluice run` for its steps; on a cluster it is the run's id.
RUN_ENV = "SLUICE_RUN"
_done: list[str] = []
#: The project this process was given, and the step that it is.
_opened: list[Project] = []
_steps: list[str] = []


def run_step(
    work: Callable[[], Gate],
    gate_path: str,
    *,
    step: str,
    started: float | None = None,
    kind: Kind = "gate",
    anchored: Callable[[Gate, str], None] | None = None,
) -> Gate:
    """Run a step's work; write and announce its gate, and have it in the audit log where there is one.

    Args:
        started: of `time.perf_counter`, when the step began, if that was before this call.
        kind: of the audit log's record. anchored: given the gate and what the registry is to keep of the record.

    A failure is announced as an ``error`` event (type, message, fix, exit code) and ends the
    process with status 1, so that a pipeline back-end marks the task as failed.
    """
    if runner := os.environ.get(RUNNER_PID):
        die_with(int(runner))
        atexit.register(leave)
    start = time.perf_counter() if started is None else started
    _steps.append(step)
    try:
        gate = work()
        gate = dataclasses.replace(gate, seconds=round(time.perf_counter() - start, 3))
        _recorded(gate, kind, anchored)
        gate.write(Path(gate_path))
        _done.append(step)
    except SluiceError as e:
        events.emit("error", step=step, **e.to_dict())
        _failed(step, e.message)
        print(f"{step}: {e}", file=sys.stderr)
        raise SystemExit(1) from e
    except OSError as e:
        traceback.print_exc()
        run_folder = Path(gate_path).absolute().parents[2]
        if is_storage_fault(e, run_folder):
            events.emit("error", step=step, **explain_os_error(e, Path(gate_path)).to_dict())
        else:
            _announce_fault(e, step)
        _failed(step, str(e))
        raise SystemExit(1) from e
    except Exception as e:
        traceback.print_exc()
        _announce_fault(e, step)
        _failed(step, f"{type(e).__name__}: {e}")
        raise SystemExit(1) from e
    if _opened:
        lineage.ended(_opened[-1], gate)
    events.emit("gate", step=step, decision=gate.decision, reasons=gate.reasons, seconds=gate.seconds, evidence=brief(gate.evidence, _TOLD))
    return gate


def _failed(step: str, why: str) -> None:
    if _opened:
        lineage.failed(_opened[-1], step, why)


def _recorded(gate: Gate, kind: Kind, anchored: Callable[[Gate, str], None] | None) -> None:
    """The gate in the audit log: of the environment, else of the project. A decision that cannot be written down does not stand."""
    project = _opened[-1] if _opened else None
    place = os.environ.get(AUDIT_ENV) or (project.tracking.audit if project else None)
    if not place:
        return
    found = log_at(place)
    whole = dataclasses.asdict(gate)
    entry = Entry(
        kind,
        model=project.name if project else "",
        digest=str(gate.evidence.get("digest", "")) if kind != "gate" else "",
        reason="; ".join(gate.reasons),
        data={
            "run": os.environ.get(RUN_ENV) or os.environ.get(events.NONCE_ENV, ""),
            "step": gate.step,
            "decision": gate.decision,
            "seconds": gate.seconds,
            "sha256": digest_of(whole),
            "evidence": brief(gate.evidence, _KEPT),
        },
    )
    record = found.append(entry)
    if anchored is not None:
        anchored(gate, anchor(found, record))


def leave() -> None:
    """End this process at once where its step is done, as the last of the exit handlers.

    Taking PyTorch and MLflow apart module by module costs over a second. A step that failed ends as ever, with its status.
    """
    if _done and not hasattr(sys, "last_type"):  # set where an exception ended the program
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _announce_fault(error: Exception, step: str) -> None:
    events.emit(
        "error",
        step=step,
        error=type(error).__name__,
        message=f"{type(error).__name__}: {error}",
        field=None,
        value=None,
        exit_code=1,
        fix="this is a fault in Sluice, in the task's code or in a service it needs; the traceback is in the run's log",
    )


def open_project(text: str, base_dir: str) -> tuple[Project, Path]:
    """The project a step is given as a parameter (YAML or JSON text), and where its relative paths start."""
    base = Path(base_dir or ".")
    findable(base)
    return opened(parse(read_text(text, "parameter `project`"), base_dir=base)), base


def opened(project: Project) -> Project:
    """The same: from now on this step is about it."""
    if _steps and not _opened:
        lineage.begun(project, _steps[-1])
    _opened.append(project)
    return project
