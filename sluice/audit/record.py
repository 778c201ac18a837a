"""One record of the audit log: a line of canonical JSON that names the hash of the line before it.

A record's hash is the SHA-256 of its canonical JSON without the hash, which holds the hash of the record before: the linked timestamping of
Haber and Stornetta (1991). A line has to be those very bytes, so that no change of one, not even of white space, leaves it valid.
"""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from sluice.core.files import canonical_json
from sluice.core.gate import brief

Kind = Literal["gate", "registration", "rollout", "promotion", "rollback", "override", "refusal", "repair"]
#: What stands for the record before the first.
START = "0" * 64
#: The most characters of a reason, and bytes of one part of the data.
_REASON, _DATA = 4000, 4096
#: Who acts, where it is not the user of this process.
USER_ENV = "SLUICE_USER"


@dataclasses.dataclass(frozen=True)
class Entry:
    """What happened.

    Attributes:
        kind: of what. model: its name in the registry. digest: of the package; "" before there is one.
        environment: where; "" where it is of none. reason: in words. data: more, plain JSON; long parts are cut down.
        user: who; default: whoever runs this process.
    """

    kind: Kind
    model: str = ""
    digest: str = ""
    environment: str = ""
    reason: str = ""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    user: str = ""


@dataclasses.dataclass(frozen=True)
class Record:
    """An entry in its place.

    Attributes:
        sequence: 0, 1, 2 and so on. time: UTC, ISO 8601. entry: what happened. before: the hash of the record before. hash: its own, hex.
    """

    sequence: int
    time: str
    entry: Entry
    before: str
    hash: str

    @classmethod
    def make(cls, entry: Entry, sequence: int, before: str, now: datetime | None = None) -> Record:
        """The record that follows the one whose hash is `before`."""
        plain = dataclasses.replace(
            entry, reason=_text(entry.reason, _REASON), data=_plain(entry.data), user=_text(entry.user or user(), 200)
        )
        when = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        made = cls(sequence, when, plain, before, "")
        return dataclasses.replace(made, hash=made.digest())

    def to_dict(self) -> dict[str, Any]:
        """Everything, as it is written."""
        return {"sequence": self.sequence, "time": self.time, **dataclasses.asdict(self.entry), "before": self.before, "hash": self.hash}

    def digest(self) -> str:
        """What its hash has to be."""
        return hashlib.sha256(canonical_json({k: v for k, v in self.to_dict().items() if k != "hash"})).hexdigest()

    def line(self) -> bytes:
        """Its line, without the end."""
        return canonical_json(self.to_dict())

    @classmethod
    def read(cls, line: bytes) -> Record:
        """A record as it stands in a line, its hash not looked at. Raises ``ValueError`` for what is none."""
        raw = orjson.loads(line)
        if not isinstance(raw, dict) or set(raw) != _KEYS or type(raw["sequence"]) is not int or type(raw["data"]) is not dict:
            raise ValueError("is not a record")
        if not all(type(raw[k]) is str for k in _KEYS - {"sequence", "data"}):
            raise ValueError("is not a record")
        entry = Entry(**{f.name: raw[f.name] for f in dataclasses.fields(Entry)})
        return cls(raw["sequence"], raw["time"], entry, raw["before"], raw["hash"])


_KEYS = {"sequence", "time", "before", "hash", *(f.name for f in dataclasses.fields(Entry))}


def user() -> str:
    """Who acts: ``$SLUICE_USER``, the user of this process, or the pod a step runs in."""
    if given := os.environ.get(USER_ENV):
        return given
    if pod := os.environ.get("KFP_POD_NAME"):
        return f"pod {pod}"
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return f"uid {os.getuid()}"


def _text(value: str, most: int) -> str:
    return str(value)[:most].encode("utf-8", "replace").decode()


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read again."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(dict(data), option=orjson.OPT_SERIALIZE_NUMPY, default=str))
    return brief(found, _DATA)
