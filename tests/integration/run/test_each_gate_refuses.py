"""One model's life in which each gate that needs a setting or a history refuses once, as a person would see it: status 3, the reason, what can be done."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.tools.long import long
from tests.tools.run import promoted, run

pytestmark = [long, pytest.mark.timeout(5400)]
WORSE = (
    "model={estimator: random_forest, n_estimators: 1, max_depth: 2}",
    "evaluate.margin=0.5",
    "evaluate.find_slices=false",
    "rollout.shift=null",
    "rollout.wrong=null",
)
PROJECT = """
name: loans
task: tabular
data:
  source: loans.csv
  columns: {label: granted, ignore: [sex]}
  split: {test: 0.4, validation: 0.1, seed: 17}
  checks: {rows_min: 100}
model: {estimator: logistic_regression}
export: {formats: [fp32]}
rollout: {steps: [50], minimum_requests: 60}
"""
CASES = """
tests:
  - {name: a clear case, type: minimum, inputs: [{income: 90, debt: 5, age: 40}], expect: "yes"}
  - {name: "more debt, more loans", type: direction, rows: 50, change: {debt: {add: 5}}, of: "yes", moves: rises}
"""


def write(folder: Path) -> None:
    """Loans by income and debt; women earn less, so fewer of them are granted one, though nobody is asked for the sex."""
    rng, lines = random.Random(5), ["income,debt,age,sex,granted"]
    for _ in range(900):
        sex, debt = rng.choice("fm"), rng.gauss(20, 6)
        income = rng.gauss(54 if sex == "m" else 40, 10)
        granted = (income - 47) / 4 - (debt - 20) / 3 + rng.gauss(0, 0.7) > 0
        lines.append(f"{income:.1f},{debt:.1f},{rng.randint(18, 80)},{sex},{'yes' if granted else 'no'}")
    (folder / "loans.csv").write_text("\n".join(lines) + "\n")
    (folder / "sluice.yaml").write_text(PROJECT)
    (folder / "cases.yaml").write_text(CASES)


def refused(folder: Path, *settings: str) -> tuple[str, dict[str, Any], str]:
    """A run that a gate refuses: the first reason, the gate's evidence, and the report's page."""
    status, outcome, said = run(folder, *settings, seconds=900)
    assert (status, outcome["outcome"], outcome["gate"]) == (3, "refused", "evaluate"), (outcome, said)
    gate = orjson.loads((folder / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_bytes())
    page = Path(outcome["report"]).read_text()
    assert "What can be done" in page and outcome["next"] == list(gate["evidence"]["refused"].values()) and len(outcome["next"]) == 1
    return outcome["reasons"][0], gate["evidence"] | {"next": outcome["next"]}, page


def test_each_gate_refuses_a_run_and_says_what_can_be_done(tmp_path: Path) -> None:
    write(tmp_path)
    promoted(tmp_path, seconds=900)

    reason, found, page = refused(tmp_path, "evaluate.robustness={drop: 0.02, noise: 1.0, suites: [noise]}")
    assert reason.startswith("robustness: with noise accuracy drops by") and "evaluate.robustness.drop" in found["next"][0]
    assert found["robustness"]["suites"][0]["verdict"] == "dropped" and page.index("Robustness: disturbed rows") < page.index(
        "On the held-out rows"
    )

    fair = "evaluate.fairness={groups: [sex], positive: 'yes', metrics: {demographic_parity_difference: 0.05}}"
    reason, found, page = refused(tmp_path, fair)
    assert reason.startswith("fairness by sex: demographic_parity_difference is") and "evaluate.fairness.metrics" in found["next"][0]
    assert found["fairness"]["columns"][0]["metrics"][0]["verdict"] == "broken" and "Fairness" in page

    reason, found, page = refused(tmp_path, "evaluate.behaviour=cases.yaml")
    assert reason.startswith("behaviour: more debt, more loans") and "pass_rate" in found["next"][0]
    assert [t["verdict"] for t in found["behaviour"]["tests"]] == ["passed", "failed"] and page.index("Behaviour: ") < page.index(
        "On the held-out rows"
    )

    promoted(tmp_path, *WORSE, seconds=900)  # by a margin that is far too wide, and the anchor stays where it is
    reason, found, page = refused(tmp_path, *WORSE, "train.seed=18", "evaluate.anchor_margin=0.005")
    assert reason.startswith("worse than the anchor, the best champion so far: accuracy") and "sluice anchor NAME" in found["next"][0]
    assert found["anchor"]["verdict"] == "worse" and found["comparison"]["verdict"] != "worse" and "candidate minus anchor" in page
