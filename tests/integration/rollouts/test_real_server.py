"""Rollouts of real packages by the real model server."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sluice.rollouts.local import RolloutResult, run_local
from sluice.rollouts.spec import Replay, RolloutSpec, Shadow

SPEC = RolloutSpec(
    steps=[40],
    settle_seconds=0.5,
    warmup_seconds=0.2,
    verify_seconds=1,
    shadow=Shadow(requests=100),
    replay=Replay(rate=250, step_deadline_seconds=60),
)


def _digits() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits", Path(__file__).with_name("digits.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


digits = _digits()


@pytest.fixture
def roll(tmp_path: Path) -> Callable[..., RolloutResult]:
    stable = digits.build(tmp_path / "stable", "digits", 150)

    def run(**how: object) -> RolloutResult:
        candidate = digits.build(tmp_path / "candidate", "digits", 1300, **how)
        return run_local(
            "digits",
            SPEC,
            stable=stable,
            candidate=candidate,
            server=[sys.executable, "-m", "serving.runtime"],
            requests=digits.requests("digits"),
            home=tmp_path,
        )

    return run


def test_better_digits_model_is_promoted_without_a_failed_request(roll: Callable[..., RolloutResult]):
    result = roll()
    assert result.outcome == "promoted", result.reasons
    assert result.evidence["load"]["failed"] == 0
    checks = {c["metric"]: c for c in next(e["tests"] for e in reversed(result.evidence["timeline"]) if e["tests"])}
    assert set(checks) == {"errors", "slow", "wrong", "shift"}
    assert checks["wrong"]["candidate"]["n"] > 200


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        # Whichever of the two is shown first.
        ({"shuffled": True}, "wrong answers|disagreement with stable"),
        ({"broken": True}, "a number that is none"),
    ],
)
def test_wrong_and_nan_models_are_stopped_before_any_user_meets_them(roll: Callable[..., RolloutResult], how: dict[str, bool], reason: str):
    result = roll(**how)
    assert result.outcome == "rolled_back"
    assert re.search(reason, " ".join(result.reasons))
    assert result.evidence["load"]["failed"] == 0
    assert result.evidence["load"]["by_arm"]["candidate"] == 0
