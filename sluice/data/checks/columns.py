"""Checks of one column at a time: types, what is missing, what cannot be used."""

from __future__ import annotations

import difflib
import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.data.blocks import Where
from sluice.data.checks.look import Looks
from sluice.data.checks.recordings import recordings
from sluice.data.checks.subject import Side, Subject
from sluice.data.report import counted, listed, percent
from sluice.fields.text import LIMIT_CHARACTERS

#: Beyond this a float64 is no float32, which is what models compute with.
_LARGEST = float(np.finfo(np.float32).max)
#: A text is long beside the others when it has more characters than this, and than this many times the 95th percentile.
_LONG, _LONG_TIMES = 2000, 20
#: Bytes read in a wrong encoding, and zero bytes, which no text has.
_BROKEN = "[\ufffd\\x00]|Ã[\u0080-\u00bf]|â€"
#: The same, and control characters.
_UNSEEN = re.compile(_BROKEN + "|[\\x00-\\x08\\x0b-\\x1f\\x7f]")
#: From this share of missing values on a column is worth a look, where no limit is declared.
_GAPS = 0.5


def schema(s: Subject) -> bool:
    """Every feature and the label are there, with the type their kind has."""
    expected = {f.name: f.arrow for f in (*s.fields.values(), s.label)}
    faults = []
    for side in s.sides:
        there = set(side.held.schema.names)
        for name, kind in expected.items():
            if name not in there:
                faults.append((side, name, f"column {name!r} is missing"))
            elif kind is not None and side.held.schema.field(name).type != kind:
                faults.append((side, name, f"column {name!r} is {_words(side.held.schema.field(name).type)}, must be {_words(kind)}"))
    if not s.fields:
        faults.append((s.train, "label", "there is no feature"))
    for side, name, message in faults:
        where = "give the held-out rows the columns of the training rows" if side.name == "test" else "check data.columns"
        s.add("schema", "refuse", f"{side.prefix}{message}; {where}", column=name)
    if not faults:
        s.add("schema", "pass", f"{counted(len(s.fields), 'feature')} and a label, types as expected")
    return not faults


def nulls(s: Subject) -> None:
    """Texts, images and labels that are missing or blank; values missing in a feature."""
    worst = 0.0
    quiet = True
    for side in s.sides:
        gaps = []
        for name in (*s.fields, "label"):
            missing = side.missing(name, s.field(name))
            n = missing.count
            fraction = n / max(side.rows, 1)
            worst = max(worst, fraction)
            if name == "label" or s.fields[name].lacks:
                quiet = _essential(s, side, name, missing) and quiet
            elif n == side.rows or fraction > (_GAPS if s.limits.feature_nulls_max is None else s.limits.feature_nulls_max):
                gaps.append((name, fraction))
        if gaps:
            quiet = False
            _gaps(s, side, sorted(gaps, key=lambda g: -g[1]))
    if quiet:
        s.add(
            "nulls", "pass", "nothing is missing" if worst == 0 else f"at most {percent(worst)} of a column are missing (null)", value=worst
        )


def _essential(s: Subject, side: Side, name: str, missing: Where) -> bool:
    """Whether nothing is missing in a column whose rows are left out where something is."""
    n, limit = missing.count, s.limits.nulls_max
    fraction = n / max(side.rows, 1)
    if not n:
        return True
    what = "no label (null)" if name == "label" else s.fields[name].lacks
    said = f"{side.prefix}{counted(n, 'row')} ({percent(fraction)}) {'has' if n == 1 else 'have'} {what}"
    if n == side.rows or (limit is not None and fraction > limit):
        allowed = "there is nothing to learn from" if limit is None else f"allowed are {percent(limit)}"
        more = "" if limit is None else ", or raise data.checks.nulls_max"
        s.add(
            "nulls",
            "refuse",
            f"{said}, {allowed}; complete or remove them{more}",
            column=name,
            value=fraction,
            limit=limit,
            examples=side.examples(missing),
        )
    else:
        s.add(
            "nulls",
            "warn",
            f"{said}, and {'is' if n == 1 else 'are'} left out" + ("; data.checks.nulls_max sets a limit" if limit is None else ""),
            column=name,
            value=fraction,
            limit=limit,
            examples=side.examples(missing),
        )
    return False


