"""A dot plot as SVG text: shares with their intervals, one line a case."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_COLOURS = ("#0b6e4f", "#c1440e", "#3b5b92", "#8a8a8a")
_LEFT, _WIDE, _ROW, _TOP = 380, 420, 34, 74


def dots(title: str, rows: Sequence[dict[str, Any]], methods: Sequence[str], line: float | None) -> str:
    """One line a ``case``, one dot a ``method``: ``rolled_back`` with ``low`` and ``high``, from 0 to 100 %.

    Args:
        line: a share to mark, for example the level that is promised.
    """
    names = list(dict.fromkeys(r["case"] for r in rows))
    height = _TOP + _ROW * len(names) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 40} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for i, m in enumerate(methods):
        x = 12 + i * 200
        out.append(f'<circle cx="{x + 5}" cy="44" r="5" fill="{_COLOURS[i]}"/><text x="{x + 15}" y="48">{escape(m)}</text>')
    bottom = _TOP + _ROW * len(names)
    for tick in range(0, 101, 20):
        x = _at(tick / 100)
        out.append(
            f'<path d="M{x} {_TOP - 8}V{bottom}" stroke="#e3e3e3"/><text x="{x}" y="{bottom + 18}" text-anchor="middle" fill="#555">{tick} %</text>'
        )
    if line is not None:
        out.append(f'<path d="M{_at(line)} {_TOP - 8}V{bottom}" stroke="#111" stroke-dasharray="4 3"/>')
    for j, name in enumerate(names):
        y = _TOP + _ROW * j + _ROW / 2
        out.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for i, m in enumerate(methods):
            for r in (r for r in rows if r["case"] == name and r["method"] == m):
                at = y + (i - (len(methods) - 1) / 2) * 6.5
                out.append(
                    f'<path d="M{_at(r["low"])} {at}H{_at(r["high"])}" stroke="{_COLOURS[i]}" stroke-width="1.5" opacity=".6"/>'
                    f'<circle cx="{_at(r["rolled_back"])}" cy="{at}" r="3.6" fill="{_COLOURS[i]}"/>'
                )
    return "\n".join((*out, "</svg>\n"))


def _at(share: float) -> float:
    return round(_LEFT + share * _WIDE, 1)
