"""A file behind ``https://`` (or ``http://``) as a source: brought whole, or not at all."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.parse
from pathlib import Path
from typing import IO

from sluice.core.errors import DataError
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
    for _ in range(_REDIRECTS + 1):
        connection = _connection(url, shown)
        try:
            parts = urllib.parse.urlsplit(url)
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers={"User-Agent": "sluice"})
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308):
                url = _redirected(url, answer.getheader("Location") or "", shown)
                continue
            if answer.status >= 500 or answer.status == 429:
                raise _Again(f"it answers {answer.status} {answer.reason}")
            if answer.status != 200:
                fix = "check the address, and whether it asks for a password"
                raise DataError(f"it answers {answer.status} {answer.reason}", field="data.source", value=shown, fix=fix)
            with target.open("wb") as file:
                _copy(answer, file, end)
            return
        except (OSError, http.client.HTTPException) as e:
            raise _Again(str(e) or type(e).__name__) from e
        finally:
            connection.close()
    raise DataError(f"redirects more than {_REDIRECTS} times", field="data.source", value=shown, fix="name the address it ends at")


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
