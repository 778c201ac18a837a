"""A report in a browser: what axe finds, whether it is wider than the window, and pictures at desktop and phone width.

python -m tests.tools.report_pictures REPORT OUT     REPORT: a run's index.html; the desktop's is what docs/images/report.png shows
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tools.ui_pictures import WIDTHS, browser, faults, picture

LOOKS = (("desktop", "light"), ("phone", "dark"))


def look(report: Path, out: Path | None = None) -> list[str]:
    """What is wrong with a report's page.

    Args:
        report: its file. out: where pictures go; None: nowhere.
    """
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as p:
        opened = browser(p)
        for width, scheme in LOOKS:
            size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
            context = opened.new_context(viewport={**size, "height": 1100} if width == "desktop" else size, color_scheme=scheme)
            page = context.new_page()
            page.on("pageerror", lambda e: wrong.append(f"script: {e}"))
            page.on("request", lambda r: wrong.append(f"asked {r.url}") if not r.url.startswith(("file:", "data:")) else None)
            page.goto(report.resolve().as_uri())
            page.wait_for_load_state("load")
            wrong += [f"{width} {scheme}: {said}" for said in faults(page)]
            if out is not None:
                picture(page, out / f"report-{width}-{scheme}.png")
            context.close()
        opened.close()
    return wrong


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    found = look(Path(sys.argv[1]), target)
    print("\n".join(found) or "nothing is wrong")
    sys.exit(int(bool(found)))
