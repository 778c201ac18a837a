"""A temporary folder whose process was killed is removed by the next one that needs such a folder; one that is in use is not."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sluice.core.scratch import scratch

_HOLDS = """
import sys
from sluice.core.scratch import scratch
with scratch("sluice-trial-") as folder:
    (folder / "rows").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "sluice-trial-of-another-kind").mkdir()
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    theirs = Path(process.stdout.readline().strip())
    with scratch("sluice-trial-") as mine:
        assert theirs.parent == mine.parent == tmp_path
        assert (theirs / "rows").exists()
    assert not mine.exists()
    process.kill()
    process.communicate()
    assert (theirs / "rows").exists()
    with scratch("sluice-other-"):
        assert theirs.exists()
    with scratch("sluice-trial-") as mine:
        assert not theirs.exists()
        assert mine.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["sluice-trial-of-another-kind"]
