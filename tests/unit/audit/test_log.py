"""The audit log in a folder: one chain however many write, mended after a crash, and every change made to it afterwards is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluice.audit.log import AuditError, FolderLog, anchor, anchors, log_at, open_log, records
from sluice.audit.record import Entry, Record
from sluice.audit.verify import Fault, verify
from sluice.core.home import Home


@pytest.fixture
def log(tmp_path: Path) -> FolderLog:
    return FolderLog(tmp_path / "audit", tmp_path / "head.json")


def filled(log: FolderLog, n: int = 12) -> FolderLog:
    for i in range(n):
        log.append(Entry("gate", "digits", "a" * 64, "production", f"because {i} ≥ 0", {"step": "evaluate", "value": 0.1 * i}, "ada"))
    return log


def faults(log: FolderLog) -> list[Fault]:
    return verify(*log.read())


def numbers(found: list[Fault]) -> list[int]:
    return [f.sequence for f in found]


def test_what_was_written_is_read_and_whole(log: FolderLog) -> None:
    filled(log, 3)
    found = records(log)
    assert [(r.sequence, r.entry.user, r.entry.reason) for r in found] == [(i, "ada", f"because {i} ≥ 0") for i in range(3)]
    assert found[2].before == found[1].hash and found[2].entry.data["value"] == 0.2
    assert faults(log) == []
    assert verify(*FolderLog(log.root / "none", log.root / "nowhere.json").read()) == []


def test_who_acts_is_the_user_unless_told(log: FolderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_USER", "grace")
    assert log.append(Entry("promotion")).entry.user == "grace"


def test_many_writers_make_one_chain(log: FolderLog) -> None:
    code = (
        "import sys; from pathlib import Path; from sluice.audit.log import FolderLog; from sluice.audit.record import Entry\n"
        "log = FolderLog(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "[log.append(Entry('gate', 'm', reason=f'{sys.argv[3]}-{i}')) for i in range(10)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(log.root), str(log.head_path), str(n)]) for n in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: log.append(Entry("gate", "m", reason=f"here-{i}")), range(20)))
    assert [p.wait(60) for p in others] == [0, 0]
    assert faults(log) == []
    assert len({r.entry.reason for r in records(log)}) == 40


@pytest.mark.parametrize("part", [1, 40, -1])
def test_a_writer_that_died_in_a_line_costs_that_line_alone(log: FolderLog, part: int, caplog: pytest.LogCaptureFixture) -> None:
    filled(log, 4)
    torn = Record.make(Entry("promotion", "digits"), 4, records(log)[-1].hash).line()[:part]
    with log.path.open("ab") as f:
        f.write(torn)
    assert "cannot be read" in str(faults(log)[0])
    log.append(Entry("gate", "digits", reason="after"))
    found = records(log)
    assert [r.entry.kind for r in found[4:]] == ["repair", "gate"] and found[4].entry.data["bytes"] == len(torn)
    assert (log.root / found[4].entry.data["file"]).read_bytes() == torn
    assert "stopped in the middle" in caplog.text
    assert faults(log) == []


def test_each_of_400_changes_of_one_byte_is_found_at_its_record(log: FolderLog) -> None:
    filled(log)
    whole = log.path.read_bytes()
    lines, head = log.read()
    pick = random.Random(18)
    for _ in range(400):
        at = pick.randrange(len(whole))
        changed = bytearray(whole)
        changed[at] = pick.choice([b for b in range(256) if b != whole[at]])
        log.path.write_bytes(changed)
        record = whole[:at].count(b"\n")
        found = verify(*log.read())
        assert found and record in numbers(found), (at, whole[at : at + 1], bytes(changed[at : at + 1]), found)
    log.path.write_bytes(whole)
    assert log.read() == (lines, head)
    for at in range(log.head_path.stat().st_size - 1):  # its last byte is the end of the line
        good = log.head_path.read_bytes()
        log.head_path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert faults(log) or json.loads(log.head_path.read_bytes())["log"] != json.loads(good)["log"], at
        log.head_path.write_bytes(good)


def rewrite(log: FolderLog, lines: list[bytes]) -> list[Fault]:
    log.path.write_bytes(b"".join(line + b"\n" for line in lines))
    return faults(log)


def test_records_removed_repeated_reordered_or_cut_off_are_found_and_named(log: FolderLog) -> None:
    lines = filled(log).read()[0]
    for i in range(11):
        assert numbers(rewrite(log, lines[:i] + lines[i + 1 :])) == [i]
        assert numbers(rewrite(log, [*lines[: i + 1], *lines[i:]])) == [i]
        assert i in numbers(rewrite(log, [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]))
        assert [str(f) for f in rewrite(log, lines[: i + 1])] == [
            f"record {i + 1}: {f'{i + 1} to 11 were' if i < 10 else '11 was'} cut off at the end: {log.head_path} names 11"
        ]
    assert numbers(rewrite(log, [])) == [0]
    log.path.unlink()
    assert numbers(faults(log)) == [0]


def test_a_record_written_anew_with_a_fitting_hash_does_not_fit_the_next(log: FolderLog) -> None:
    lines = filled(log).read()[0]
    old = Record.read(lines[5])
    forged = Record.make(Entry("gate", "digits", reason="all was well"), 5, old.before).line()
    assert numbers(rewrite(log, [*lines[:5], forged, *lines[6:]])) == [5]
    assert numbers(rewrite(log, [*lines[:11], Record.make(Entry("gate"), 11, Record.read(lines[10]).hash).line()])) == [11]


def test_what_was_cut_off_stays_missing_when_others_write_on(log: FolderLog) -> None:
    lines = filled(log).read()[0]
    rewrite(log, lines[:9])
    log.append(Entry("gate", reason="unaware"))
    assert numbers(faults(log)) == [9, 10, 11]


def test_a_log_without_its_head_is_not_called_whole(log: FolderLog) -> None:
    filled(log).head_path.unlink()
    assert "nothing shows that records were cut off" in str(faults(log)[0])


def test_a_registry_names_a_record_that_a_forged_head_hides(log: FolderLog) -> None:
    filled(log, 5)
    last = log.append(Entry("promotion", "digits"))
    kept = anchors([("digits@3", anchor(log, last)), ("digits@2", "f" * 64 + ":9:" + "e" * 64), ("digits@1", "nonsense")])
    assert verify(*log.read(), kept) == []
    lines = log.read()[0]
    log.path.write_bytes(b"".join(line + b"\n" for line in lines[:4]))
    log.head_path.unlink()
    log._note(Record.read(lines[3]))
    assert faults(log) == []
    assert [str(f) for f in verify(*log.read(), kept)] == ["record 4: 4 to 5 were removed: digits@3 names 5"]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("a file")
    with pytest.raises(AuditError, match="SLUICE_AUDIT=DIR"):
        FolderLog(tmp_path / "audit", tmp_path / "h").append(Entry("gate"))
    with pytest.raises(AuditError, match="no place for an audit log"):
        log_at("gs://bucket")


def test_the_place_is_the_environments_the_projects_or_the_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    assert open_log(home).where == str(tmp_path / "home/audit/log.jsonl")
    home.note_tracking(None, str(tmp_path / "project"))
    assert open_log(home).where == str(tmp_path / "project/log.jsonl")
    monkeypatch.setenv("SLUICE_AUDIT", str(tmp_path / "volume"))
    monkeypatch.setenv("SLUICE_AUDIT_HEAD", str(tmp_path / "elsewhere.json"))
    open_log(home).append(Entry("gate"))
    assert {p.name for p in (tmp_path / "volume").iterdir()} == {"log.jsonl", "lock"}
    assert (tmp_path / "elsewhere.json").exists()
