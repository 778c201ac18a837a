"""Every relative link in the documentation leads somewhere, and every make target it names exists."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from docs.generate.pages import pages

REPO = Path(__file__).resolve().parents[3]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md")), *sorted((REPO / "examples").glob("*/README.md"))]


@pytest.mark.parametrize("document", PAGES, ids=lambda p: p.relative_to(REPO).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    gone = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    made = {str(REPO / "docs" / page) for page in pages()}  # the site has these, a checkout has not
    assert not [link for link in gone if os.path.normpath(document.parent / link) not in made]


def test_make_targets_named_in_the_documentation_exist() -> None:
    known = set(re.findall(r"(?m)^([a-z][a-z0-9-]*):", "\n".join(p.read_text() for p in [REPO / "Makefile", *REPO.glob("make/*.mk")])))
    named = {t for page in PAGES for t in re.findall(r"(?:^|`|    )make ([a-z][a-z0-9-]*)", page.read_text(), re.MULTILINE)}
    assert named <= known, named - known


def test_make_alone_lists_its_targets() -> None:
    shown = subprocess.run(["make", "-C", str(REPO)], capture_output=True, text=True, timeout=60, check=True).stdout
    for target in ("setup", "run", "test", "lint", "bench", "e2e", "kind-up", "kind-down"):
        assert f"{target} " in re.sub(r"\x1b\[[0-9;]*m", "", shown), target
