"""The generated pages hold what others know of the same things."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate import cluster
from docs.generate.pages import pages
from docs.generate.words import cell, sentence
from sluice.tasks.base import TASKS

REPO = Path(__file__).resolve().parents[3]


def test_every_command_of_the_readme_is_in_the_reference() -> None:
    told = set(re.findall(r"(?m)^## (sluice .*)$", pages()["reference/cli.md"]))
    named = re.findall(r"(?m)^\| `(sluice [a-z]+)", (REPO / "README.md").read_text())
    assert named and all(any(t == n or t.startswith(f"{n} ") for t in told) for n in named), set(named) - told


def test_the_readme_names_every_task_and_every_command() -> None:
    readme = (REPO / "README.md").read_text()
    kinds = set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"(?m)^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", readme))))
    assert set(TASKS.built_in) <= kinds, set(TASKS.built_in) - kinds
    named = set(re.findall(r"`sluice ([a-z]+)", readme))
    commands = {c.split()[0] for c in re.findall(r"(?m)^## sluice ([a-z]+)", pages()["reference/cli.md"])}
    assert commands <= named, commands - named


def test_every_metric_that_an_alert_or_a_dashboard_asks_for_is_in_the_reference() -> None:
    known = set(re.findall(r"`(sluice_\w+)`", pages()["reference/metrics.md"]))
    asked = set()
    for path in (REPO / "manifests/monitoring").rglob("*.yaml"):
        asked |= set(re.findall(r"\bsluice_[a-z_]+\b", path.read_text()))
    unknown = {a for a in asked if a not in known and re.sub(r"_(bucket|count|sum|total)$", "", a) not in known}
    assert "sluice_inference_requests_total" in known & asked
    assert not unknown


def test_every_alert_and_every_value_of_the_chart_is_in_the_reference() -> None:
    assert set(re.findall(r"(?m)^## (Sluice\w+)", pages()["reference/alerts.md"])) == {r["alert"] for r in cluster.alert_rules()}
    told = set(re.findall(r"(?m)^\| `([\w.]+)` \|", pages()["reference/values.md"]))
    missing = [
        v
        for v in leaves(json.loads((REPO / "charts/sluice/values.schema.json").read_text()))
        if not any(f"{v}.".startswith(f"{t}.") for t in told) and v != "global"  # Helm's own
    ]
    assert not missing, "give each a comment `# -- ...` in values.yaml"


def leaves(schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        if inner.get("properties"):
            yield from leaves(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def test_every_key_of_the_examples_is_in_the_reference_of_the_project_file() -> None:
    told = set(re.findall(r"(?m)^\| `([^`]+)` \|", pages()["reference/project.md"]))
    for path in sorted((REPO / "examples").glob("*/sluice.yaml")):
        for section, inner in yaml.safe_load(path.read_text()).items():
            keys = [f"{section}.{k}" for k in inner] if isinstance(inner, dict) and section not in ("model", "train") else [section]
            assert not [k for k in keys if k not in told and section not in told], path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("where it is", "Where it is."),
        ("s3://bucket", "s3://bucket."),
        ("null: none", "null: none."),
        ("text | image", "text | image."),
        ("", ""),
        (None, ""),
    ],
)
def test_a_description_becomes_a_sentence(text: str | None, said: str) -> None:
    assert sentence(text) == said


def test_a_cell_breaks_no_table() -> None:
    assert cell("a|b\nc <d> [e]") == "a\\|b c &lt;d> &#91;e]"
    assert cell("`[DIR]` <x>") == "`[DIR]` &lt;x>", "code stands as it is"
    assert "`[DIR]`" in pages()["reference/cli.md"] and "`&#" not in "".join(pages().values())


def test_messages_that_troubleshooting_quotes_are_said_by_the_code() -> None:
    text = (REPO / "docs/troubleshooting.md").read_text()
    quoted = re.findall(r'(?m)^\| "([^"]+)"', text)
    code = " ".join(" ".join(p.read_text().split()) for top in ("sluice", "pipelines", "serving") for p in (REPO / top).rglob("*.py"))
    assert len(quoted) >= 12
    assert not [q for q in quoted if q not in code]


def test_the_page_of_errors_has_message_and_fix_of_what_is_raised() -> None:
    page = pages()["reference/errors.md"]
    assert "| is in use by {holder} | wait for it, or give this run a home of its own: --home DIR |" in page
    assert "| unknown key |" in page or page.count("\n| ") > 150


def test_extras_that_the_docs_name_exist() -> None:
    known = set(tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for path in [REPO / "README.md", *(REPO / "docs").rglob("*.md")]:
        named = {e for found in re.findall(r"sluice-ml\[([\w,]+)\]", path.read_text()) for e in found.split(",")}
        assert named <= known, (path, named - known)
