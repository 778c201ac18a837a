"""Why a run did not end promoted, and what to do next: one line each, the same in a notebook and on the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core.home import Home

#: What is in a person's hands when a step refuses, where no check of it says so (`sluice.core.check.Check.then`).
_NEXT = {
    "validate_data": "mend the rows, or the limits in data.checks",
    "preprocess": "give data.split more rows",
    "train": "look at the curves, then at train.learning_rate and train.epochs",
    "export_onnx": "raise export.max_loss, or leave the format out of export.formats",
    "evaluate": "train longer or on more rows, or change the bar (evaluate.minimum, margin, baselines)",
    "register": "look at the registry (tracking.uri)",
}
_MOST = 220


def why(outcome: Mapping[str, Any]) -> str | None:
    """Why a run did not end promoted, in one line; null for one that did or still goes on."""
    word = outcome["outcome"]
    if word in ("promoted", "running"):
        return None
    reasons = [" ".join(str(r).split()) for r in outcome.get("reasons") or ()] or ["no reason was given"]
    error = outcome.get("error") or {}
    if word == "failed" and error.get("field"):
        got = f" (got {error['value']})" if error.get("value") is not None else ""
        reasons[0] = f"{error['field']}: {reasons[0]}{got}"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return _cut(reasons[0], _MOST - len(more)) + more


def what_next(outcome: Mapping[str, Any], back: str = "client") -> str | None:
    """What to do about it, in one line; null for a run that ended promoted.

    Args:
        outcome: of the run. back: how its client is written, to come back to a run that goes on.
    """
    word, error = outcome["outcome"], outcome.get("error") or {}
    if word == "promoted":
        return None
    if word == "running":
        return f'it goes on: {back}.wait("{outcome["run"]}") follows it to its end'
    if word == "failed":
        return _cut(" ".join(str(error.get("fix") or "look at its log").split()), _MOST) + (
            f"; log: {outcome['log']}" if outcome.get("log") else ""
        )
    if word == "rolled_back":
        return f'run.show("rollout") shows the tests; again without training: {retry_command(outcome)}'
    return f'run.show("{outcome.get("gate") or ""}") shows all of it; {after_refusal(outcome)}'


def after_refusal(outcome: Mapping[str, Any]) -> str:
    """What to change after a gate refused, in one line: what its checks say, else what the step has."""
    if outcome.get("next"):
        return f"{'; '.join(outcome['next'])}; and run again"
    return f"{_NEXT.get(str(outcome.get('gate') or ''), 'change what it names')}, and run again"


def retry_command(outcome: Mapping[str, Any]) -> str:
    """The command that makes a rollout again without training."""
    if "report" not in outcome or "url" in outcome:
        return f"sluice rollout retry {outcome['project']} --namespace NS"
    home = Path(outcome["report"]).parents[2]
    return shlex.join(
        ["sluice", "rollout", "retry", str(outcome["project"]), *(["--home", near(str(home))] if home != Home().root else [])]
    )


def near(path: str) -> str:
    """A path from the working directory, where it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
