"""``python -m tests.bench.audit_changes``: is each of 1,000 random one-byte changes of an audit log found, and at which record?

Prints a JSON line a kind of change: how many were made, how many were found, and how many named the record that was changed.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from sluice.audit.log import FolderLog
from sluice.audit.record import Entry
from sluice.audit.verify import Fault, Head, verify

RECORDS, CHANGES, SEED = 60, 1000, 18
Read = tuple[list[bytes], Head | None]


def filled(folder: Path) -> tuple[FolderLog, float]:
    """A log of gates and promotions as runs leave them, and the seconds of an append."""
    log = FolderLog(folder / "audit", folder / "head.json")
    began = time.perf_counter()
    for i in range(RECORDS):
        evidence = {"evaluation": {"metric": "accuracy", "value": 0.9 + i / 1e4, "low": 0.88, "high": 0.93}, "cautions": ["überall gut"]}
        data = {"run": f"r{i // 6}", "step": "evaluate", "decision": "pass", "sha256": f"{i:064x}", "evidence": evidence}
        log.append(Entry("gate" if i % 6 else "promotion", "digits", f"{i:064x}", "production", f"accuracy {i} of 60", data, "ada"))
    return log, (time.perf_counter() - began) / RECORDS


def bytes_changed(log: FolderLog, pick: random.Random) -> Iterator[tuple[int, list[Fault]]]:
    """One byte of the file at a time: any byte, any other value."""
    whole = log.path.read_bytes()
    for _ in range(CHANGES):
        at = pick.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] = pick.choice([b for b in range(256) if b != whole[at]])
        log.path.write_bytes(changed)
        yield whole[:at].count(b"\n"), verify(*log.read())
    log.path.write_bytes(whole)


def rearranged(read: Read, pick: random.Random) -> Iterator[tuple[str, int, list[Fault]]]:
    """A record removed, repeated, put in another place; records cut off at the end."""
    lines, head = read
    for i in range(RECORDS - 1):
        yield "removed", i, verify(lines[:i] + lines[i + 1 :], head)
        yield "repeated", i, verify([*lines[: i + 1], *lines[i:]], head)
        j = pick.choice([n for n in range(RECORDS) if abs(n - i) > 1])
        moved = lines[:i] + lines[i + 1 :]
        moved.insert(j, lines[i])
        yield "moved", i, verify(moved, head)
        yield "cut off", i + 1, verify(lines[: i + 1], head)


def main() -> int:
    """Everything found: 0."""
    pick = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        log, append = filled(Path(folder))
        began = time.perf_counter()
        assert verify(*log.read()) == []
        took = time.perf_counter() - began
        counts: dict[str, list[int]] = {}

        def count(kind: str, record: int, faults: list[Fault]) -> None:
            made = counts.setdefault(kind, [0, 0, 0])
            made[0] += 1
            made[1] += bool(faults)
            made[2] += record in [f.sequence for f in faults]

        for record, faults in bytes_changed(log, pick):
            count("one byte", record, faults)
        for kind, record, faults in rearranged(log.read(), pick):
            count(kind, record, faults)
    print(orjson.dumps({"records": RECORDS, "append_ms": round(1e3 * append, 2), "verify_ms": round(1e3 * took, 1)}).decode())
    for kind, (made, found, named) in counts.items():
        print(orjson.dumps({"change": kind, "made": made, "found": found, "record_named": named}).decode())
    return 0 if all(made == found == named for made, found, named in counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
