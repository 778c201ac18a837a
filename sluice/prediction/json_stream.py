"""JSON lines, each written again as it stands, with what was added."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.opening import lines_of, not_empty, opened
from sluice.data.scheme import Found
from sluice.prediction.streams import Stream, Window, Writer, texts

#: A number whose digits a float does not hold: it is read as it is written.
_LONG = re.compile(rb"[0-9.]{16}")
#: Lines of JSON looked at for the keys that occur.
_FIRST = 4096


class JsonLines(Stream):
    """One JSON object a line. Its line is written back as it is, with keys added at its end."""

    kind = "jsonl"

    def __init__(self, file: Found):
        super().__init__(file)
        not_empty(file)
        first = next(self.windows(_FIRST), None)
        if first is not None and not first.places:
            place, message, value = first.broken[0]
            fix = "write one object a line: jq -c '.[]'" if value.startswith("[") else "write one whole JSON object a line"
            raise DataError(message, field=f"{file.where}:{place}", value=value, fix=fix)
        self.columns = list(first.columns) if first else []

    def windows(self, rows: int) -> Iterator[Window]:
        held: list[dict[str, Any]] = []
        raw: list[bytes] = []
        places: list[str] = []
        broken: list[tuple[str, str, Any]] = []
        try:
            with opened(self.file) as stream:
                for number, line in enumerate(lines_of(stream), 1):
                    line = line.strip()
                    if not line:
                        continue
                    found, wrong = _object(line)
                    if found is None:
                        broken.append((str(number), wrong, line[:80].decode(errors="replace")))
                    else:
                        held.append(found)
                        raw.append(line)
                        places.append(str(number))
                    if len(held) + len(broken) >= rows:
                        yield Window(places, _by_column(held, self.columns), raw, broken)
                        held, raw, places, broken = [], [], [], []
        except OSError as e:
            raise DataError(f"cannot be read: {e}", field=self.file.where, fix="compress it again") from e
        if held or broken:
            yield Window(places, _by_column(held, self.columns), raw, broken)

    @contextlib.contextmanager
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> Iterator[Writer]:
        with pa.output_stream(str(path), compression=packing) as out:
            yield _JsonWriter(out, self.file)


class _JsonWriter(Writer):
    def __init__(self, out: Any, file: Found):
        self._out, self._file = out, file

    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        taken = next((n for n in added if n in window.columns), None)
        if taken is not None:
            at = next((p for p, v in zip(window.places, window.columns[taken], strict=True) if v is not None), window.places[0])
            raise DataError(
                "is a key here, and not in the lines before: the prediction would be a second one of the same name",
                field=f"{self._file.where}:{at}: {taken}",
                fix="rename the key",
            )
        columns = [[float(t) for t in texts(c)] if pa.types.is_float32(c.type) else c.to_pylist() for c in added.values()]
        for i, *values in zip(good, *columns, strict=True):
            line = window.raw[i]
            head = line[:-1].rstrip()
            self._out.write(head + (b"" if head == b"{" else b", ") + orjson.dumps(dict(zip(added, values, strict=True)))[1:] + b"\n")


def _object(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """A line's object, numbers with all their digits; or why it is none."""
    try:
        value = orjson.loads(line)  # strict where `json` is not: NaN, lone surrogates
        if _LONG.search(line):
            value = json.loads(line, parse_float=_exact)
    except (ValueError, RecursionError) as e:
        return None, f"is not JSON: {e}"
    return (value, "") if isinstance(value, dict) else (None, "is no JSON object")


def _exact(text: str) -> float | Decimal:
    """A float, or the decimal where a float loses digits."""
    near = float(text)
    try:
        exact = Decimal(text)
        return near if Decimal(repr(near)) == exact or abs(exact) == Decimal("Infinity") else exact
    except ArithmeticError:
        return near


def _by_column(held: Sequence[Mapping[str, Any]], known: Sequence[str]) -> dict[str, list[Any]]:
    names = dict.fromkeys([*known, *(key for row in held for key in row)])
    return {name: [row.get(name) for row in held] for name in names}
