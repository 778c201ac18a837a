"""Prometheus scrapes what it is told to, and every rule it was given is evaluated."""

from __future__ import annotations

import json
from typing import Any


def ask(kube: Any, path: str) -> Any:
    """Prometheus' API, through the API server's proxy."""
    return json.loads(kube.run("get", "--raw", f"/api/v1/namespaces/monitoring/services/prometheus:9090/proxy{path}"))["data"]


def test_models_and_controller_are_scraped(kube: Any, served: str) -> None:
    def up() -> bool:
        targets = [t for t in ask(kube, "/api/v1/targets?state=active")["activeTargets"] if t["labels"].get("namespace") == kube.namespace]
        jobs = {t["scrapePool"].split("/")[2] for t in targets if t["health"] == "up"}
        return {"sluice-models", "sluice-controller"} <= jobs

    kube.wait(up, "both jobs up", 120)


def test_every_rule_is_loaded_and_evaluates(kube: Any, served: str) -> None:
    def healthy() -> bool:
        groups = [g for g in ask(kube, "/api/v1/rules")["groups"] if g["name"].startswith("sluice-")]
        rules = [r for g in groups for r in g["rules"]]
        assert not [r for r in rules if r["health"] == "err"], [r["lastError"] for r in rules if r["health"] == "err"]
        return len(groups) == 3 and all(r["health"] == "ok" for r in rules)

    kube.wait(healthy, "rules evaluated", 120)


def test_a_served_model_is_counted(kube: Any, served: str) -> None:
    kube.wait(lambda: ask(kube, "/api/v1/query?query=sluice_model_info")["result"], "sluice_model_info", 60)
