"""Every page that is read off the code, by its path below docs."""

from __future__ import annotations

import functools

from docs.generate import cli


@functools.cache
def pages() -> dict[str, str]:
    """Path -> Markdown. Raises nothing: what it reads is the project's own."""
    return {"reference/cli.md": cli.page()}
