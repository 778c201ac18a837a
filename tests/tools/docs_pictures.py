"""Pages of the documentation site in a browser, from its files: what axe finds, whether a page is wider than the window, what is asked of the
network, and what search finds.

python -m tests.tools.docs_pictures OUT [SITE]     pictures of the main pages at desktop and phone width, light and dark
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.tools.ui_pictures import WIDTHS, browser, faults

PAGES = (
    "index",
    "quickstart/laptop",
    "gates",
    "gates/champion",
    "concepts/line",
    "reference/cli",
    "reference/python/notebook",
    "troubleshooting",
)
LOOKS = (("desktop", "light"), ("phone", "dark"))


def look(site: Path, pages: Iterable[str] = PAGES, looks: Sequence[tuple[str, str]] = LOOKS, out: Path | None = None) -> list[str]:
    """What is wrong with pages of a built site.

    Args:
        site: its folder. pages: paths without ``.html``. looks: widths and colour schemes. out: where pictures go; None: nowhere.
    """
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as p:
        opened = browser(p)
        for width, scheme in looks:
            context = opened.new_context(viewport=dict(zip(("width", "height"), WIDTHS[width], strict=True)), color_scheme=scheme)
            page = context.new_page()
            page.on("pageerror", lambda e: wrong.append(f"script: {e}"))
            page.on(
                "request", lambda r: wrong.append(f"asked {r.url}") if not r.url.startswith(("file:", "data:", "about:", "blob:")) else None
            )
            for name in pages:
                page.goto((site / f"{name}.html").as_uri())
                page.wait_for_load_state("load")
                wrong += [f"{name} {width} {scheme}: {said}" for said in faults(page) + broken(page)]
                if out is not None:
                    out.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=out / f"docs-{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
            context.close()
        opened.close()
    return wrong


def broken(page: Any) -> list[str]:
    """Names at the beginning of a table's row that are broken over lines."""
    found = page.evaluate(
        "[...document.querySelectorAll('td:first-child code')].filter(c => c.getClientRects().length > 1).map(c => c.textContent)"
    )
    return [f"broken over lines: {name}" for name in found[:5]]


def searched(site: Path, words: str) -> list[str]:
    """The titles that search finds, of a site opened from its files."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        opened = browser(p)
        page = opened.new_page()
        page.goto((site / "index.html").as_uri())
        page.locator("input.md-search__input").click()
        page.locator("input.md-search__input").press_sequentially(words)
        page.wait_for_selector(".md-search-result__item h1", timeout=30_000)
        found = page.locator(".md-search-result__item h1").all_inner_texts()
        opened.close()
    return [str(f) for f in found]


if __name__ == "__main__":
    out_, site_ = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "build/site")
    every = [(w, s) for w in WIDTHS for s in ("light", "dark")]
    print("\n".join(look(site_.resolve(), looks=every, out=out_)) or "nothing is wrong")
    print(searched(site_.resolve(), "champion"))
