"""The documentation site builds strictly, loads nothing from elsewhere, and has every page within two clicks of its start."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.generate import nav, outside

mkdocs_config = pytest.importorskip("mkdocs.config", reason="needs the dependency group docs")
REPO = Path(__file__).resolve().parents[3]
ADDRESS = re.compile(r'<(a|link|script|img|iframe)\b[^>]*?\b(?:href|src)="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site, built as `make docs` does: a dead link, a page outside the navigation or a wrong anchor ends it."""
    from mkdocs.commands.build import build

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_MKDOCS_2_WARNING", "1")
        out = tmp_path_factory.mktemp("site")
        config = mkdocs_config.load_config(str(REPO / "mkdocs.yml"), site_dir=str(out))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        yield out


def pages(site: Path) -> dict[str, str]:
    return {p.relative_to(site).as_posix(): p.read_text() for p in site.rglob("*.html") if p.name != "404.html"}


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for page, text in pages(site).items():
        loaded = [to for tag, to in ADDRESS.findall(text) if tag != "a" and to.startswith(("http:", "https:", "//"))]
        assert not loaded, (page, loaded)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )['\"]?(https?:)?//", sheet.read_text()), sheet


def test_what_follows_a_block_of_code_is_a_paragraph_or_a_table_and_no_table_is_shown_as_its_source(site: Path) -> None:
    for page, text in pages(site).items():
        bare = re.search(r"</code></pre></div>\s*[^<\s].{0,80}|<p>\|.{0,80}", text)
        assert bare is None, (page, bare[0])


def test_every_link_and_picture_leads_to_a_file_of_the_site_and_every_page_is_two_clicks_away(site: Path) -> None:
    every = pages(site)
    leads = {
        page: {target(page, to) for tag, to in ADDRESS.findall(text) if not re.match(r"[a-z]+:|#|//", to)} for page, text in every.items()
    }
    gone = {(page, to) for page, there in leads.items() for to in there if not (site / to).exists()}
    assert not gone
    reached = {"index.html"}
    for _ in range(2):
        reached |= {to for page in list(reached) if page in leads for to in leads[page]}
    assert set(every) <= reached, set(every) - reached


def target(page: str, to: str) -> str:
    found = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(to.split("#")[0].split("?")[0])))
    return "index.html" if found == "." else found


def test_search_finds_words_of_the_pages_without_a_server(site: Path) -> None:
    index = (site / "search/search_index.js").read_text()
    assert "Kubeflow" in index and "sluice run" in index
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text()


def test_a_folder_is_spelled_out_and_what_nobody_named_goes_below_the_guide() -> None:
    made = nav.spelled_out(
        [{"Start": ["index.md"]}, {"Guide": ["b.md"]}, {"T": ["t.md", "t/*"]}, {"None": ["n/*"]}],
        ["index.md", "b.md", "new.md", "t.md", "t/2.md", "t/1.md"],
    )
    assert made == [{"Start": ["index.md"]}, {"Guide": ["b.md", "new.md"]}, {"T": ["t.md", "t/1.md", "t/2.md"]}]


def test_a_link_out_of_the_docs_leads_to_a_page_that_stands_for_the_file() -> None:
    text = "[x](../../examples/audio/README.md#a) [y](other.md) [z](https://a.b/c) [v](../../Makefile)"
    assert outside.links_out(text, "docs/tasks/audio.md") == {"examples/audio/README.md", "Makefile"}
    assert outside.rewritten(text, "docs/tasks/audio.md", "tasks/audio.md") == (
        "[x](../files/examples/audio.md#a) [y](other.md) [z](https://a.b/c) [v](../files/Makefile.md)"
    )


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_in_a_browser_pages_have_no_serious_fault_of_access_fit_a_phone_and_search_works_from_files(site: Path) -> None:
    from tests.tools import docs_pictures

    assert not docs_pictures.look(site, ("index", "monitoring", "reference/python/notebook"), [("phone", "dark")])
    assert any("Champion" in found for found in docs_pictures.searched(site, "champion"))
