"""What the API server refuses of a ModelRollout, and what it says."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
Change = Callable[[dict[str, Any]], object]


def tried(raw: dict[str, Any]) -> str:
    """Empty when the server would take it, else what it says."""
    done = subprocess.run(
        ["kubectl", "apply", "--dry-run=server", "-f", "-"], input=json.dumps(raw), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stderr if done.returncode else ""


def strategy(**fields: Any) -> Change:
    return lambda raw: raw["spec"]["strategy"].update(fields)


def analysis(**fields: Any) -> Change:
    return lambda raw: raw["spec"].setdefault("analysis", {}).update(fields)


QUERIES = {"queries": {"outcomes": "a", "sum": "b"}}
BAD: list[tuple[str, Change, str]] = [
    ("digest", lambda raw: raw["spec"]["model"].update(digest="latest"), "spec.model.digest"),
    ("no uri", lambda raw: raw["spec"]["model"].pop("uri"), "spec.model.uri"),
    ("long name", lambda raw: raw["metadata"].update(name="m" * 41), "at most 40 characters"),
    ("back-end", lambda raw: raw["spec"]["traffic"].update(backend="Istio"), "spec.traffic.backend"),
    ("no gateway", lambda raw: raw["spec"]["traffic"].pop("gateway"), "needs gateway and hostname"),
    (
        "sticky without a gateway",
        lambda raw: raw["spec"].update(traffic={"backend": "Serverless", "sticky": "Cookie"}, strategy={}),
        "keep a user in an arm",
    ),
    ("shadow without copies", lambda raw: raw["spec"]["traffic"].update(backend="Serverless"), "set strategy.shadow.requests to 0"),
    ("all in a step", strategy(steps=[10, 100]), "spec.strategy.steps"),
    ("no step", strategy(steps=[]), "spec.strategy.steps"),
    ("steps repeat", strategy(steps=[10, 10]), "steps must not repeat"),
    ("A/B without outcome", strategy(kind="AB", steps=[50]), "AB needs analysis.business"),
    (
        "A/B in two steps",
        lambda raw: (strategy(kind="AB")(raw), analysis(business=QUERIES, prometheus={"url": "http://p"})(raw)),
        "exactly one step",
    ),
    ("outcome from nowhere", analysis(business=QUERIES), "give analysis.prometheus.url"),
    ("margins", analysis(errors={"tolerance": 0.05, "margin": 0.02}), "tolerance must be below margin"),
    ("alpha", analysis(alpha=0.9), "spec.analysis.alpha"),
    ("no patience", strategy(unreadySeconds=-1), "spec.strategy.unreadySeconds"),
]


@pytest.mark.parametrize(("change", "said"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_spec_is_refused_with_the_field_or_the_rule(cluster: Any, change: Change, said: str):
    raw = copy.deepcopy(helpers.manifest("schema", "one"))
    assert tried(raw) == ""
    change(raw)
    assert said in tried(raw)


def test_back_end_of_a_rollout_cannot_change(cluster: Any):
    raw = helpers.manifest("schema", "one")
    helpers.kubectl("apply", "-f", "-", stdin=json.dumps(raw))
    try:
        raw["spec"]["traffic"] = {"backend": "Serverless"}
        raw["spec"]["strategy"]["shadow"] = {"requests": 0}
        assert "back-end cannot change" in tried(raw)
    finally:
        helpers.kubectl("delete", "modelrollout", "-n", helpers.NAMESPACE, "schema", "--wait=false")
