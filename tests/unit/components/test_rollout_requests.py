"""What a rollout on this machine replays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa

from components.rollout.logic import plan_of, requests_of
from sluice.core import files
from sluice.package import package as packages
from sluice.problems.decision import Rule
from sluice.rollouts.spec import RolloutSpec
from tests.unit.serving import builders


def test_rows_are_sent_in_the_spelling_a_champion_of_before_knows(tmp_path: Path) -> None:
    made = builders.tabular(tmp_path / "new")
    old = builders.tabular(tmp_path / "old")
    (old.root / packages.MANIFEST).unlink()
    files.write_json(old.root / packages.PROFILE, {"features": {"job": {"parts": {"value": {"values": ["True", "False"]}}}}})
    old = packages.write(
        old.root,
        name=old.name,
        task=old.task,
        objective=old.objective,
        inputs=list(old.inputs),
        outputs=list(old.outputs),
        labels=list(old.labels),
        preprocess=old.preprocess,
        precision="fp32",
        metrics={},
        provenance={},
    )
    table = pa.table({"row_id": ["a" * 16, "b" * 16], "age": [1.5, None], "job": ["true", None], "label": ["a", "b"]})
    for stable, sent in ((None, "true"), (old, "True")):
        found = requests_of(made, "churn", table, stable)
        assert [orjson.loads(r.body)["instances"][0] for r in found] == [{"age": 1.5, "job": sent}, {"age": None, "job": None}]
        assert [r.label for r in found] == ["a", "b"] and found[0].path == "/v1/models/churn:predict"


def test_a_release_with_a_column_more_is_sent_what_the_champion_takes_too(tmp_path: Path) -> None:
    made = builders.tabular(tmp_path / "new")
    ages = {**made.preprocess, "columns": [c for c in made.preprocess["columns"] if c["name"] == "age"]}
    table = pa.table({"row_id": ["a" * 16], "age": [1.5], "job": ["true"], "label": ["a"], "__beside_sex": ["f"]})
    more: Any = SimpleNamespace(preprocess=ages, profile=made.profile)
    assert orjson.loads(requests_of(made, "churn", table, more)[0].body) == {"instances": [{"age": 1.5}]}


def test_models_that_decide_by_different_rules_are_not_compared_by_their_label_shares() -> None:
    """A threshold where there was none moves the shares on purpose; another value of the same aim does not."""

    def by(rule: Rule | None) -> Any:
        return SimpleNamespace(rule=rule)

    none, low, high, recall = by(None), by(Rule("Yes", 0.1, "f1")), by(Rule("Yes", 0.3, "f1")), by(Rule("Yes", 0.1, "recall"))
    for package, stable, compared in (
        (low, none, False),
        (none, low, False),
        (recall, low, False),
        (low, high, True),
        (none, none, True),
        (low, None, True),
    ):
        plan, caution = plan_of(RolloutSpec(), package, stable)
        assert (plan.shift is not None) == compared and (caution is None) == compared
    asked = RolloutSpec.model_validate({"shift": {"margin": 0.3}})
    assert plan_of(asked, low, none) == (asked, None)
