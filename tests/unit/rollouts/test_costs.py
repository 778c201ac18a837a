"""What answers cost as evidence: bounded answer by answer, compared by the sequential test of the other shares."""

from __future__ import annotations

from typing import Any

import pytest

from serving.runtime.prompts.meter import BOUNDS
from sluice.core.errors import SluiceError
from sluice.rollouts import costs, evidence, judge, prometheus_text, stretches
from sluice.rollouts.manifest import plan_of
from sluice.rollouts.simulate import Behaviour, Scenario, run
from sluice.rollouts.spec import CostMargin, RolloutSpec, Shadow
from sluice.rollouts.state import State

PLAN = RolloutSpec(cost=CostMargin(), shadow=Shadow(requests=0), minimum_requests=300)


def page(costs_of: list[float], series: bool = True) -> str:
    lines = [
        f'sluice_inference_requests_total{{model="m",version="1",code="200"}} {len(costs_of)}',
        f'sluice_llm_answer_cost_count{{model="m",version="1"}} {len(costs_of)}',
    ]
    if series:
        lines += [
            f'sluice_llm_answer_cost_capped_sum{{model="m",version="1",most="{b}"}} {sum(min(c, float(b)) for c in costs_of)}'
            for b in BOUNDS
        ]
    return "\n".join(lines)


def test_a_page_is_read_and_a_bound_is_settled_by_what_stable_costs() -> None:
    counts = prometheus_text.counts(page([0.001] * 29 + [0.5]), 0.2)
    assert counts["priced"] == 30 and counts[f"paid:{BOUNDS[-1]}"] == pytest.approx(0.529)
    tests, blocks, _ = costs.bounded(evidence.begin(PLAN), {"stable": counts, "candidate": counts}, {})
    assert tests["bound"] == "0.0562" and not any("paid" in k or "priced" in k for k in blocks["stable"]), "no evidence before"
    tests, blocks, each = costs.bounded(tests, {"stable": counts, "candidate": counts}, {"stable": {"a": counts}})
    assert blocks["stable"]["dear"] == pytest.approx((0.029 + 0.0562) / 0.0562), "the one that cost 0.5 counts as 1"
    assert each["stable"]["a"] == blocks["stable"] and not any(k.startswith("paid") for k in blocks["stable"])


def test_without_a_price_nothing_is_compared() -> None:
    counts = prometheus_text.counts(page([0.0] * 30, series=False), 0.2)
    tests, _, _ = costs.bounded(evidence.begin(PLAN), {"stable": counts}, {})
    assert tests.get("bound") is None
    checks = judge.judge(PLAN, State(stable="a", phase="Step", tests=tests, window={"stable": counts, "candidate": counts}))[2]
    assert [c["metric"] for c in checks] == ["errors", "slow"]
    with pytest.raises(SluiceError, match="is not a count"):
        prometheus_text.counts('sluice_llm_answer_cost_capped_sum{most="1"} NaN', 0.2)


def rolled(times: float, shadow: int, seed: int = 1) -> Any:
    plan = PLAN.model_copy(update={"shadow": Shadow(requests=shadow)})
    stable, candidate = Behaviour(errors=0.002, cost=0.002), Behaviour(errors=0.002, cost=0.002 * times)
    return run(plan, Scenario(50.0, stable, candidate, every=2.0), seed)


def test_a_candidate_of_twice_the_cost_is_rolled_back_and_an_equal_one_promoted() -> None:
    twice = rolled(2.0, shadow=0)
    assert twice.phase == "RolledBack" and "cost of an answer" in twice.reasons[0] and "more than 25% dearer" in twice.reasons[0]
    assert rolled(1.0, shadow=0).phase == "Succeeded"


def test_in_the_shadow_no_user_meets_the_dear_one() -> None:
    found = rolled(2.0, shadow=400)
    assert found.phase == "RolledBack" and found.exposed == 0 and "dearer" in found.reasons[0]
    assert rolled(1.0, shadow=400).phase == "Succeeded"


def test_where_nobody_compares_costs_twice_as_much_is_promoted() -> None:
    plan = RolloutSpec(shadow=Shadow(requests=0))
    assert evidence.family(plan) == ["errors", "slow", "wrong", "shift"], "models that are no prompts lose no power"
    assert run(plan, Scenario(50.0, Behaviour(cost=0.002), Behaviour(cost=0.004), every=2.0), 1).phase == "Succeeded"


def test_a_margin_is_written_with_one_of_its_numbers_and_handed_to_the_controller() -> None:
    assert RolloutSpec.model_validate({"cost": {}}).cost == CostMargin(tolerance=0.25, margin=0.5)
    assert RolloutSpec.model_validate({"cost": {"margin": 0.2}}).cost == CostMargin(tolerance=0.1, margin=0.2)
    with pytest.raises(ValueError, match="must be below margin"):
        RolloutSpec.model_validate({"cost": {"tolerance": 0.6, "margin": 0.5}})
    assert plan_of(RolloutSpec.model_validate({"cost": {"margin": 1.0}}))[1] == {"cost": {"margin": 1.0, "tolerance": 0.25, "off": False}}
    assert plan_of(RolloutSpec.model_validate({"cost": None}))[1] == {"cost": {"off": True}}
    assert plan_of(RolloutSpec())[1] == {}


def test_a_rollout_that_an_older_controller_began_goes_on() -> None:
    block = {arm: {"p": {"requests": 10.0, "errors": 1.0, "timed": 10.0}} for arm in ("stable", "candidate")}
    kept = stretches.take(stretches.begin(), block, 0.0, 5.0, 45.0)
    old = {**kept, "rows": [r[: 2 + 12] for r in kept["rows"]]}
    old["pods"] = {
        arm: {**p, "open": {i: c[:6] for i, c in p["open"].items()}, "closed": p["closed"][:6]} for arm, p in kept["pods"].items()
    }
    assert stretches.take(old, block, 5.0, 10.0, 45.0) == stretches.take(kept, block, 5.0, 10.0, 45.0)
