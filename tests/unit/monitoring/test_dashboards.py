"""Dashboards are the code's output, and ask only for metrics that somebody writes."""

from __future__ import annotations

import re
from pathlib import Path

from manifests.monitoring.dashboards.configmap import configmap
from tests.integration.monitoring import exporters
from tests.tools import dashboards, prometheus

ROOT = Path(__file__).parents[3]
FUNCTIONS = re.compile(r"[a-z_0-9]+(?=\s*\()|\b(by|on|ignoring|group_left|unless|and|or|bool|offset|without)\b")


def metrics(expr: str) -> set[str]:
    """Names of series in a PromQL expression."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\b(?:by|on|ignoring|without|group_left)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\$\w+", "", bare)
    return {n for n in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", FUNCTIONS.sub("", bare)) if "_" in n or ":" in n or n == "up"}


def test_the_names_of_an_expression_are_found() -> None:
    found = metrics(
        'histogram_quantile(0.9, sum by (model, le) (rate(a_bucket{x="b_c"}[5m]))) / ignoring (label_x) group_left a:b_c{y=~"$z"} or 0 * up offset 1h'
    )
    assert found == {"a_bucket", "a:b_c", "up"}


def test_committed_dashboards_are_the_codes_output() -> None:
    assert dashboards.CONFIGMAP.read_text() == configmap(), "run: make golden"


def test_every_metric_named_is_written_by_somebody() -> None:
    code = "\n".join(p.read_text() for folder in ("serving", "sluice", "components") for p in (ROOT / folder).rglob("*.py"))
    rules = [r for g in prometheus.groups() for r in g["rules"]]
    known = {r["record"] for r in rules if "record" in r} | exporters.names() | {"up"}
    asked = {n for r in rules for n in metrics(r["expr"])} | {
        n for _, p in dashboards.panels() for t in p["targets"] for n in metrics(t["expr"])
    }
    assert len(asked) > 30

    def written(name: str) -> bool:
        stems = {name, re.sub(r"_(bucket|sum|count)$", "", name), name.removesuffix("_total")}
        # the training's gauges are declared without their common beginning
        told = {f'gauge("{name.removeprefix("sluice_train_")}"'} if name.startswith("sluice_train_") else set()
        return bool(stems & known) or any(s in code for s in {f'"{s}"' for s in stems} | told)

    assert not sorted(n for n in asked if not written(n))


def test_dashboards_can_stand_beside_each_other() -> None:
    found = dashboards.dashboards()
    assert {f"{d['uid']}.json" for d in found.values()} == set(found)
    for name, board in found.items():
        assert len({p["id"] for p in board["panels"]}) == len(board["panels"]), name
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24, (name, panel["title"])


def test_every_panel_names_the_chosen_data_source_and_what_it_shows() -> None:
    found = list(dashboards.panels())
    assert len(found) > 40
    for board, panel in found:
        assert panel["datasource"]["uid"] == "${datasource}", (board, panel["title"])
        assert panel["title"] and panel["targets"], board
