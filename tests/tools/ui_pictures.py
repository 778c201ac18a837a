"""Every page of `sluice ui` in a browser: its picture at desktop and phone width, light and dark, and what axe finds.

python -m tests.tools.ui_pictures OUT [--docs]      --docs: the few that the documentation shows, small
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.tools import ui_home
from tests.tools.ui_server import served

#: Milliseconds for a page on a machine that is busy.
_PATIENCE = 120_000
WIDTHS = {"desktop": (1200, 800), "phone": (390, 844)}


def addresses(run: str) -> dict[str, str]:
    """Every page, by a name for its picture."""
    return {
        "runs": "/",
        "run": f"/runs/{run}",
        "report": f"/runs/{run}/report",
        "models": "/models",
        "model": "/models/intents",
        "compare": "/compare?a=intents@3&b=intents@4",
        "rollouts": "/rollouts",
        "rollout": "/rollouts/intents",
        "monitors": "/monitors",
        "audit": "/audit",
        "promote": "/models/intents/promote?to=production",
        "rollback": "/models/intents/rollback?environment=dev",
        "choose": "/models/intents/promote?version=4",
        "abort": "/rollouts/intents/abort",
        "signin": "/signin",
        "missing": "/nowhere",
    }


def browser(playwright: Any) -> Any:
    """Debian's chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])


def serious(page: Any) -> list[str]:
    """What axe finds of a page that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


def faults(page: Any) -> list[str]:
    """What is wrong with a page for who reads it by keyboard, by ear or on a phone."""
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return serious(page) + ["wider than the window"] * bool(wide)


def tour(out: Path | None, looks: Sequence[tuple[str, str]], only: Callable[[str, str, str], bool], runs: int = 60) -> list[str]:
    """Look at every page as somebody who may act; returns what is wrong with them.

    Args:
        out: where pictures go; None: nowhere. looks: widths and colour schemes. only: (page, width, scheme) -> whether to look at it.
    """
    from playwright.sync_api import sync_playwright

    wrong = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        home = ui_home.build(Path(folder) / "home", runs)
        store = ui_home.rollout(home, "intents", running=True, requests=140)
        pages = addresses(ui_home.run(home, 2, "churn", "refused"))
        opened = browser(p)
        with store.held(), served(home.root, "--actions") as ui:
            for width, scheme in looks:
                size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
                context = opened.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
                context.set_default_timeout(_PATIENCE)
                page = context.new_page()
                page.on("pageerror", lambda e: wrong.append(f"script: {e}"))
                page.goto(f"{ui.url}/signin#{ui.token}")
                page.get_by_role("button", name="Sign in").click()
                page.wait_for_url(f"{ui.url}/")
                for name, address in pages.items():
                    if not only(name, width, scheme):
                        continue
                    page.goto(ui.url + address)
                    page.wait_for_load_state("load")
                    wrong += [f"{name} {width} {scheme}: {said}" for said in faults(page)]
                    if out is not None:
                        picture(page, out / f"ui-{name}-{width}-{scheme}.png")
                context.close()
        opened.close()
    return wrong


def picture(page: Any, path: Path) -> None:
    """What the window shows, in few colours."""
    from PIL import Image

    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    taken.quantize(48, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


def main(out: Path, docs: bool) -> int:
    """Take them; 1 where something is wrong."""
    every = [(w, s) for w in WIDTHS for s in ("light", "dark")]
    wrong = tour(out, every, lambda *what: not docs or what in _DOCS)
    print("\n".join(wrong))
    return int(bool(wrong))


_DOCS = {
    ("monitors", "desktop", "light"),
    ("runs", "desktop", "light"),
    ("model", "desktop", "light"),
    ("rollout", "desktop", "dark"),
    ("rollout", "phone", "light"),
}

if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    sys.exit(main(target, "--docs" in sys.argv))
