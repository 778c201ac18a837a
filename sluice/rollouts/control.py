"""Looking at a rollout on this machine, and steering it: what `sluice rollout` calls.

Everything goes through the rollout's directory (`store`), so it works from any process. The same
functions for a rollout on a cluster are in `sluice.rollouts.cluster`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sluice.core.errors import RolloutError, SluiceError
from sluice.rollouts.state import TERMINAL
from sluice.rollouts.store import Store, known

_EVERY = 0.25
#: Seconds for which a rollout that is being watched may be out of sight.
_PATIENCE = 60.0


def status(home: Path, name: str) -> dict[str, Any]:
    """Where a rollout stands, also one whose process was killed.

    Returns:
        ``{name, running, interrupted, phase, stage, step, steps, weight, verdict, reasons, stable, candidate, arms, tests,
        ready, load, address, started, updated, outcome, events}``.

    Raises:
        RolloutError: no rollout of this name here. SluiceError: its files cannot be read.
    """
    store = Store(home, name)
    raw = store.load()
    state, view, plan = raw["state"], raw.get("view", {}), raw.get("plan", {})
    result = store.result()
    over = state["phase"] in TERMINAL or (result is not None and state.get("reported", False))
    running = not over and store.driven()
    return {
        "name": name,
        "running": running,
        "interrupted": not over and not running,
        "phase": state["phase"],
        "stage": state["stage"],
        "step": state["step"],
        "steps": plan.get("steps", []),
        "weight": view.get("weight", state["weight"]),
        "verdict": state["verdict"],
        "reasons": list(state["reasons"]),
        "stable": raw.get("stable"),
        "candidate": raw.get("candidate"),
        "arms": view.get("arms", {}),
        "tests": view.get("tests", []),
        "ready": view.get("ready", {}),
        "load": raw.get("load"),
        "address": raw.get("address"),
        "started": raw.get("started"),
        "updated": raw["updated"],
        "outcome": result["outcome"] if result else None,
        "events": store.events(),
    }


def request(home: Path, name: str, command: str, reason: str = "") -> dict[str, Any]:
    """Ask the running rollout to pause, resume, abort, promote or roll back, and say why; it acts at its next look.

    Returns:
        ``{name, command, id}``.

    Raises:
        RolloutError: no rollout of this name, not running, or not a command.
    """
    known(command)
    found = status(home, name)
    if not found["running"]:
        raise RolloutError(
            "is not running",
            field="name",
            value=name,
            fix=f"it is {found['phase']}; `sluice run` starts the next rollout, `sluice rollout retry {name}` the same again",
        )
    return {"name": name, "command": command, "id": Store(home, name).order(command, reason)}


def explain(found: dict[str, Any]) -> str:
    """Why it decided as it did: each decision with the numbers it stood on, for a person.

    Args:
        found: what `status` gave.
    """
    lines = [headline(found)]
    start = found.get("started") or (found["events"][0]["time"] if found["events"] else 0)
    for e in found["events"]:
        lines.append(f"{e['time'] - start:8.1f} s  {e['message']}")
        if e["kind"] == "verdict" and e["data"].get("verdict") in ("pass", "fail"):
            lines += [f"              {evidence}" for evidence in map(_numbers, e["data"].get("checks", []))]
    lines += said(found)
    if found["interrupted"]:
        lines.append("The process that drove it is gone; nothing was promoted by it after the last line above.")
    return "\n".join(lines)


def said(found: dict[str, Any]) -> list[str]:
    """The last lines of a candidate's process that failed, for a person."""
    words = (found.get("said") or "").splitlines()
    return ["            the last lines the candidate wrote:", *(f"            | {line}" for line in words)] if words else []


def _numbers(check: dict[str, Any]) -> str:
    parts = [check["reason"]]
    if unit(check):
        parts.append(f"by {unit(check)}")
    if "e_worse" in check:
        parts.append(f"evidence against {check['e_worse']:g}")
    if "e_within" in check:
        parts.append(f"for {check['e_within']:g}")
    return "; ".join(parts)


def unit(check: dict[str, Any]) -> str:
    """What one observation of a test is, for a person; empty for one of before there was more than one kind."""
    said = str(check.get("unit", ""))
    apart = check.get("dispersion")
    most = max(apart) if isinstance(apart, list | tuple) else apart
    return said + (
        f", {most:.3g} {'outcomes' if check['metric'] == 'business' else 'requests'} of theirs worth one" if most and most > 1 else ""
    )


def headline(found: dict[str, Any]) -> str:
    """One line: name, phase, weight, verdict."""
    what = found["phase"] + (f" {found['step'] + 1} of {len(found['steps'])}" if found["phase"] == "Step" else "")
    if found["interrupted"]:
        what += " (interrupted)"
    stage = f", {found['stage']}" if found["phase"] in ("Step", "Shadow") and found["stage"] else ""
    tail = "; ".join(found["reasons"])
    return f"{found['name']}: {what}{stage}, {found['weight']} % to the candidate" + (f": {tail}" if tail else "")


