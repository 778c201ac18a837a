"""What an evaluation of transcripts says beside its metrics, and how the report draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sluice.problems.edits import Kind, alignment

#: Transcripts and confusions listed, and edits of one transcript that are kept.
_WORST, _CONFUSED, _SHOWN = 12, 12, 60
_NAMES: tuple[tuple[Kind, str], ...] = (("substitution", "substituted"), ("deletion", "left out"), ("insertion", "put in"))


def details(truth: Sequence[str], said: Sequence[str]) -> dict[str, Any]:
    """Plain JSON: ``words``, ``right`` (transcripts without an error), ``edits`` {kind: words}, ``unknown`` (words that hold a symbol the training rows
    do not have), ``worst`` [{row, words, errors, edits: [[kind, true, said]]}] and ``confused`` [{true, said, times}], the commonest first."""
    kinds: Counter[str] = Counter()
    confused: Counter[tuple[str, str]] = Counter()
    rows: list[dict[str, Any]] = []
    for number, (t, s) in enumerate(zip(truth, said, strict=True), 1):
        found = alignment(t.split(), s.split())
        edits = [e for e in found if e[0] != "same"]
        kinds.update(kind for kind, _, _ in edits)
        confused.update((true or "", heard or "") for _, true, heard in edits)
        rows.append({"row": number, "words": len(t.split()), "errors": len(edits), "edits": [list(e) for e in found[:_SHOWN]]})
    worst = sorted((r for r in rows if r["errors"]), key=lambda r: (-r["errors"] / max(r["words"], 1), -r["errors"], r["row"]))
    common = sorted(confused.items(), key=lambda kv: (-kv[1], kv[0]))[:_CONFUSED]
    return {
        "words": sum(len(t.split()) for t in truth),
        "right": sum(not r["errors"] for r in rows),
        "rows": len(rows),
        "edits": {kind: kinds[kind] for kind, _ in _NAMES},
        "unknown": sum("\ufffd" in word for t in truth for word in t.split()),
        "worst": worst[:_WORST],
        "confused": [{"true": t, "said": s, "times": n} for (t, s), n in common],
    }


def section(found: Mapping[str, Any]) -> str:
    """The same as HTML."""
    from sluice.report.tables import Html, table

    edits = ", ".join(f"{found['edits'][kind]:,} {name}" for kind, name in _NAMES)
    out = f"<p>{found['right']:,} of {found['rows']:,} transcripts without an error; of {found['words']:,} words {edits}.</p>"
    if found["unknown"]:
        out += f"<p>{found['unknown']:,} words hold what the training rows never did: they count as errors.</p>"
    if not found["worst"]:
        return out
    rows = [(r["row"], r["words"], r["errors"], Html(" ".join(map(_marked, r["edits"])))) for r in found["worst"]]
    note = '<p class="note"><del>left out</del> <ins>put in</ins>; both beside each other: taken for</p>'
    out += f"<h3>The worst transcripts</h3>{note}{table(('row', 'words', 'errors', 'what was said, with its edits'), rows, (0, 1, 2))}"
    pairs = [(c["true"] or "(nothing)", c["said"] or "(nothing)", c["times"]) for c in found["confused"]]
    return out + f"<h3>What is taken for what</h3>{table(('true', 'heard', 'times'), pairs, (2,))}"


def _marked(edit: Sequence[Any]) -> str:
    kind, true, said = edit
    if kind == "same":
        return escape(true)
    return (f"<del>{escape(true)}</del>" if true else "") + (f"<ins>{escape(said)}</ins>" if said else "")
