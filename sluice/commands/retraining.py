"""`sluice monitor NAME --project PROJECT --retrain`: the project's retraining policy on a home. What is decided is written before anything runs.

The same decision as on a cluster (`sluice.monitor.retrain`): a run's name follows from the monitor and its count, so that a call that comes after
one that was killed finds what became of its run, or makes the same again; and its run is a run of the home like any other, with its gates.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluice.arguments.shared import project_file
from sluice.cli import checkout_command
from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.core.home import Home
from sluice.monitor import keep, quality_watch
from sluice.monitor.config import Retrain
from sluice.monitor.retrain import Event, Run, State, clock, decide
from sluice.monitor.timeline import micros
from sluice.monitor.watch import Look

FORMAT = "sluice.retraining/v1"
Told = dict[str, Any]


def check(args: argparse.Namespace, name: str) -> None:
    """Raises `ProjectError` where there is no project to run, or it is another model's."""
    from sluice import project as projects

    path = project_of(args)
    if path is None:
        raise ProjectError("names no project, and a retraining is a run of one", field="--retrain", fix="add --project sluice.yaml")
    found = projects.load(path)
    if found.name != name:
        raise ProjectError(
            "is the project of another model", field="--project", value=found.name, fix=f"name the project of {name}, which is watched"
        )


def project_of(args: argparse.Namespace) -> Path | None:
    """The project file: --project, or NAME where that is one."""
    for path in (args.project, Path(args.name)):
        if path is not None and (found := project_file(str(path))).suffix in (".yaml", ".yml") and found.is_file():
            return found
    return None


def events(look: Look, judged: Told | None) -> list[Event]:
    """What a look saw, as the decision takes it; and the windows of the looks before, which a call that was killed, or one without --retrain, has told nobody of."""
    now = time.time()
    windows = [w for w in look.history if w["begun"]] + [v.to_dict() for v in look.verdicts if not v.begun]
    found = [
        Event("drift", _seconds(w["begun"], now), window=w["window"], value=w["score"], rows=w["rows"])
        for w in windows
        if w["score"] is not None
    ]
    for w in (judged or {}).get("windows", ()):
        if w["value"] is not None:
            found.append(Event("quality", w["begun"] / 1e6, window=w["number"], value=w["value"], rows=w["rows"], lower=w["lower"]))
    if judged and judged["risen"]:
        found.append(Event("errors", now, value=float(judged["risen"]["standing"]), why=quality_watch.rose(judged["risen"])))
    if judged:
        found.append(Event("rows", now, value=float(judged["labelled"])))
    return found


def follow(args: argparse.Namespace, home: Home, name: str, version: str, policy: Retrain, seen: list[Event], *, quiet: bool) -> Told:
    """Decide, write it down, run the project where it is decided, and write down what it came to.

    Args:
        name, version: of the model that is watched. seen: of that version, with this look.

    Returns:
        ``what``: ``none``, ``held``, ``follow`` (a run goes on) or ``ran``; ``why``, ``held`` and ``until``, ``run``; of one that ran its ``outcome``
        and ``exit_code``, as `sluice run` gives them.

    Raises:
        DataError: what is kept cannot be read. HomeError: the home is in use.
    """
    kept = home.root / "monitor" / f"{name}-retraining.json"
    with _alone(kept.with_suffix(".lock"), home) as mine:
        if not mine:
            return {"what": "follow", "why": "another call of this monitor acts on it"}
        state, now = _read(kept, name, version, home), time.time()
        seen = [*seen, *_ended(home, state.run, now)]
        state, action = decide(policy, state, seen, now)
        _write(kept, version, state)
        if action.what == "follow" and home.held():
            return {"what": "follow", "why": action.why, "run": state.run.name if state.run else ""}
        if action.what not in ("start", "follow"):
            return {"what": action.what, "why": action.why, "held": action.held, "until": action.until, "told": action.told()}
        assert state.run is not None
        outcome = _run(args, home, state.run, quiet)
        ended = _ended(home, state.run, time.time()) or [
            Event("ended", time.time(), id=state.run.name, by="failed", why="it left no outcome")
        ]
        state, _ = decide(policy, state, ended, time.time())
        _write(kept, version, state)
    run = state.run
    assert run is not None
    return {"what": "ran", "why": run.why, "reason": run.reason, "run": run.name, "until": state.until, "said": run.said, **outcome}


def show(told: Told) -> None:
    """In words."""
    if told["what"] == "ran":
        text = f"retrained ({told['why']}): {told['outcome']}" + (f", {told['said']}" if told["said"] else "")
        until = f"; the next one not before {clock(told['until'])}" if told["until"] > time.time() else ""
        print(f"{text}; run {told['run']}{until}", file=sys.stdout)
    elif told["what"] == "held":
        print(told["told"])
    elif told["what"] == "follow":
        print(f"a retraining goes on: {told['why']}")
    else:
        print("nothing asks for a retraining")


def _run(args: argparse.Namespace, home: Home, run: Run, quiet: bool) -> Told:
    """The project's run, under the name that was decided on. What a killed one of this name left goes first."""
    from sluice import project as projects

    path = project_of(args)
    assert path is not None
    raw = projects.read_yaml(path)
    project = projects.parse(raw, where=path.name, base_dir=path.resolve().parent)
    execute, folder = checkout_command("run"), home.runs / run.name
    with home.lock("sluice monitor --retrain"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    outcome = execute(
        project,
        text=files.canonical_json(raw).decode(),
        base_dir=path.resolve().parent,
        home=home,
        command="sluice monitor --retrain " + shlex.quote(str(path)),
        quiet=quiet,
        name=run.name,
    )
    return {"outcome": str(outcome["outcome"]), "exit_code": int(outcome["exit_code"])}


def _ended(home: Home, run: Run | None, now: float) -> list[Event]:
    """How a run has ended, if it has."""
    if run is None or run.ended is not None or not (home.runs / run.name / "outcome.json").exists():
        return []
    found = files.read_json(home.runs / run.name / "outcome.json")
    reasons = found.get("reasons") or [str((found.get("error") or {}).get("message") or "")]
    said = "; ".join(r for r in [f"refused by {found['gate']}" if found.get("gate") else "", *reasons] if r)
    return [Event("ended", now, id=run.name, by=str(found["outcome"]), why=said)]


@contextlib.contextmanager
def _alone(lock: Path, home: Home) -> Iterator[bool]:
    """Whether this is the one call that acts on the monitor; the kernel lets go with the process."""
    import fcntl

    home.create()
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _read(kept: Path, name: str, version: str, home: Home) -> State:
    raw = keep.read(str(kept), FORMAT)
    if raw is None:
        return State(name, str(home.root.resolve()))
    try:
        state = State.from_dict(raw["state"])
        # What was seen of another version says nothing of this one.
        return state if raw["version"] == version else dataclasses.replace(state, drift={}, quality={}, rose=None)
    except (ValueError, TypeError, KeyError) as e:
        raise DataError(f"cannot be read: {e}", field="kept", value=str(kept), fix="remove it, and the policy begins anew") from e


def _write(kept: Path, version: str, state: State) -> None:
    keep.write(str(kept), {"format": FORMAT, "version": version, "state": state.to_dict()})


def _seconds(text: str, now: float) -> float:
    return micros(text.replace("Z", "+00:00")) / 1e6 if text else now
