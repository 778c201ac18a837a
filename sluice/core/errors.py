"""The errors a user can meet, each with the exit code the command line ends with."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Mapping, Sequence, Set
from typing import Any

_UNSET: Any = object()


class SluiceError(Exception):
    """A failure that is explained: what was wrong, where, and what to do.

    Args:
        message: what is wrong, one sentence.
        field: the key, column, option or file at fault (``train.epochs``, ``data/train.csv:17``).
        value: the offending value, shown shortened.
        fix: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, field: str | None = None, value: Any = _UNSET, fix: str | None = None):
        self.message = message
        self.field = field
        self.value = None if value is _UNSET else value
        self.has_value = value is not _UNSET
        self.fix = fix
        super().__init__(self.describe())

    def describe(self) -> str:
        """Field, message, value and fix as a person reads them."""
        head = f"{self.field}: {self.message}" if self.field else self.message
        if self.has_value:
            head += f" (got {shown(self.value, 120)})"
        return head + (f"\n  fix: {self.fix}" if self.fix else "")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, for events and ``--json``."""
        value = shown(self.value, 500) if self.has_value else None
        return {
            "error": type(self).__name__,
            "message": self.message,
            "field": self.field,
            "value": value,
            "fix": self.fix,
            "exit_code": self.exit_code,
        }

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.message, self.field, self.value, self.has_value, self.fix))


def _rebuild(kind: type[SluiceError], message: str, field: str | None, value: Any, has: bool, fix: str | None) -> Any:
    return kind(message, field=field, fix=fix, **({"value": value} if has else {}))


def shown(value: Any, most: int) -> str:
    """``repr(value)`` cut to `most` characters; of a long text, a large number or a big structure only the beginning is ever built."""
    out: list[str] = []
    try:
        _show(value, most + 1, out)
    except Exception as e:  # a repr of someone else's that fails
        return f"<{type(value).__name__}: {type(e).__name__}>"[:most]
    text = "".join(out)
    return text if len(text) <= most else text[: most - 3] + "..."


def _show(value: Any, room: int, out: list[str]) -> int:
    """Add `value` to `out` while there is room for characters; returns the room left."""
    if room <= 0:
        return 0
    if isinstance(value, str | bytes) and len(value) > room:
        text = repr(value[:room])
    elif type(value) is int and value.bit_length() > _LONG_NUMBER:
        text = f"<a whole number of {value.bit_length()} bits>"
    elif type(value) is dict or type(value) in _BRACKETS:
        opens, closes = _BRACKETS.get(type(value), ("{", "}")) if value or type(value) is not set else ("set(", ")")
        out.append(opens)
        room -= 1
        for i, item in enumerate(value.items() if type(value) is dict else value):
            if i:
                out.append(", ")
                room -= 2
            if type(value) is dict:
                room = _show(item[0], room, out)
                out.append(": ")
                room = _show(item[1], room - 2, out)
            else:
                room = _show(item, room, out)
            if room <= 0:
                return 0
        text = ("," if type(value) is tuple and len(value) == 1 else "") + closes
    elif isinstance(value, Mapping | Sequence | Set) and not isinstance(value, str | bytes | range):
        out.append(type(value).__name__ + "(")
        room = _show(dict(value.items()) if isinstance(value, Mapping) else list(itertools.islice(value, room)), room, out)
        text = ")"
    elif hasattr(type(value), "model_fields"):  # a section of the project file
        out.append(type(value).__name__ + "(")
        room = _show(dict(value), room, out)
        text = ")"
    else:
        text = repr(value)
    out.append(text)
    return room - len(text)


#: Bits from which on a whole number is not written out: time and, from 4,300 digits on, Python's own limit.
_LONG_NUMBER = 2048
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}")}


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of what an exception says, at most `most` characters; its type's name where it says nothing."""
    return str(error).strip().partition("\n")[0][:most] or type(error).__name__


#: What can be done about what a system answers.
_SYSTEM = {
    errno.EACCES: "give it to your user, or name another place",
    errno.EPERM: "give it to your user, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "free some space, or name a place on a larger disk",
    errno.EDQUOT: "free some space, or name a place on a larger disk",
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file where a folder is meant: check it",
    errno.EEXIST: "name another place",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "the path is a link to itself: check it",
}


def of_system(error: OSError) -> SluiceError:
    """What a system answered (no permission, no room, no such file), as something a user can act on."""
    said = error.strerror[:1].lower() + error.strerror[1:] if error.strerror else first_line(error)
    field = (
        None if error.filename is None else os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    )
    return SluiceError(said, field=field, fix=_SYSTEM.get(error.errno or 0))


class ProjectError(SluiceError):
    """The project file, or an override of it, is wrong."""

    exit_code = 2


class DataError(SluiceError):
    """The data cannot be used: missing, unreadable, or not what the project declares."""

    exit_code = 2


class PackageError(SluiceError):
    """A package is truncated, tampered with, of another digest, or of a format not served."""

    exit_code = 2


class HomeError(SluiceError):
    """``$SLUICE_HOME`` cannot be used: no permission, no space, or another run holds it."""

    exit_code = 2


class InputError(SluiceError):
    """A request's input cannot be turned into tensors: a client's mistake (HTTP 400)."""

    exit_code = 2


class MissingExtra(SluiceError):
    """A command needs an optional dependency that is not installed."""

    exit_code = 2


class RolloutError(SluiceError):
    """No rollout of this name, a command that makes no sense now, or a cluster that cannot be asked as told."""

    exit_code = 2


class DeadlineError(SluiceError):
    """A wait ended without what it waited for."""
