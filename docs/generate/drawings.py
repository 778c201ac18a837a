"""Drawings of the concepts: boxes, arrows and words. ``python -m docs.generate.drawings`` writes docs/images/concept-*.svg."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "images"
_WIDE, _HIGH, _GAP, _ROW = 128, 46, 34, 92
_STYLE = {
    "step": ("#e0f2f1", "#00695c"),
    "gate": ("#fff8e1", "#b26a00"),
    "bad": ("#ffebee", "#b71c1c"),
    "good": ("#e8f5e9", "#1b5e20"),
    "thing": ("#f5f5f5", "#424242"),
}


@dataclasses.dataclass(frozen=True)
class Box:
    """A box at a column and a row; `kind` is its colour; a second line stands behind ``|``."""

    name: str
    column: float
    row: float
    text: str
    kind: str = "step"

    @property
    def centre(self) -> tuple[float, float]:
        return 20 + self.column * (_WIDE + _GAP) + _WIDE / 2, 20 + self.row * _ROW + _HIGH / 2


@dataclasses.dataclass(frozen=True)
class Drawing:
    """`arrows`: from, to and the words on it."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[str, str, str], ...]

    def svg(self) -> str:
        at = {b.name: b for b in self.boxes}
        wide = max(b.centre[0] for b in self.boxes) + _WIDE / 2 + 20
        high = max(b.centre[1] for b in self.boxes) + _HIGH / 2 + 20
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" role="img" aria-label="{escape(self.title, quote=True)}" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f"<title>{escape(self.title)}</title>",
            '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
            f'<rect width="{wide:.0f}" height="{high:.0f}" fill="#fff"/>',
            *(_arrow(at[a], at[b], words) for a, b, words in self.arrows),
            *(_box(b) for b in self.boxes),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


def _box(b: Box) -> str:
    x, y = b.centre
    fill, stroke = _STYLE[b.kind]
    lines, bold = b.text.split("|"), ' font-weight="600"'
    words = "".join(
        f'<text x="{x:.0f}" y="{y + 4 + 15 * (i - (len(lines) - 1) / 2):.0f}" text-anchor="middle" fill="#212121"'
        f"{'' if i else bold}>{escape(line)}</text>"
        for i, line in enumerate(lines)
    )
    return f'<rect x="{x - _WIDE / 2:.0f}" y="{y - _HIGH / 2:.0f}" width="{_WIDE}" height="{_HIGH}" rx="6" fill="{fill}" stroke="{stroke}"/>{words}'


def _arrow(a: Box, b: Box, words: str) -> str:
    (x, y), (u, v) = a.centre, b.centre
    if abs(v - y) < _HIGH + 10:
        x, u = (x + _WIDE / 2, u - _WIDE / 2) if u > x else (x - _WIDE / 2, u + _WIDE / 2)
    else:
        y, v = (y + _HIGH / 2, v - _HIGH / 2) if v > y else (y - _HIGH / 2, v + _HIGH / 2)
    said = ""
    if words:
        said = f'<text x="{(x + u) / 2 + (5 if abs(v - y) > 1 else 0):.0f}" y="{(y + v) / 2 + (4 if abs(v - y) > 1 else -6):.0f}" fill="#424242" text-anchor="{"start" if abs(v - y) > 1 else "middle"}">{escape(words)}</text>'
    return f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{u:.0f}" y2="{v:.0f}" stroke="#555" stroke-width="1.4" marker-end="url(#a)"/>{said}'


def _line(names: dict[str, str], row: float = 0, start: float = 0, kind: str = "step") -> tuple[Box, ...]:
    return tuple(Box(name, start + i, row, text, kind) for i, (name, text) in enumerate(names.items()))


