"""What a prompt is asked is watched like any text: questions as in the golden set stay quiet, questions of something else are an alarm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from sluice.monitor import DriftMonitor, MonitorConfig, Window, profile_of

GOLDEN = Path(__file__).parents[3] / "examples/llm/data/golden.jsonl"
OTHER = ("Can you write me a poem about {}?", "Translate {} into French.", "What is the price of {} shares?", "Tell me a joke about {}.")
THINGS = ("the sea", "a banker", "winter", "copper", "my neighbour", "tax forms", "an old ship", "coffee")


def asked(rng: np.random.Generator, n: int, other: bool) -> pa.Table:
    golden = [json.loads(line)["question"] for line in GOLDEN.read_text().splitlines()]
    made = [o.format(t) for o in OTHER for t in THINGS]
    rows = [str((made if other else golden)[i]) for i in rng.integers(0, len(made) if other else len(golden), n)]
    return pa.table({"question": pa.array(rows, pa.string())})


def test_other_questions_than_the_golden_sets_are_an_alarm_and_its_own_are_not() -> None:
    rng = np.random.default_rng(5)
    golden = [json.loads(line)["question"] for line in GOLDEN.read_text().splitlines()]
    profile = profile_of(pa.table({"question": pa.array(golden, pa.string())}), {"question": "text"})
    monitor = DriftMonitor(profile, MonitorConfig(window=Window(rows=100)))
    state, verdicts = monitor.feed(monitor.begin(), asked(rng, 400, other=False))
    assert len(verdicts) == 4 and not any(v.raised for v in verdicts), "thirty items are few, which the noise floor knows"
    _, verdicts = monitor.feed(state, asked(rng, 300, other=True))
    assert [a.feature for v in verdicts[:2] for a in v.raised][:1] == ["question"], "within two windows"
