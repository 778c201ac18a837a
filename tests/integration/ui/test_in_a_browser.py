"""Every page in Debian's chromium, as a person meets it: signed in, light on a desk and dark on a phone; axe looks at each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sluice.report.page import run_page
from tests.tools import report_pictures, ui_home
from tests.tools.ui_pictures import browser, tour
from tests.tools.ui_server import served
from tests.unit.report.evidence import PROJECT

pytestmark = pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="no chromium on PATH")
#: One of each kind; `python -m tests.tools.ui_pictures` looks at every page in every look.
_ON_A_DESK = ("runs", "run", "model", "compare", "rollout", "monitors", "promote", "signin")
_ON_A_PHONE = ("runs", "model", "audit")


def test_no_page_has_a_serious_finding_or_is_wider_than_a_phone(tmp_path: Path) -> None:
    looks = [("desktop", "light"), ("phone", "dark")]
    assert tour(tmp_path, looks, lambda name, width, _: name in (_ON_A_DESK if width == "desktop" else _ON_A_PHONE), runs=12) == []
    assert len(list(tmp_path.glob("*.png"))) == len(_ON_A_DESK) + len(_ON_A_PHONE)


def test_a_report_with_a_long_path_fits_a_phone(tmp_path: Path) -> None:
    outcome = {
        "outcome": "failed",
        "run": "trial-1",
        "seconds": 1.0,
        "error": {"message": "no such file", "fix": "it was looked for at /" + "a_folder" * 20},
    }
    (tmp_path / "index.html").write_text(run_page(PROJECT, outcome, []))
    assert report_pictures.look(tmp_path / "index.html") == []


def test_a_rollout_moves_by_itself_and_an_action_is_confirmed_by_keyboard(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    home = ui_home.build(tmp_path / "home", 3, models=False)
    store = ui_home.rollout(home, "live", running=True, requests=10)
    with store.held(), served(home.root, "--actions") as ui, sync_playwright() as p:
        opened = browser(p)
        page = opened.new_page()
        page.set_default_timeout(120_000)
        refused: list[str] = []
        page.on("console", lambda m: refused.append(m.text) if m.type == "error" else None)
        page.goto(f"{ui.url}/signin?next=/rollouts/live#{ui.token}")
        assert "#" not in page.url
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.get_by_label("Token").press("Enter")
        page.wait_for_url("**/rollouts/live")
        ui_home.save(store, 444, "Step", 50, "<img src=x onerror=alert(1)>444 requests")
        page.get_by_text("444 requests").first.wait_for()
        assert page.locator("#rollout img").count() == 0
        page.get_by_role("link", name="Abort").focus()
        page.keyboard.press("Enter")
        page.get_by_label("Why").fill("slow answers")
        page.get_by_role("button", name="Abort").press("Enter")
        page.wait_for_url("**/rollouts/live")
        opened.close()
    assert [c for _, c in store.commands()] == ["abort"]
    assert store.reason() == "slow answers (in sluice ui)"
    assert refused == [], "the policy lets the page's own script and style through"
