"""The commands of people, as a turn obeys them: each says why it is refused, or None."""

from __future__ import annotations

from collections.abc import Callable

from sluice.rollouts.state import TERMINAL
from sluice.rollouts.turn import Turn


def obey(turn: Turn) -> None:
    """Act on each command once."""
    for ident, command in turn.seen.commands:
        if ident in turn.state.handled:
            continue
        turn.put(handled=(*turn.state.handled, ident)[-50:])
        refused = COMMANDS[command](turn)
        turn.note("command", f"{command}: {refused or 'done'}", command=command, id=ident, refused=refused)


def pause(turn: Turn) -> str | None:
    """Hold the rollout where it is."""
    s = turn.state
    if s.phase == "Paused" and s.held:
        turn.put(held=False)
        return None
    if s.phase not in ("Pending", "Shadow", "Warmup", "Step"):
        return f"refused, nothing to pause in phase {s.phase}"
    turn.pause("paused by command")
    return None


def resume(turn: Turn) -> str | None:
    """Go on with one that is held."""
    s = turn.state
    if s.phase != "Paused" or s.resume is None:
        return f"refused, not paused but {s.phase}"
    away = turn.now - s.paused_at
    # Who goes on in spite of too little traffic has seen how long it will take.
    turn.put(unhurried=s.unhurried or s.held)
    turn.enter(
        s.resume,
        f"resumed: {s.resume}",
        stage="settle" if s.resume in ("Step", "Shadow") else s.stage,
        resume=None,
        deadline_from=s.deadline_from + away,
    )
    if s.resume in ("Step", "Shadow"):
        turn.open_window(counted=False)
    return None


def abort(turn: Turn) -> str | None:
    """Go back to the stable model."""
    if turn.state.phase in TERMINAL or turn.state.phase == "RollingBack" or turn.state.candidate is None:
        return f"refused, the rollout is over: {turn.state.phase}"
    turn.roll_back("aborted by command")
    return None


def promote(turn: Turn) -> str | None:
    """Give the candidate all traffic now."""
    s = turn.state
    if s.phase not in ("Pending", "Shadow", "Warmup", "Step", "Paused"):
        return f"refused, nothing to promote in phase {s.phase}"
    if not turn.candidate.ready or turn.broken():
        return "refused, the candidate is not ready"
    if s.verdict == "fail":
        return "refused, the candidate has failed"
    turn.promote("promoted by command")
    return None


def retry(turn: Turn) -> str | None:
    """Have what failed or was rolled back begin again."""
    s = turn.state
    if s.phase not in ("RolledBack", "Failed"):
        return f"refused, nothing to retry in phase {s.phase}"
    # No generation is this one: what failed begins again though neither spec nor surroundings changed.
    turn.put(rejected=tuple(d for d in s.rejected if d != turn.seen.desired), generation=-1)
    return None


COMMANDS: dict[str, Callable[[Turn], str | None]] = {
    "pause": pause,
    "resume": resume,
    "abort": abort,
    "promote": promote,
    "retry": retry,
}
