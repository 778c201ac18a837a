"""What killed warm processes leave on the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sluice.core.warm import start
from sluice.core.warm.start import Plan, Warm


class TestFoldersOfTheKilled:
    def test_they_are_removed_and_those_in_use_are_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with tempfile.TemporaryDirectory() as short:  # a socket's path has at most 107 characters
            monkeypatch.setattr(tempfile, "tempdir", short)
            dead, young = Path(short, "sluice-warm-dead"), Path(short, "sluice-warm-young")
            for place in (dead, young):
                place.mkdir()
                start._listen(place / "default.sock").close()
            os.utime(dead, (0, 0))
            used = Warm(Plan("work", shared=()))
            assert used._place is not None
            os.utime(used._place, (0, 0))
            start._forget_old()
            there = used._place.exists()
            used.stop()
            assert (dead.exists(), young.exists(), there) == (False, True, True)
