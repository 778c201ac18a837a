"""The key of an endpoint: read when a call is sent, from the environment or a mounted Secret, and kept nowhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sluice.core.errors import ProjectError

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_VALUE = re.compile(r"[\x21-\x7e]{1,4096}")
HIDDEN = "***"


class Key:
    """Where a key is found.

    Args:
        env: the name of an environment variable.
        file: a file that holds the key alone (a Secret mounted by Kubernetes); read again for each call, so that a new key is used at once.

    Raises:
        ProjectError: `env` is no name of a variable. Its value is not shown: it may be the key itself.
    """

    def __init__(self, env: str | None = None, file: str | Path | None = None):
        if env is not None and not _NAME.fullmatch(env):
            raise ProjectError(
                "must be the name of an environment variable, in capitals",
                field="endpoint.key_env",
                fix="write key_env: MY_KEY and set MY_KEY to the key; a key itself never stands in a project",
            )
        self.env, self.file = env, Path(file) if file else None

    def __repr__(self) -> str:
        return f"Key(env={self.env!r}, file={str(self.file) if self.file else None!r})"

    def value(self) -> str | None:
        """The key; None where none is named.

        Raises:
            ProjectError: it is named and not there, or is no key.
        """
        if self.file is not None:
            try:
                found = self.file.read_bytes()[:8192].decode("ascii", "replace").strip()
            except OSError as e:
                raise ProjectError(
                    f"cannot be read: {e.strerror}", field="endpoint.key_file", value=str(self.file), fix="mount the Secret there"
                ) from e
            where = f"endpoint.key_file {self.file}"
        elif self.env is not None:
            found, where = os.environ.get(self.env, "").strip(), f"environment variable {self.env}"
            if not found:
                raise ProjectError(
                    "is not set", field=where, fix=f"export {self.env}=... before the command; on a cluster take it from a Secret"
                )
        else:
            return None
        if not _VALUE.fullmatch(found):
            raise ProjectError("holds no key: a line of visible characters is wanted", field=where, fix="write the key alone into it")
        return found


def hidden(text: str, key: str | None) -> str:
    """A text from outside without the key, should it hold it."""
    return text.replace(key, HIDDEN) if key else text
