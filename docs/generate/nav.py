"""The navigation: what mkdocs.yml names, with folders spelled out, and no page left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Where a page stands that nobody named.
REST = "Guide"


def spelled_out(nav: list[Any], pages: Iterable[str]) -> list[Any]:
    """The navigation with every ``folder/*`` replaced by the pages of that folder which are named nowhere else, and the rest below `REST`.

    Args:
        nav: as mkdocs.yml has it. pages: every page, by its path below docs.
    """
    free = sorted(set(pages) - set(_named(nav)), key=lambda p: (not p.endswith("index.md"), p))

    def walk(items: list[Any]) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if isinstance(item, dict):
                found += [{title: walk(inner) if isinstance(inner, list) else inner} for title, inner in item.items()]
            elif item.endswith("/*"):
                here = [p for p in free if p.startswith(item[:-1])]
                free[:] = [p for p in free if p not in here]
                found += here
            else:
                found.append(item)
        return [i for i in found if not isinstance(i, dict) or list(i.values()) != [[]]]

    made = walk(nav)
    for item in made:
        if isinstance(item, dict) and REST in item:
            item[REST] += free
    return made


def _named(nav: list[Any]) -> Iterable[str]:
    for item in nav:
        if isinstance(item, str):
            yield item
        else:
            for inner in item.values():
                yield from _named(inner if isinstance(inner, list) else [inner])