def summary(found: dict[str, Any]) -> str:
    """Where it stands now, for a person: the headline, both models, and the numbers of the window that runs."""
    lines = [headline(found)]
    lines += [f"  {arm:<9} {(found[arm] or '-')[:12]}" for arm in ("stable", "candidate") if found[arm]]
    lines += [f"  {_numbers(check)}" for check in found["tests"]]
    if found.get("load"):
        lines.append(f"  {found['load']['sent']:,} requests sent, {found['load']['failed']} failed")
    return "\n".join(lines)


def ended(found: dict[str, Any]) -> int:
    """The exit status of the rollout that `found` shows: as of ``sluice run``, 0 promoted, 4 rolled back, 1 neither."""
    return {"promoted": 0, "rolled_back": 4}.get(found["outcome"] or "", 1)


def watch(
    home: Path, name: str, *, console: Console | None = None, until: Callable[[], bool] | None = None, seconds: float = 86_400.0
) -> dict[str, Any]:
    """Show a rollout live until it is over; returns its last `status`.

    Args:
        console: where to draw; stderr if None.
        until: stop also when this says so.
        seconds: and after this long at most.

    Raises:
        RolloutError: no rollout of this name here.
    """
    return follow(lambda: status(home, name), every=_EVERY, console=console, until=until, seconds=seconds)


def follow(
    look: Callable[[], dict[str, Any]],
    *,
    every: float,
    console: Console | None = None,
    until: Callable[[], bool] | None = None,
    seconds: float = 86_400.0,
) -> dict[str, Any]:
    """Draw what `look` shows until the rollout is over; returns the last of it.

    Args:
        look: gives a `status`; when it fails, the last one stays for a minute.
        every: seconds between looks. console, until, seconds: as of `watch`.

    Raises:
        SluiceError: the first look failed, or every one for a minute.
    """
    out = console or Console(stderr=True)
    found, end = look(), time.monotonic() + seconds
    seen = time.monotonic()
    with Live(view(found), console=out, refresh_per_second=8, transient=False) as live:
        while found["running"] and not (until and until()) and time.monotonic() < end:
            time.sleep(every)
            try:
                found = look()
            except SluiceError:
                if time.monotonic() - seen > _PATIENCE:
                    raise
                continue
            seen = time.monotonic()
            live.update(view(found))
    if not out.is_terminal:
        # There the last frame is left without an end of line.
        out.line()
    return found


_COLOURS = {"pass": "green", "fail": "bold red", "wait": "yellow", "no data": "dim"}


def view(found: dict[str, Any]) -> RenderableType:
    """The live view of one `status`."""
    phase = Text(headline(found).partition(": ")[2].partition(":")[0], style="bold")
    bar = Table.grid(padding=(0, 1))
    filled = round(found["weight"] * 0.4)
    bar.add_row("stable", Text("█" * (40 - filled), style="cyan") + Text("█" * filled, style="magenta"), f"{found['weight']} % candidate")
    table = Table(box=None, pad_edge=False)
    for heading, where in (
        ("", "left"),
        ("stable", "right"),
        ("candidate", "right"),
        ("for", "right"),
        ("against", "right"),
        ("by", "left"),
        ("", "left"),
    ):
        table.add_column(heading, justify=where)  # type: ignore[arg-type]
    for c in found["tests"]:
        verdict = Text(c["verdict"], style=_COLOURS.get(c["verdict"], ""))
        table.add_row(
            c["metric"],
            _share(c.get("stable")),
            _share(c.get("candidate")),
            _weight(c.get("e_within")),
            _weight(c.get("e_worse")),
            c.get("unit", ""),
            verdict,
        )
    load = found.get("load") or {}
    traffic = ""
    if load:
        traffic = (
            f"{load['sent']:,} requests sent, {load['failed']} failed, p50 {load['p50_ms'] or 0:.1f} ms, p99 {load['p99_ms'] or 0:.1f} ms"
        )
    said = [
        Text(f"{e['time'] - (found.get('started') or e['time']):7.1f} s  {e['message'][:150]}", style="dim") for e in found["events"][-6:]
    ]
    body: list[RenderableType] = [phase, bar, table if found["tests"] else Text(""), Text(traffic, style="dim"), *said]
    return Panel(Group(*body), title=f"rollout {found['name']}", border_style=_border(found))


def _border(found: dict[str, Any]) -> str:
    return {"Succeeded": "green", "RolledBack": "red", "RollingBack": "red", "Failed": "red"}.get(found["phase"], "blue")


def _share(side: dict[str, Any] | None) -> str:
    if not side or not side.get("n"):
        return "-"
    if "mean" in side:
        return f"{side['mean']:.4g} ({side['n']:.0f})"
    return f"{side['bad']:.0f} of {side['n']:.0f}"


def _weight(e: float | None) -> str:
    return "" if e is None else f"{e:.3g}"