def _chain(*names: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((a, b, "") for a, b in zip(names, names[1:], strict=False))


_STEPS = {
    "v": "validate|rows",
    "p": "preprocess|dataset",
    "t": "train|weights",
    "x": "export|package",
    "e": "evaluate|verdict",
    "r": "register|version",
    "o": "rollout|traffic",
}
DRAWINGS = {
    "line": Drawing(
        "One line from rows to a model in traffic: seven steps, four of which may refuse",
        (*_line(_STEPS), Box("s", 2, 1, "refused|exit 3", "bad"), Box("c", 6, 1, "champion|exit 0", "good"), Box("b", 4.6, 1, "rolled back|exit 4", "bad")),
        (*_chain(*_STEPS), ("v", "s", ""), ("x", "s", ""), ("e", "s", ""), ("o", "c", "no worse"), ("o", "b", "worse")),
    ),
    "project": Drawing(
        "One project file; the same steps run on a laptop and on Kubeflow",
        (
            Box("f", 0, 0.5, "sluice.yaml|your file", "thing"),
            Box("l", 1.6, 0, "sluice run|laptop"),
            Box("k", 1.6, 1, "sluice submit|Kubeflow"),
            Box("s", 3.2, 0.5, "the same steps|one code"),
            Box("p", 4.8, 0.5, "package|one digest", "good"),
        ),
        (("f", "l", ""), ("f", "k", ""), ("l", "s", ""), ("k", "s", ""), ("s", "p", "")),
    ),
    "gate": Drawing(
        "A gate: facts in; pass, refuse or inconclusive out, with reasons and evidence",
        (
            Box("f", 0, 1, "facts|rows, answers", "thing"),
            Box("c", 1.4, 0, "check|bar", "gate"),
            Box("d", 1.4, 1, "check|champion", "gate"),
            Box("e", 1.4, 2, "check|slices", "gate"),
            Box("w", 2.8, 1, "the worst|of them", "gate"),
            Box("p", 4.4, 0, "pass|go on", "good"),
            Box("i", 4.4, 1, "inconclusive|traffic will tell", "thing"),
            Box("r", 4.4, 2, "refuse|champion stays", "bad"),
        ),
        (("f", "c", ""), ("f", "d", ""), ("f", "e", ""), ("c", "w", ""), ("d", "w", ""), ("e", "w", ""), ("w", "p", ""), ("w", "i", ""), ("w", "r", "")),
    ),
    "package": Drawing(
        "A package holds all that serving needs; its digest is the model's version",
        (
            Box("m", 0, 0, "model.onnx|graph", "thing"),
            Box("q", 0, 1, "fitted state|categories, words", "thing"),
            Box("j", 0, 2, "profile|training rows", "thing"),
            Box("d", 1.6, 1, "model.json|sha256 of each"),
            Box("g", 3.1, 1, "digest|the version", "good"),
            Box("s", 4.7, 0, "store|by digest"),
            Box("r", 4.7, 1, "registry|champion -> digest"),
            Box("t", 4.7, 2, "server|verifies it"),
        ),
        (("m", "d", ""), ("q", "d", ""), ("j", "d", ""), ("d", "g", ""), ("g", "s", ""), ("g", "r", ""), ("g", "t", "")),
    ),
    "units": Drawing(
        "Rows of one patient depend on each other: the interval is of patients, not of rows",
        (
            *(Box(f"a{i}", i * 0.5, 0, "row", "thing") for i in (0, 2, 4)),
            Box("u", 0.5, 1, "patient 1|unit"),
            Box("w", 2, 1, "patient 2|unit"),
            Box("i", 1.25, 2, "interval|of 2 units", "good"),
        ),
        (("a0", "u", ""), ("a2", "u", ""), ("a4", "w", ""), ("u", "i", ""), ("w", "i", "")),
    ),
    "champion": Drawing(
        "Candidate, champion, previous and anchor are names in the registry; a name moves, a version never changes",
        (
            Box("n", 0, 0, "candidate|version 7"),
            Box("c", 1.8, 0, "champion|version 6", "good"),
            Box("p", 3.6, 0, "previous|version 5", "thing"),
            Box("a", 0, 1, "anchor|the best so far", "gate"),
        ),
        (("n", "c", "promoted"), ("c", "p", "replaced"), ("n", "a", "compared")),
    ),
    "rollout": Drawing(
        "A rollout: more traffic while no worse, back as soon as it is worse",
        (
            *_line({"w": "warm-up|ready, checked", "a": "10 %|of requests", "b": "50 %|of requests", "c": "100 %|verified"}),
            Box("s", 4, 0, "succeeded|champion", "good"),
            Box("r", 2, 1, "rolled back|stable serves on", "bad"),
        ),
        (*_chain("w", "a", "b", "c", "s"), ("w", "r", ""), ("a", "r", ""), ("b", "r", "worse"), ("c", "r", "")),
    ),
    "cluster": Drawing(
        "On a cluster: steps are pods of Kubeflow Pipelines, the controller steers KServe and the gateway",
        (
            Box("y", 0, 0.5, "you|UI, kubectl, git", "thing"),
            Box("k", 1.4, 0, "Kubeflow|Pipelines"),
            Box("o", 1.4, 1, "controller|ModelRollout", "gate"),
            Box("m", 2.8, 0, "MLflow, store|versions"),
            Box("s", 2.8, 1, "KServe|two arms"),
            Box("g", 4.2, 1, "gateway|weights"),
            Box("u", 5.6, 1, "users|requests", "thing"),
            Box("p", 4.2, 0, "Prometheus|what happens"),
        ),
        (("y", "k", ""), ("y", "o", ""), ("k", "m", ""), ("k", "o", ""), ("o", "s", ""), ("u", "g", ""), ("g", "s", ""), ("g", "p", ""), ("m", "s", "")),
    ),
    "environments": Drawing(
        "From staging to production: checked, recorded, and taken back in seconds",
        (
            Box("s", 0, 0, "staging|champion", "good"),
            Box("q", 1.5, 0, "promotion|checks", "gate"),
            Box("p", 3, 0, "production|champion", "good"),
            Box("a", 1.5, 1, "audit log|a chain", "thing"),
            Box("b", 3, 1, "previous|one word away", "thing"),
        ),
        (("s", "q", ""), ("q", "p", ""), ("q", "a", ""), ("b", "p", "rollback")),
    ),
}  # fmt: skip


def main() -> None:
    for name, drawing in DRAWINGS.items():
        (IMAGES / f"concept-{name}.svg").write_text(drawing.svg())


if __name__ == "__main__":
    main()
