"""Models that are watched, as the page tells of them: what labels said stands beside what has moved, and is an alarm like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluice.core import files
from sluice.core.home import Home
from sluice.ui.monitors import of_home, of_resource
from tests.tools import ui_home

STEM = f"intents-{ui_home.digest_of(3)[:12]}"
GOOD = "accuracy of the last 500 labelled rows is 0.91 (0.88 to 0.93)"


def kept(tmp_path: Path, last: Any, moved: float = 0.0) -> Home:
    home = Home(tmp_path).create()
    ui_home.monitor(home, "intents", moved)
    files.write_json(home.root / "monitor" / f"{STEM}-quality.json", {"format": "sluice.quality/v1", "by": "x", "state": {}, "last": last})
    files.write_json(home.root / "monitor" / "intents-retraining.json", {"format": "sluice.retraining/v1"})
    return home


def test_files_that_stand_beside_a_monitor_are_no_monitors_of_their_own(tmp_path: Path) -> None:
    (found,) = of_home(kept(tmp_path, None))
    assert (found.name, found.word, found.alarms, found.more) == ("intents", "quiet", [], {})


@pytest.mark.parametrize("moved", [0.0, 0.02])
def test_errors_that_rose_are_an_alarm_whether_or_not_something_moved(tmp_path: Path, moved: float) -> None:
    (found,) = of_home(kept(tmp_path, {"said": "x", "wrong": ["answers are wrong more often since noon"], "maybe": ""}, moved))
    assert found.word == "alarm" and found.alarms[0] == "answers are wrong more often since noon"
    assert found.said == ("2 alarms stand" if moved else "1 alarm stands")


def test_a_suspicion_is_told_and_is_no_alarm(tmp_path: Path) -> None:
    (found,) = of_home(kept(tmp_path, {"said": GOOD, "wrong": [], "maybe": "answers may be wrong more often since noon"}))
    assert found.word == "quiet" and found.more == {"labels": f"{GOOD}; answers may be wrong more often since noon"}


def test_what_labels_said_and_cannot_be_read_hides_no_drift(tmp_path: Path) -> None:
    home = kept(tmp_path, None, 0.02)
    (home.root / "monitor" / f"{STEM}-quality.json").write_text("{")
    (found,) = of_home(home)
    assert found.word == "alarm" and "is not JSON" in found.more["labels"]


@pytest.mark.parametrize(
    ("kind", "said"), [("Drifted", "age moved"), ("Degraded", "quality is under its floor"), ("ErrorsRose", "answers are wrong more often")]
)
def test_every_condition_of_a_cluster_that_warns_is_an_alarm(kind: str, said: str) -> None:
    status = {
        "phase": "Watching",
        "alarm": "age moved",
        "conditions": [{"type": kind, "status": "True"}, {"type": "Synced", "status": "True"}],
    }
    found = of_resource({"metadata": {"name": "watch"}, "spec": {"model": "intents"}, "status": status})
    assert found.word == "alarm" and found.alarms == [said]
