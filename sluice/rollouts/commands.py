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
        name, _, about = command.partition(":")
        refused = COMMANDS[name](turn, about)
        turn.note("command", f"{name}: {refused or 'done'}", command=name, id=ident, refused=refused)


def pause(turn: Turn, _about: str = "") -> str | None:
    """Hold the rollout where it is."""
    s = turn.state
    if s.phase == "Paused" and s.held:
        turn.put(held=False)
        return None
    if s.phase not in ("Pending", "Shadow", "Warmup", "Step"):
        return f"refused, nothing to pause in phase {s.phase}"
    turn.pause("paused by command")
    return None


def resume(turn: Turn, _about: str = "") -> str | None:
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


def abort(turn: Turn, _about: str = "") -> str | None:
    """Go back to the stable model."""
    if turn.state.phase in TERMINAL or turn.state.phase == "RollingBack" or turn.state.candidate is None:
        return f"refused, the rollout is over: {turn.state.phase}"
    turn.roll_back("aborted by command")
    return None


def promote(turn: Turn, _about: str = "") -> str | None:
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


def retry(turn: Turn, _about: str = "") -> str | None:
    """Have what failed or was rolled back begin again."""
    s = turn.state
    if s.phase not in ("RolledBack", "Failed"):
        return f"refused, nothing to retry in phase {s.phase}"
    # No generation is this one: what failed begins again though neither spec nor surroundings changed.
    turn.put(rejected=tuple(d for d in s.rejected if d != turn.seen.desired), generation=-1)
    return None


def rollback(turn: Turn, about: str = "") -> str | None:
    """Take back the model that serves, or the one that is on its way: what served before it serves again, without the steps.

    Args:
        about: the first digits of the digest that is meant to go; so that of two who ask at once the second takes nothing more back. Without
            it the model that serves is meant, unless it is one that was put back itself.
    """
    s = turn.state
    if s.back or s.phase == "RollingBack":
        return "refused, it is on its way back already"
    if s.phase not in TERMINAL and s.candidate is not None:
        if about and not s.candidate.startswith(about):
            return f"refused, {about} is not the model that is being rolled out: {s.candidate[:12]} is"
        turn.roll_back(_why(turn, "rolled back by command"))
        return None
    if about and not (s.stable or "").startswith(about):
        return f"refused, {about} does not serve: {(s.stable or 'nothing')[:12]} does"
    if not about and s.phase == "RolledBack":
        return "refused, the last rollout was rolled back: name the digest that is to go, rollback:DIGEST"
    target = next((d for d in (s.previous, *reversed(s.past)) if d and d not in s.rejected and d != s.stable), None)
    if target is None:
        return "refused, there is no model before this one"
    turn.start(target)
    turn.put(back=_why(turn, "rolled back by command"))
    return None


def _why(turn: Turn, default: str) -> str:
    return turn.seen.reason or default


COMMANDS: dict[str, Callable[[Turn, str], str | None]] = {
    "pause": pause,
    "resume": resume,
    "abort": abort,
    "promote": promote,
    "retry": retry,
    "rollback": rollback,
}
