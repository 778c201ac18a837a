"""Addresses of SQLite files, as SQLAlchemy reads them."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path
from urllib.parse import unquote

from sluice.core.errors import HomeError

_SCHEME = "sqlite:///"
#: The same to SQLAlchemy. MLflow makes the folder that the text behind the plain one names, unquoted: another one than the file's.
_QUOTED = "sqlite+pysqlite:///"


@functools.cache
def _unquotes() -> bool:
    """Whether the installed SQLAlchemy takes %XX in a database's name for a character; it does from 2.1 on."""
    try:
        return tuple(int(x) for x in importlib.metadata.version("sqlalchemy").split(".")[:2]) >= (2, 1)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return True


def uri_of(path: Path) -> str:
    """The address of a file, whatever characters its path holds.

    Raises:
        HomeError: a ``?`` in it, which an SQLAlchemy before 2.1 can address in no way.
    """
    text = str(path)
    if not {"%", "?"} & set(text):
        return _SCHEME + text
    if _unquotes():
        return _QUOTED + text.replace("%", "%25").replace("?", "%3F")
    if "?" in text:
        raise HomeError(
            "the installed SQLAlchemy cannot open a database at a path with a question mark",
            field=str(path),
            fix="pip install 'sqlalchemy>=2.1', or choose another --home",
        )
    return _SCHEME + text


def meant(uri: str) -> str:
    """An address, escaped where somebody wrote a path into it as it stands: only so its folder is there."""
    text = uri.removeprefix(_SCHEME)
    if not uri.startswith(_SCHEME) or not {"%", "?"} & set(text) or not Path(text).parent.is_dir():
        return uri
    before, _, query = text.partition("?")
    literal = "/" in query or not Path(unquote(before) if _unquotes() else before).parent.is_dir()
    return uri_of(Path(text)) if literal else uri


def path_of(uri: str) -> Path | None:
    """The file an address means (see `meant`); None for the address of something else (a server, a database in memory)."""
    uri = meant(uri)
    scheme = next((s for s in (_SCHEME, _QUOTED) if uri.startswith(s)), None)
    if scheme is None:
        return None
    text = uri.removeprefix(scheme).partition("?")[0]
    if text in ("", ":memory:") or text.startswith("file:"):
        return None
    return Path(unquote(text) if _unquotes() else text)