def _gaps(s: Subject, side: Side, gaps: list[tuple[str, float]]) -> None:
    """Features that miss more than is allowed or, where nothing is said, more than half of their values."""
    limit, (first, most) = s.limits.feature_nulls_max, gaps[0]
    named = listed([f"{n} {percent(f)}" for n, f in gaps])
    said = f"{side.prefix}{counted(len(gaps), 'column')} {'misses' if len(gaps) == 1 else 'miss'}"
    if limit is not None or most == 1:
        allowed = "too many values (null)" + ("" if limit is None else f", allowed are {percent(limit)}")
        more = "" if limit is None else ", or raise data.checks.feature_nulls_max"
        s.add(
            "nulls",
            "refuse",
            f"{said} {allowed}: {named}; fill them, list them under data.columns.ignore{more}",
            column=first,
            value=most,
            limit=limit,
        )
    else:
        s.add(
            "nulls",
            "warn",
            f"{said} more than half of the values (null): {named}; a model learns that a value is missing too, so keep what is missing "
            "for a reason, and list the rest under data.columns.ignore",
            column=first,
            value=most,
        )


def non_finite(s: Subject) -> None:
    """Infinite numbers, or larger than a 32-bit float holds."""
    names = [*s.train.having("finite"), *(["label"] if s.label.quantity else [])]
    clean = True
    for side in s.sides:
        for name in names:
            found = side.numbers(name)
            if found.least < -_LARGEST or found.most > _LARGEST:  # false for NaN
                clean = False
                bad = side.where(name, lambda c: np.abs(_values(c)) > _LARGEST)
                n = bad.count
                s.add(
                    "finite",
                    "refuse",
                    f"{side.prefix}column {name!r} holds {counted(n, 'number')} that {'is' if n == 1 else 'are'} infinite or beyond "
                    f"{_LARGEST:.2g}; correct them, or leave the cells empty if they are missing",
                    column=name,
                    value=n,
                    limit=0,
                    examples=side.examples(bad, name),
                )
    if clean and names:
        s.add("finite", "pass", "all numbers are finite")


def ranges(s: Subject) -> None:
    """Declared ranges of numeric columns."""
    for name, limit in s.limits.ranges.items():
        if name not in s.fields and not (name == "label" and s.label.quantity):
            near = difflib.get_close_matches(name, s.fields, 1, 0.5)
            s.add(
                "ranges",
                "refuse",
                f"data.checks.ranges names {name!r}, which is no feature"
                + (f"; did you mean {near[0]!r}?" if near else f"; features: {listed(list(s.fields))}"),
                column=name,
            )
            continue
        if not s.field(name).quantity:
            s.add("ranges", "refuse", f"data.checks.ranges names {name!r}, which is {s.field(name).kind}, not numeric", column=name)
            continue
        low = -np.inf if limit.min is None else limit.min
        high = np.inf if limit.max is None else limit.max
        outside = 0
        for side in s.sides:
            found = side.numbers(name)
            if found.least < low or found.most > high:
                outside += 1
                bad = side.where(name, lambda c, a=low, b=high: (_values(c) < a) | (_values(c) > b))  # type: ignore[misc]
                first = float(side.held.take([name], np.array(bad.rows[:1])).column(0)[0].as_py())
                s.add(
                    "ranges",
                    "refuse",
                    f"{side.prefix}{counted(bad.count, 'value')} of {name!r} outside its range [{low:g}, {high:g}]; correct the "
                    f"rows or widen data.checks.ranges.{name}",
                    column=name,
                    value=first,
                    limit=low if first < low else high,
                    examples=side.examples(bad, name),
                )
        if not outside:
            s.add("ranges", "pass", f"{name!r} stays in [{low:g}, {high:g}]", column=name)


def images(s: Subject) -> None:
    """Images that cannot be decoded, or are too large for the server."""
    for name in s.train.having("images"):
        total, broken = 0, False
        for side in s.sides:
            probes = side.probes(name)
            total += len(probes)
            bad = np.array([p.error is not None and p.error != "is missing" for p in probes])
            if bad.any():
                broken = True
                shown = tuple(f"{side.place(r)}: {probes[r].error}" for r in np.flatnonzero(bad).tolist()[:5])
                s.add(
                    "images",
                    "refuse",
                    f"{side.prefix}{counted(int(bad.sum()), 'image')} cannot be read: {listed([side.place(r) for r in np.flatnonzero(bad).tolist()])}; "
                    "replace or remove them",
                    column=name,
                    value=int(bad.sum()),
                    limit=0,
                    examples=shown,
                )
        if not broken:
            s.add("images", "pass", f"all {counted(total, 'image')} can be decoded", column=name, value=0, limit=0)


