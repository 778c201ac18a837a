"""Counters that a Prometheus scrapes every 30 seconds: a candidate like its stable model is promoted, one with two points more errors is not.

The plan is the one a ModelRollout ships: what it says nothing of here, it says nothing of.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.rollouts.load_generator import Load

_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest = helpers.manifest, helpers.digest
wait_until = helpers.wait_until

EVERY = "30s"
#: Errors and requests a second, as in the tables of docs/rollouts.md.
BASE, MORE, RATE = 0.003, 0.02, 50


def intervals(prometheus: str) -> set[str]:
    """How often that Prometheus scrapes the pods of this test's namespace."""
    with urllib.request.urlopen(f"{prometheus}/api/v1/targets?state=active", timeout=10) as answer:
        targets = json.load(answer)["data"]["activeTargets"]
    return {t["scrapeInterval"] for t in targets if f"podMonitor/{helpers.NAMESPACE}/standins/" in t["scrapePool"]}


def every(seconds: str) -> None:
    endpoints = [{**helpers.MONITOR["spec"]["podMetricsEndpoints"][0], "interval": seconds}]
    helpers.kubectl(
        "patch",
        "podmonitor",
        "standins",
        "-n",
        helpers.NAMESPACE,
        "--type=merge",
        "-p",
        json.dumps({"spec": {"podMetricsEndpoints": endpoints}}),
    )


@pytest.fixture
def seldom(cluster: Any, prometheus: str) -> Iterator[None]:
    every(EVERY)
    yield
    every(helpers.MONITOR["spec"]["podMetricsEndpoints"][0]["interval"])


def shipped(name: str, version: str, errors: float, prometheus: str) -> dict[str, Any]:
    """A ModelRollout that leaves strategy and analysis as they are shipped, but for where its counters are."""
    found: dict[str, Any] = manifest(name, version, f"errors={errors}", analysis={"prometheus": {"url": prometheus}})
    del found["spec"]["strategy"], found["spec"]["intervalSeconds"]
    return found


def test_at_thirty_seconds_between_scrapes_an_equal_candidate_is_promoted_and_a_worse_one_stopped(
    operator: Any, api: Any, named: str, seldom: None, load: Callable[..., Load], prometheus: str
) -> None:
    first = shipped(named, "one", BASE, prometheus)
    first["spec"]["strategy"] = {"verifySeconds": 5}  # there is nothing to compare a first model with
    api.apply(first)
    api.until(named, "Succeeded", version="one")
    wait_until(lambda: intervals(prometheus) == {EVERY}, what="a scrape every 30 s", seconds=300, every=2)
    traffic = load(named, RATE)
    wait_until(lambda: traffic.report()["by_arm"].get(digest("one")[:12], 0) > 20, what="traffic", seconds=60)

    api.apply(shipped(named, "equal", BASE, prometheus))
    status = api.until(named, "Succeeded", "RolledBack", seconds=1200, version="equal")
    told = [f"{h['time']} {h['message']}" for h in status["history"]]
    assert (status["phase"], status["stable"]) == ("Succeeded", digest("equal")[:12]), told

    before = traffic.report()["by_arm"]
    api.apply(shipped(named, "worse", BASE + MORE, prometheus))
    status = api.until(named, "RolledBack", seconds=900)
    after = traffic.report()["by_arm"]
    assert status["stable"] == digest("equal")[:12] and "errors" in status["message"], status["message"]
    met = after.get(digest("worse")[:12], 0) - before.get(digest("worse")[:12], 0)
    # Of those that its copies did not stop it before, one in fifty met an error: ten of them at the median is what is promised.
    assert MORE * met <= 20, (met, status["message"])
    print("\n" + "\n".join([*told, f"the worse one: {met} of the users' requests, {status['message']}"]))
