"""JSON files that hold no lines: an array of objects, as ``pandas.DataFrame.to_json(orient="records")`` writes it, is read as lines are;
one object of all rows is told by its form.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from typing import Any

import orjson

from sluice.core.errors import DataError

#: What names of JSON files end with, once unpacked.
NAMED = frozenset({".json", ".jsonl", ".ndjson"})
#: Bytes read at a time, and characters that one object may have.
_BLOCK, _LONGEST = 1 << 20, 64 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_BREAKS = str.maketrans("\r\n", "  ")


def begins_array(head: bytes) -> bool:
    """Whether a file that begins so is an array of objects, or of none: lists one a line are none."""
    found = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return found[:1] == b"[" and found[1:].lstrip()[:1] in (b"{", b"]", b"")


def no_rows(raw: bytes, where: str) -> DataError | None:
    """What is wrong with a text that is one JSON object in which all rows lie, as ``pandas.DataFrame.to_json`` writes them by default and as
    interfaces answer; None where it is none.

    Args:
        raw: the file's bytes. where: what the file is called in an error.
    """
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not found:
        return None
    lists = [k for k, v in found.items() if isinstance(v, list) and len(v) > 1 and all(isinstance(row, dict) for row in v)]
    if lists:
        fix = f"write the rows out: jq -c '.[{json.dumps(lists[0])}][]' {where} > rows.jsonl"
    elif isinstance(found.get("columns"), list) and isinstance(found.get("data"), list):
        fix = _by_pandas(where, "split")
    elif all(isinstance(v, dict) for v in found.values()) and len({tuple(v) for v in found.values()}) == 1:
        inner = next(iter(found.values()))
        if len(found) < 2 and len(inner) < 2:
            return None
        fix = _by_pandas(where, "columns" if all(k.isdecimal() for k in inner) else "index")
    else:
        return None
    return DataError("is one JSON object in which all rows lie", field=where, value=list(found)[:5], fix=fix)


def _by_pandas(where: str, orient: str) -> str:
    code = f"import pandas as pd; pd.read_json({where!r}, orient={orient!r}).to_json('rows.jsonl', orient='records', lines=True)"
    return f'write a row a line: python3 -c "{code}"'


class Elements(io.RawIOBase):
    """The objects of an array, one a line, a block of the file at a time.

    Args:
        stream: of the file's bytes, UTF-8. where: what the file is called in an error.

    Raises:
        DataError: while it is read: no UTF-8, no JSON, an element that is no object, one of more than 64 MB, an array that does not end.
    """

    def __init__(self, stream: Any, where: str):
        self._stream, self._where = stream, where
        self._decoder, self._json = codecs.getincrementaldecoder("utf-8-sig")(), json.JSONDecoder()
        self._text, self._at, self._ended, self._item = "", 0, False, 0
        self._out, self._state = memoryview(b""), "begin"

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not len(self._out) and self._state != "end":
            self._out = memoryview(b"".join(self._some()))
        taken = min(len(buffer), len(self._out))
        buffer[:taken], self._out = self._out[:taken], self._out[taken:]
        return taken

    def _more(self) -> bool:
        """Another block behind what is left; False at the end of the file."""
        if self._ended:
            return False
        block = self._stream.read(_BLOCK)
        self._ended = not block
        try:
            new = self._decoder.decode(block, final=self._ended)
        except UnicodeDecodeError as e:
            bad = e.object[e.start : e.start + 4]
            raise DataError(f"is not UTF-8 text: {e.reason}", field=self._where, value=bad, fix="save it as UTF-8") from e
        self._text, self._at = self._text[self._at :] + new, 0
        return not self._ended

    def _next(self) -> str:
        """The next character that is no white space; "" at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it always matches
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _some(self) -> list[bytes]:
        """The objects of about a block."""
        found, size = list[bytes](), 0
        while size < _BLOCK and self._state != "end":
            sign = self._next()
            if self._state == "begin":
                self._at, self._state = self._at + 1, "first"
            elif sign == "]" and self._state != "element":
                self._at, self._state = self._at + 1, "end"
                if left := self._next():
                    raise self._fault("has more behind the array's end", left)
            elif self._state == "behind":
                if sign != ",":
                    raise self._fault("is not followed by a comma", sign)
                self._at, self._state = self._at + 1, "element"
            else:
                self._item += 1
                found.append(self._element(sign))
                size, self._state = size + len(found[-1]), "behind"
        return found

    def _element(self, sign: str) -> bytes:
        if sign != "{":
            raise self._fault(
                "is no JSON object" if sign else "is missing: the file ends within the array", self._text[self._at : self._at + 40]
            )
        while True:
            try:
                _, end = self._json.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as e:
                # Of half an object and of a wrong one the parser says the same: the rest of the file decides.
                if len(self._text) - self._at > _LONGEST:
                    raise self._fault("is no JSON object of at most 64 MB", self._text[self._at : self._at + 80]) from e
                length = len(self._text) - self._at
                while len(self._text) - self._at < 2 * length and self._more():
                    pass
                if len(self._text) - self._at == length:
                    raise self._fault(f"is not JSON: {e}", self._text[self._at : self._at + 80]) from e
                continue
            line = self._text[self._at : end].translate(_BREAKS).encode() + b"\n"
            self._at = end
            return line

    def _fault(self, message: str, value: str) -> DataError:
        return DataError(message, field=f"{self._where}: item {self._item}", value=value, fix="write one array of whole JSON objects")
