"""The audit log in an object store: an object a record, each written under a name that nothing has."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta

import orjson

from sluice.audit.log import AUDIT_ENV, AuditError
from sluice.audit.record import START, Entry, Record
from sluice.audit.verify import Head
from sluice.core.s3 import Place, StoreFault

#: For how many days nobody may delete a record, where the bucket has object lock; unset: the bucket's own default.
DAYS_ENV = "SLUICE_AUDIT_RETENTION_DAYS"
_FOLDER, _HEAD = "records/", "head.json"
#: Tries against other writers, and the most bytes a record has.
_TRIES, _LINE = 50, 4 << 20


class ObjectLog:
    """A log whose records are ``<prefix>/records/<number>.json``.

    Two writers cannot take one number: the store refuses the second (``If-None-Match``), which goes on behind the first. Where the bucket has
    object lock, records are kept from everybody for as long as `DAYS_ENV` or the bucket says.

    Args:
        place: ``s3://bucket/prefix``.

    Raises:
        AuditError: it names no bucket, or there are no credentials.
    """

    def __init__(self, place: str):
        try:
            self._place = Place(place, AUDIT_ENV)
        except ValueError as e:
            raise AuditError("names no bucket", field=AUDIT_ENV, value=place, fix="s3://bucket/prefix") from e
        except StoreFault as e:
            raise e.told(AuditError, AUDIT_ENV) from e
        self._locks: bool | None = None
        self._known: tuple[int, str, str] | None = None

    @property
    def where(self) -> str:
        """Its address."""
        return self._place.uri

    def identity(self) -> str:
        """As `AuditLog` says."""
        try:
            return self._last()[2]
        except StoreFault as e:
            raise e.told(AuditError, AUDIT_ENV, value=self.where) from e

    def append(self, entry: Entry) -> Record:
        """As `AuditLog` says."""
        try:
            for _ in range(_TRIES):
                sequence, before, first = self._last()
                made = Record.make(entry, sequence + 1, before)
                if self._place.create(_name(made.sequence), made.line(), self._until()) or self._mine(made):
                    self._known = (made.sequence, made.hash, first or made.hash)
                    head = {"sequence": made.sequence, "hash": made.hash, "log": first or made.hash}
                    self._place.put(_HEAD, orjson.dumps(head))
                    return made
        except StoreFault as e:
            raise e.told(AuditError, AUDIT_ENV, value=self.where) from e
        raise AuditError("others write to it without a pause", field=AUDIT_ENV, value=self.where, fix="try again")

    def read(self) -> tuple[list[bytes], Head | None]:
        """As `AuditLog` says: the head first, so that it never is ahead of the records."""
        try:
            head = self._noted()
            return [self._place.read(name, _LINE) for name, _ in self._place.list(_FOLDER)], head
        except StoreFault as e:
            raise e.told(AuditError, AUDIT_ENV, value=self.where) from e

    def _last(self) -> tuple[int, str, str]:
        """(sequence, hash, the log's first hash) of the last record; -1 before the first."""
        known = self._known or (-1, START, "")
        newest = known[0]
        for name, _ in self._place.list(_FOLDER, after=_name(known[0]) if known[0] >= 0 else ""):
            newest = max(newest, _number(name))
        if newest > known[0]:
            found = self._read(newest)
            first = known[2] or (found.hash if newest == 0 else self._read(0).hash)
            known = (newest, found.hash, first)
        head = self._noted() if self._known is None else None
        if head is not None and head.hash and head.sequence > known[0]:
            known = (head.sequence, head.hash, head.log)  # written once, and gone since: the gap stays to be seen
        self._known = known if known[0] >= 0 else None
        return known

    def _mine(self, made: Record) -> bool:
        """Whether what stands under its number is this very record: the answer to the first try was lost, and it was tried again."""
        return self._place.read(_name(made.sequence), _LINE) == made.line()

    def _read(self, sequence: int) -> Record:
        try:
            return Record.read(self._place.read(_name(sequence), _LINE))
        except (ValueError, TypeError) as e:
            fix = "`sluice audit verify` says more; begin another log under another prefix, and keep this one"
            raise AuditError(f"record {sequence} cannot be read", field=AUDIT_ENV, value=self.where, fix=fix) from e

    def _noted(self) -> Head | None:
        try:
            raw = orjson.loads(self._place.read(_HEAD, 4096))
            return Head(int(raw["sequence"]), str(raw["hash"]), str(raw["log"]), f"{self.where}/{_HEAD}")
        except StoreFault as e:
            if e.kind == "missing":
                return None
            raise
        except (ValueError, KeyError, TypeError):
            return Head(0, "", "", f"{self.where}/{_HEAD}, which cannot be read,")

    def _until(self) -> datetime | None:
        days = os.environ.get(DAYS_ENV, "")
        if self._locks is None:
            self._locks = bool(days) and self._place.locks()
        if not self._locks:
            return None
        if not days.isdigit() or not 1 <= int(days) <= 36500:
            raise AuditError("is no number of days", field=DAYS_ENV, value=days, fix="a whole number from 1 to 36500")
        return datetime.now(UTC) + timedelta(days=int(days))


def _name(sequence: int) -> str:
    return f"{_FOLDER}{sequence:012d}.json"


def _number(name: str) -> int:
    with contextlib.suppress(ValueError):
        return int(name.removeprefix(_FOLDER).removesuffix(".json"))
    return -1