def sizes(s: Subject) -> None:
    """Pictures that will be brought to one size, and have several."""
    for name in s.train.having("sizes"):
        found = Counter((p.width, p.height) for p in s.train.probes(name) if p.error is None)
        if len(found) > 1:
            (width, height), most = found.most_common(1)[0]
            s.add(
                "sizes",
                "warn",
                f"pictures of {len(found):,} sizes, {percent(most / found.total())} of them {width}x{height}; all are stretched to one, that of model.size",
                column=name,
                value=len(found),
            )


def texts(s: Subject) -> None:
    """Texts too long for the server or far longer than the others; signs of a wrong encoding."""
    for name in s.train.having("texts"):
        quiet = True
        for side in s.sides:
            column = side.table.column(name)
            length = pc.fill_null(pc.utf8_length(column), 0).to_numpy()
            over = length > LIMIT_CHARACTERS
            if over.any():
                quiet = False
                s.add(
                    "texts",
                    "refuse",
                    f"{side.prefix}{counted(int(over.sum()), 'text')} with more than {LIMIT_CHARACTERS:,} characters, which no server takes; "
                    "cut or remove them",
                    column=name,
                    value=int(length.max()),
                    limit=LIMIT_CHARACTERS,
                    examples=side.examples(over),
                )
            usual = max(_LONG, _LONG_TIMES * float(np.quantile(length, 0.95))) if len(length) else _LONG
            long = (length > usual) & ~over
            if long.any():
                quiet = False
                s.add(
                    "texts",
                    "warn",
                    f"{side.prefix}{counted(int(long.sum()), 'text')} of more than {usual:,.0f} characters, far longer than the others: is a "
                    "quote or line break lost? Models read the beginning only",
                    column=name,
                    value=int(length.max()),
                    limit=usual,
                    examples=side.examples(long),
                )
            broken = np.asarray(pc.fill_null(pc.match_substring_regex(column, _BROKEN), False))
            if broken.any():
                quiet = False
                s.add(
                    "texts",
                    "warn",
                    f"{side.prefix}{counted(int(broken.sum()), 'text')} with signs of a wrong encoding (such as 'Ã©', '\ufffd' or a zero byte); save "
                    "the source as UTF-8 again",
                    column=name,
                    value=int(broken.sum()),
                    limit=0,
                    examples=side.examples(broken, name),
                )
        if quiet:
            s.add("texts", "pass", "lengths and encoding are plausible", column=name)


def characters(s: Subject) -> None:
    """Categories with signs of a wrong encoding, or with characters that no one can see: each is a class of its own."""
    for side in s.sides:
        for name in (*side.having("characters"), *(["label"] if s.label.category else [])):
            odd = [str(v) for v in side.coded(name)[0] if _UNSEEN.search(str(v))]
            if odd:
                rows = side.among(name, odd)
                s.add(
                    "characters",
                    "warn",
                    f"{side.prefix}{counted(rows.count, 'row')} with a zero byte, another control character or a sign of a wrong encoding in "
                    f"{name!r}: a class apart from the same word without it; clean the source, or save it as UTF-8 again",
                    column=name,
                    value=rows.count,
                    limit=0,
                    examples=side.examples(rows, name),
                )


def constant(s: Subject) -> None:
    """Features with one value only."""
    names = [n for n in s.train.having("constant") if _distinct(s.train, n) == 1]
    if names:
        s.add(
            "constant",
            "warn",
            f"{counted(len(names), 'column')} with one value only: {listed(names)}; nothing can be learnt from "
            f"{'it' if len(names) == 1 else 'them'}, list {'it' if len(names) == 1 else 'them'} under data.columns.ignore",
            column=names[0],
            value=len(names),
            examples=tuple(names),
        )
    elif s.train.having("constant"):
        s.add("constant", "pass", "every column varies")


def _distinct(side: Side, name: str) -> int:
    return side.numbers(name).distinct if side.fields[name].quantity else len(side.coded(name)[0])


def _values(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _words(kind: pa.DataType) -> str:
    return {pa.string(): "text", pa.float64(): "numbers", pa.binary(): "bytes"}.get(kind, str(kind))


class Columns(Looks):
    """Checks one column at a time: what is missing, what cannot be used."""

    name = "columns"
    looks = (nulls, non_finite, ranges, images, sizes, recordings, texts, characters, constant)
