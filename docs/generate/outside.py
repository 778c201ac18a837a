"""Files of the project that the documentation links to and that do not lie below docs: each becomes a page, so that no link leaves the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

#: ``](target)`` or ``](target#anchor)`` of a Markdown link or picture.
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#|/)([^)\s#]+)(#[^)\s]*)?(?=[)\s])")
_LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".json": "json", ".sh": "bash", ".toml": "toml"}


def where(target: str) -> str:
    """The page that stands for a file of the project: its path below docs."""
    return f"files/{target.removesuffix('/README.md').removesuffix('.md').strip('/')}.md"


def links_out(text: str, page: str) -> set[str]:
    """The files outside docs that a page links to, by their paths in the project.

    Args:
        text: Markdown. page: its path in the project, ``docs/data.md``.
    """
    targets = (_target(m[1], page) for m in _LINK.finditer(text))
    return {t for t in targets if not t.startswith(("docs/", ".."))}


def rewritten(text: str, page: str, src: str) -> str:
    """The text with links out of docs led to their pages.

    Args:
        page: where the text stands in the project; src: where the site has it, below docs.
    """

    def led(found: re.Match[str]) -> str:
        target = _target(found[1], page)
        if target.startswith(".."):
            return found[0]
        to = target.removeprefix("docs/") if target.startswith("docs/") else where(target)
        return posixpath.relpath(to, posixpath.dirname(src) or ".") + (found[2] or "")

    return _LINK.sub(led, text)


def as_page(root: Path, target: str) -> str:
    """A file's own Markdown, or its text in a block of code; of a folder the list of its files."""
    path = root / target
    if path.is_dir():
        readme = path / "README.md"
        if readme.exists():
            return readme.read_text()
        return f"# {target}\n\n" + "\n".join(f"- `{p.name}`" for p in sorted(path.iterdir()))
    if path.suffix == ".md":
        return path.read_text()
    return f"# {target}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text().rstrip()}\n````\n"


def _target(link: str, page: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
