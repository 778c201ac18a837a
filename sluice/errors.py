"""The errors a user can meet, each with the exit code the command line ends with."""

from __future__ import annotations

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
        head = f"{self.field}: {self.message}" if self.field else self.message
        if self.has_value:
            shown = repr(self.value)
            head += f" (got {shown if len(shown) <= 120 else shown[:117] + '...'})"
        return head + (f"\n  fix: {self.fix}" if self.fix else "")

    def to_dict(self) -> dict[str, Any]:
        shown = repr(self.value)[:500] if self.has_value else None
        return {"error": type(self).__name__, "message": self.message, "field": self.field,
                "value": shown, "fix": self.fix, "exit_code": self.exit_code}  # fmt: skip

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.message, self.field, self.value, self.has_value, self.fix))


def _rebuild(kind: type[SluiceError], message: str, field: str | None, value: Any, has: bool, fix: str | None) -> Any:
    return kind(message, field=field, fix=fix, **({"value": value} if has else {}))


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of what an exception says, at most `most` characters; its type's name where it says nothing."""
    return str(error).strip().partition("\n")[0][:most] or type(error).__name__


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
