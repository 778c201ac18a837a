"""Spans of words by their tags: BIO and its kin, and tags that stand for themselves."""

from __future__ import annotations

from collections.abc import Sequence

#: A word that is in no span.
OUTSIDE = "O"


def kind_of(tag: str) -> tuple[str, str]:
    """How a tag joins the one before it (``B``, ``I``, ``E``, ``S``, or ``S`` of a plain tag), and what it is of."""
    head, dash, rest = tag.partition("-")
    return (head, rest) if dash and head in {"B", "I", "E", "S"} and rest else ("S", tag)


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The spans (first word, behind the last, what) that tags say; an ``I`` without its ``B`` begins one (as conlleval does)."""
    out: list[tuple[int, int, str]] = []
    begun, what = 0, ""
    for i, tag in enumerate(tags):
        joins, of = kind_of(tag)
        going_on = what and tag != OUTSIDE and joins in {"I", "E"} and of == what
        if what and not going_on:
            out.append((begun, i, what))
            what = ""
        if tag == OUTSIDE:
            continue
        if not going_on:
            begun, what = i, of
        if joins in {"E", "S"}:
            out.append((begun, i + 1, what))
            what = ""
    if what:
        out.append((begun, len(tags), what))
    return out


def split_tag(tag: str, pieces: int) -> list[str]:
    """A word's tag for the pieces that it is cut into: what begins in the first goes on in the others."""
    joins, of = kind_of(tag)
    if pieces < 2 or tag in (OUTSIDE, of):
        return [tag] * pieces
    inside = f"I-{of}"
    return [f"B-{of}" if joins in {"B", "S"} else inside, *[inside] * (pieces - 2), f"E-{of}" if joins in {"E", "S"} else inside]
