"""Alerts fire where they should and nowhere else, by Prometheus' own evaluation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools import prometheus

CASES = Path(__file__).with_name("alerts.yaml")
RUNBOOKS = "https://sluice.dev/docs/runbooks/"
PAGES = prometheus.ROOT / "docs/runbooks"


def promtool(*args: str, cwd: Path) -> None:
    done = subprocess.run([prometheus.program("promtool"), *args], capture_output=True, text=True, check=False, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": prometheus.groups()}))
    name, lines = "", []
    for line in CASES.read_text().splitlines():
        name = m[1] if (m := re.match(r"\s+alertname: (\w+)", line)) else name
        lines.append(line)
        if m := re.match(r"(\s+)description: ", line):
            # The same for all: a page of its name.
            lines.append(f"{m[1]}runbook_url: {RUNBOOKS}{name}.html")
    (tmp_path / "alerts.yaml").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_rules_are_well_formed(folder: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", cwd=folder)


def test_alerts_fire_and_do_not_as_the_cases_say(folder: Path) -> None:
    promtool("test", "rules", "alerts.yaml", cwd=folder)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    checks = [c for t in cases for c in t.get("alert_rule_test", [])]
    alerts = {r["alert"] for g in prometheus.groups() for r in g["rules"] if "alert" in r}
    assert {c["alertname"] for c in checks if c["exp_alerts"]} == alerts
    assert {c["alertname"] for c in checks if not c["exp_alerts"]} == alerts


def test_an_alert_says_what_it_is_and_what_to_do() -> None:
    rules: list[dict[str, Any]] = [r for g in prometheus.groups() for r in g["rules"] if "alert" in r]
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"]), rule["alert"]
        assert "for" in rule or "XID" in rule["expr"], rule["alert"]
        # commands the description names exist
        for command in re.findall(r"`sluice rollout (\w+)`", rule["annotations"]["description"]):
            assert command in ("status", "watch", "pause", "resume", "abort", "promote")


def test_every_alert_has_a_page_that_says_what_it_means_where_to_look_and_what_to_do() -> None:
    alerts = {r["alert"]: r for g in prometheus.groups() for r in g["rules"] if "alert" in r}
    assert {p.stem for p in PAGES.glob("Sluice*.md")} == set(alerts)
    listed = (PAGES / "index.md").read_text()
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}{name}.html"
        page = (PAGES / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n"), name
        assert re.findall(r"(?m)^## (.+)$", page) == ["What it means", "Where to look", "What to do"], name
        assert all(len(part.split()) >= 8 for part in re.split(r"(?m)^## .+$", page)[1:]), name
        assert f"({name}.md)" in listed, name


def test_the_documentation_lists_every_alert_with_its_severity() -> None:
    told = dict(re.findall(r"(?m)^\| `(Sluice\w+)` \| (\w+) \|", (prometheus.ROOT / "docs/monitoring.md").read_text()))
    assert told == {r["alert"]: r["labels"]["severity"] for g in prometheus.groups() for r in g["rules"] if "alert" in r}
