"""A file behind ``https://`` (or ``http://``) as a source: brought whole, or not at all; a large one by ranges, where the server knows them."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sluice.core.errors import DataError
from sluice.data import ranges
from sluice.data.scheme import Asked, Found

#: Seconds to connect and between two bytes, and for all of it; redirects that are followed; tries.
_WAIT, _WHOLE, _REDIRECTS, _TRIES = 30.0, 7200.0, 5, 3
_BLOCK = 1 << 20


class _Again(Exception):
    """What may be gone at the next try."""


def fetch(asked: Asked) -> list[Found]:
    """The file at an address, into the source's folder, under the last name of its path.

    Raises:
        DataError: no such file, nobody answers, or less came than was announced.
    """
    parts = urllib.parse.urlsplit(asked.uri)
    name = re.sub(r"[^\w.-]", "_", urllib.parse.unquote(Path(parts.path).name)) or "source"
    target = asked.folder / name.lstrip(".")
    shown = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))  # without secrets
    end = time.monotonic() + _WHOLE
    for left in reversed(range(_TRIES)):
        try:
            _bring(asked.uri, target, shown, end)
            return [Found(target, shown)]
        except _Again as e:
            if not left or time.monotonic() > end:
                fix = "check the address and the network, or download the file and name its path"
                raise DataError(f"cannot be fetched: {e}", field="data.source", value=shown, fix=fix) from None
    raise AssertionError("a loop without a try")


def _bring(url: str, target: Path, shown: str, end: float) -> None:
    by_ranges = True
    for _ in range(_REDIRECTS + 2):
        connection = _connection(url, shown)
        try:
            answer = _asked(connection, url, f"bytes=0-{ranges.PART - 1}" if by_ranges else None)
            if answer.status in (301, 302, 303, 307, 308):
                url = _redirected(url, answer.getheader("Location") or "", shown)
                continue
            if answer.status >= 500 or answer.status == 429:
                raise _Again(f"it answers {answer.status} {answer.reason}")
            size = _size(answer)
            if by_ranges and (answer.status == 416 or size == 0):  # nothing in it, no ranges after all, or ranges of nobody knows how much
                by_ranges = False
                continue
            if answer.status not in (200, 206):
                fix = "check the address, and whether it asks for a password"
                raise DataError(f"it answers {answer.status} {answer.reason}", field="data.source", value=shown, fix=fix)
            with target.open("wb") as file:
                _copy(answer, file, end)
            if size is not None and size > target.stat().st_size:
                _rest(url, shown, target, size, _validator(answer), end)
            return
        except (OSError, http.client.HTTPException) as e:
            raise _Again(str(e) or type(e).__name__) from e
        finally:
            connection.close()
    raise DataError(f"redirects more than {_REDIRECTS} times", field="data.source", value=shown, fix="name the address it ends at")


def _asked(connection: http.client.HTTPConnection, url: str, span: str | None, same: str | None = None) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    headers = {"User-Agent": "sluice", "Accept-Encoding": "identity"}
    headers |= {"Range": span} if span else {}
    headers |= {"If-Range": same} if same else {}
    connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
    return connection.getresponse()


def _size(answer: http.client.HTTPResponse) -> int | None:
    """Of a part of a file, from its beginning, how many bytes the whole has: 0 where that is not said; None of a whole one."""
    if answer.status != 206:
        return None
    told = re.fullmatch(r"bytes 0-(\d+)/(\d+)", (answer.getheader("Content-Range") or "").strip())
    return int(told[2]) if told else 0


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What tells this version of the file from another; null: nothing does."""
    tag = answer.getheader("ETag")
    return tag if tag and not tag.startswith("W/") else answer.getheader("Last-Modified")


def _rest(url: str, shown: str, target: Path, size: int, same: str | None, end: float) -> None:
    """The bytes after those that are there, several ranges at a time. Raises `_Again`: the file changed meanwhile, or a range cannot be had."""

    def read(first: int, last: int) -> Iterator[bytes]:
        connection = _connection(url, shown)
        try:
            answer = _asked(connection, url, f"bytes={first}-{last - 1}", same)
            if answer.status >= 500 or answer.status == 429:
                raise ranges.Broken(f"it answers {answer.status} {answer.reason}")
            if answer.status != 206 or (answer.getheader("Content-Range") or "").strip() != f"bytes {first}-{last - 1}/{size}":
                raise _Again("it is another file than when its reading began")
            while block := answer.read(_BLOCK):
                yield block
                if time.monotonic() > end:
                    raise _Again(f"not whole within {_WHOLE:g} s")
        except (OSError, http.client.HTTPException) as e:
            raise ranges.Broken(str(e) or type(e).__name__) from e
        finally:
            connection.close()

    try:
        ranges.in_parts(target, size, read, have=target.stat().st_size)
    except ranges.Broken as e:
        raise _Again(str(e)) from e


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], end: float) -> None:
    announced, came = answer.length, 0
    while block := answer.read(_BLOCK):
        file.write(block)
        came += len(block)
        if time.monotonic() > end:
            raise _Again(f"not whole within {_WHOLE:g} s")
    if announced is not None and came != announced:
        raise _Again(f"{came:,} of {announced:,} bytes came")


def _connection(url: str, shown: str) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise DataError(f"is no address: {e}", field="data.source", value=shown, fix="https://host/path/rows.csv") from e
    if not host:
        raise DataError("names no host", field="data.source", value=shown, fix="https://host/path/rows.csv")
    if parts.scheme.lower() == "https":
        return http.client.HTTPSConnection(host, port, timeout=_WAIT, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_WAIT)


def _redirected(url: str, to: str, shown: str) -> str:
    """Where a redirect leads; never from https to anything less."""
    found = urllib.parse.urljoin(url, to)
    scheme = urllib.parse.urlsplit(found).scheme.lower()
    if scheme not in ("http", "https") or (url.lower().startswith("https:") and scheme != "https"):
        raise DataError(f"redirects to {scheme or 'nothing'}://", field="data.source", value=shown, fix="name the address it ends at")
    return found
