"""What mkdocs calls while it builds: generated pages go in, links out of docs are led to pages, the navigation is spelled out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from docs.generate import nav, outside  # noqa: E402
from docs.generate.pages import pages  # noqa: E402

#: page of the site -> the file of the project it stands for
_FROM: dict[str, str] = {}


def on_files(files: Files, config: Any) -> Files:
    for src, text in pages().items():
        files.append(File.generated(config, src, content=text))
    waiting = {f"docs/{f.src_uri}": f.content_string for f in files.documentation_pages()}
    while waiting:
        page, text = waiting.popitem()
        for target in outside.links_out(text, page):
            src = outside.where(target)
            if src in _FROM or not (ROOT / target).exists():
                continue
            content = outside.as_page(ROOT, target)
            _FROM[src] = f"{target}/README.md" if (ROOT / target / "README.md").exists() else target
            files.append(File.generated(config, src, content=content))
            waiting[_FROM[src]] = content if "````" not in content else ""
    config.nav = nav.spelled_out(config.nav, (f.src_uri for f in files.documentation_pages()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    src = page.file.src_uri
    return outside.rewritten(markdown, _FROM.get(src, f"docs/{src}"), src)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The theme's search is a dialog without a name, which a screen reader would say."""
    return output.replace('data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"')
