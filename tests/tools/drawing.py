"""The rooms of the house and who imports whom, drawn from the code's own imports: ``python -m tests.tools.drawing OUT.svg [ROOT]``.

A box is a package (of `sluice`, and what stands on it), as wide as it has modules; a row is a layer, and every line goes down from who imports
to what is imported. What is drawn in red goes up: packages of which each imports the other. Imports for types alone and those inside functions
do not count, as they order nothing.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.tools import figures

_WIDE, _HIGH, _GAP, _ROW, _EDGE = 1120, 34, 14, 78, 24
_STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1a2b3c;text-anchor:middle}.n{font-size:9px;fill:#6b7a8a}"
    "rect{fill:#eef3f8;stroke:#7a8fa6}path{fill:none;stroke:#9fb1c3;stroke-width:.8}.up{stroke:#d0342c;stroke-width:1.4}"
    "@media(prefers-color-scheme:dark){text{fill:#dde6ee}rect{fill:#22303d;stroke:#5f7487}path{stroke:#4a5d6f}.n{fill:#8fa1b2}}</style>"
)


def room(module: str) -> str:
    """The package that a module is drawn in."""
    parts = module.split(".")
    if parts[0] == "sluice":
        return parts[1] if len(parts) > 1 else "sluice"
    return ".".join(parts[:2]) if parts[0] == "serving" and len(parts) > 1 else parts[0]


def rooms(root: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """How many modules each package has, and which packages each imports."""
    trees = {figures.module_name(p): ast.parse(t) for p, t in figures.sources(root, figures.CODE).items()}
    sizes: dict[str, int] = defaultdict(int)
    edges: dict[str, set[str]] = defaultdict(set)
    for module, tree in trees.items():
        if module in ("sluice", "serving", "sluice.__main__"):
            continue
        sizes[room(module)] += 1
        edges[room(module)] |= {room(to) for to in figures.imports(tree, module, trees) if to not in ("sluice", "serving")} - {room(module)}
    return dict(sizes), {r: {t for t in edges[r] if t in sizes} for r in sizes}


def layers(edges: Mapping[str, set[str]]) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """The layer of each package, 0 at the bottom; and the imports that go up.

    Packages that import each other are put in order by how many of them each imports and how many import it; what then goes up is what would have to go.
    """
    down = {r: set(to) for r, to in edges.items()}
    up: set[tuple[str, str]] = set()
    while found := figures.circles(down):
        group = found[0]
        wanted = {r: sum(r in down[other] for other in group) for r in group}
        least = min(group, key=lambda r: (len(down[r] & set(group)), -wanted[r], r))
        for to in down[least] & set(group):
            up.add((least, to))
        down[least] -= set(group)
    at: dict[str, int] = {}

    def depth(r: str) -> int:
        if r not in at:
            at[r] = 1 + max((depth(to) for to in down[r]), default=-1)
        return at[r]

    for r in down:
        depth(r)
    return at, up


def without_detours(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Without the imports of what is also reached over another package: the picture would be all lines."""

    def reached(r: str, seen: set[str]) -> set[str]:
        for to in edges[r] - seen:
            seen.add(to)
            reached(to, seen)
        return seen

    return {r: {to for to in tos if not any(to in reached(other, set()) for other in tos - {to})} for r, tos in edges.items()}


def svg(sizes: Mapping[str, int], edges: Mapping[str, set[str]]) -> str:
    """The picture."""
    at, up = layers(edges)
    rows = [sorted((r for r in at if at[r] == level), key=lambda r: (-sizes[r], r)) for level in range(max(at.values()) + 1)][::-1]
    width = {r: 46 + 7 * len(r) + 1.2 * sizes[r] for r in sizes}
    wide = max(_WIDE, *(round(sum(width[r] for r in row)) + _GAP * (len(row) + 1) for row in rows))
    middle: dict[str, tuple[float, float]] = {}
    boxes, lines = [], []
    for i, row in enumerate(rows):
        x = (wide - sum(width[r] for r in row) - _GAP * (len(row) - 1)) / 2
        y = _EDGE + i * _ROW
        for r in row:
            middle[r] = (x + width[r] / 2, y)
            boxes.append(
                f'<rect x="{x:.0f}" y="{y}" width="{width[r]:.0f}" height="{_HIGH}" rx="5"/>'
                f'<text x="{middle[r][0]:.0f}" y="{y + 16}">{r}</text><text class="n" x="{middle[r][0]:.0f}" y="{y + 28}">{sizes[r]} modules</text>'
            )
            x += width[r] + _GAP
    drawn = without_detours({r: {t for t in tos if (r, t) not in up} for r, tos in edges.items()})
    for r, tos in sorted(drawn.items()):
        lines += [_line(middle[r], middle[t], "") for t in sorted(tos)]
    lines += [_line(middle[r], middle[t], ' class="up"') for r, t in sorted(up)]
    high = 2 * _EDGE + len(rows) * _ROW - (_ROW - _HIGH)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">{_STYLE}{"".join(lines)}{"".join(boxes)}</svg>\n'


def _line(a: tuple[float, float], b: tuple[float, float], css: str) -> str:
    down = b[1] > a[1]
    y1, y2 = (a[1] + _HIGH, b[1]) if down else (a[1], b[1] + _HIGH)
    bend = (y1 + y2) / 2
    return f'<path{css} d="M{a[0]:.0f} {y1:.0f}C{a[0]:.0f} {bend:.0f} {b[0]:.0f} {bend:.0f} {b[0]:.0f} {y2:.0f}"/>'


def main() -> None:
    out, root = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else figures.ROOT
    sizes, edges = rooms(root)
    out.write_text(svg(sizes, edges), encoding="utf-8")
    _, up = layers(edges)
    print(
        f"{len(sizes)} packages, {sum(map(len, edges.values()))} imports among them, {len(up)} go up: {', '.join(f'{a} -> {b}' for a, b in sorted(up)) or 'none'}"
    )


if __name__ == "__main__":
    main()
