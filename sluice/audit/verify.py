"""Is the log what was written? Each fault with the record it is at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from sluice.audit.record import START, Record


@dataclasses.dataclass(frozen=True)
class Head:
    """The last record that was written, kept in another place than the log. Also a record that a registry names.

    Attributes:
        sequence, hash: of the record. log: the hash of the log's first record, which tells one log from another. where: it is kept.
    """

    sequence: int
    hash: str
    log: str = ""
    where: str = "the head"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong, and at which record; None: at none."""

    sequence: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.sequence is None else f"record {self.sequence}: {self.what}"


def verify(lines: Iterable[bytes], head: Head | None, anchors: Iterable[Head] = ()) -> list[Fault]:
    """Every fault of a log, in its order; empty where it is whole.

    Args:
        lines: the log's, without their ends. head: what was kept apart of the last record; None where nothing is.
        anchors: records that others named. Those of another log are left out.
    """
    check = _Check()
    for line in lines:
        check.line(line)
    check.end()
    faults = check.faults
    if head is None:
        if check.hashes:
            faults.append(
                Fault(max(check.hashes), "the head that names the last record is gone, so nothing shows that records were cut off")
            )
    else:
        faults += _named(check.hashes, head, "cut off at the end")
    first = check.hashes.get(0, "")
    for anchor in anchors:
        if anchor.log == first:
            faults += _named(check.hashes, anchor, "removed")
    return list(dict.fromkeys(faults))


def _named(hashes: Mapping[int, str], named: Head, gone: str) -> list[Fault]:
    if named.sequence not in hashes:
        last = max(hashes, default=-1)
        which = f"{last + 1} to {named.sequence}" if 0 <= last + 1 < named.sequence else str(named.sequence)
        return [
            Fault(
                min(last + 1, named.sequence),
                f"{which} {'was' if ' ' not in which else 'were'} {gone}: {named.where} names {named.sequence}",
            )
        ]
    if hashes[named.sequence] != named.hash:
        return [Fault(named.sequence, f"is not the one that was written: {named.where} names another")]
    return []


class _Check:
    """Reads a log once."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.hashes: dict[int, str] = {}
        self.before: set[str] = {START}
        self.next = 0
        self.missing: set[int] = set()

    def line(self, line: bytes) -> None:
        """Look at one more."""
        try:
            record = Record.read(line)
        except (ValueError, TypeError):
            self.faults.append(Fault(self.next, "was changed: it cannot be read"))
            self.hashes.setdefault(self.next, "")
            self.next, self.before = self.next + 1, set()
            return
        own = record.digest()
        changed = own != record.hash or record.line() != line
        # Where the number itself was changed, its place says which it was.
        sequence = self.next if changed else record.sequence
        if changed:
            self.faults.append(Fault(sequence, "was changed: its bytes are not those that its hash was made of"))
        elif sequence != self.next:
            self._elsewhere(sequence, record.hash)
        elif self.before and record.before not in self.before:
            self.faults.append(Fault(max(sequence - 1, 0), f"was changed: record {sequence} was written behind another"))
        if sequence >= self.next or sequence not in self.hashes:
            self.hashes[sequence] = record.hash
        if sequence >= self.next:
            self.next = sequence + 1
        self.before = {own, record.hash}

    def _elsewhere(self, sequence: int, hash_: str) -> None:
        """A good record in a wrong place."""
        if sequence > self.next:
            self.missing |= set(range(self.next, sequence))
        elif self.hashes.get(sequence) == hash_:
            self.faults.append(Fault(sequence, "is there twice"))
        elif sequence in self.missing:
            self.missing.discard(sequence)
            self.faults.append(Fault(sequence, "is not in its place: records were put into another order"))
        else:
            self.faults.append(Fault(sequence, "is there twice, with other words"))

    def end(self) -> None:
        """What did not come any more."""
        self.faults += [Fault(n, "was removed") for n in sorted(self.missing)[:1000]]
        self.faults.sort(key=lambda f: f.sequence or 0)
