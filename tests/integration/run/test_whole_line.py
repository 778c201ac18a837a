"""The whole line: real rows to a promoted model, a second one through a canary, and the same digest for the same inputs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.core.home import Home
from sluice.core.warm.client import PLACE
from sluice.package.package import Store
from sluice.registry.versions import CHAMPION, Registry
from tests.tools import report_pictures
from tests.tools.long import long
from tests.tools.ui_server import served

#: A table that a network learns.
TABLE = Path(__file__).resolve().parents[3] / "examples" / "breast_cancer"

#: What each step's evidence has held since the first packages: a report, a client or a script of somebody's may read it. More may come.
SAID = {
    "validate_data": "checks columns decision labels objective reasons rows test_labels warnings",
    "preprocess": "columns digest labels objective rows shards split",
    "train": "best_epoch ended environment gradients history parameters plan rows run_id seconds stopped_early world_size",
    "export_onnx": "chosen digest formats rows",
    "evaluate": "cautions comparison digest evaluation floor precision",
    "register": "digest lineage model page run_id uri version",
    "rollout": "candidate cautions digest events load machine outcome phase seconds stable timeline version",
}
EVALUATION = (
    "calibration confidence confusion decision direction high low metric metrics minimum never_predicted per_label "
    "positive positive_because precision_recall roc rows slices unknown_labels value"
)

pytestmark = pytest.mark.timeout(600)
QUICK = ("--set", "rollout.minimum_requests=60")


def run(project: Path, home: Path, *args: str, expect: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "sluice", "run", str(project), "--home", str(home), "--json", *args],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def gate(home: Path, outcome: dict[str, Any], step: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((home / "runs" / outcome["run"] / "gates" / f"{step}.json").read_bytes())
    return found


def champion(home: Path, name: str) -> str:
    version = Registry(Home(home).tracking_uri).by_alias(name, CHAMPION)
    assert version is not None
    return version.digest


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("line") / "home"
    with pytest.MonkeyPatch.context() as alone:  # with all that a person's first run starts
        alone.delenv(PLACE, raising=False)
        return home, run(TABLE / "sluice.yaml", home, "--set", "train.epochs=15", *QUICK)


def test_the_first_model_goes_straight_to_stable(first: tuple[Path, dict[str, Any]]) -> None:
    home, outcome = first
    assert [s["step"] for s in outcome["steps"]] == [
        "validate_data",
        "preprocess",
        "train",
        "export_onnx",
        "evaluate",
        "register",
        "rollout",
    ]
    assert champion(home, "breast-cancer") == outcome["digest"]
    assert Store(home / "store").get(outcome["digest"]).metrics["accuracy"] > 0.8


@pytest.mark.parametrize("step", SAID)
def test_a_step_decides_and_says_what_it_always_has(first: tuple[Path, dict[str, Any]], step: str) -> None:
    found = gate(*first, step)
    assert found["decision"] == "pass" and set(SAID[step].split()) <= found["evidence"].keys()
    assert step != "evaluate" or set(EVALUATION.split()) <= found["evidence"]["evaluation"].keys()


def test_a_second_model_passes_a_canary_and_no_request_fails(first: tuple[Path, dict[str, Any]]) -> None:
    home, before = first
    outcome = run(TABLE / "sluice.yaml", home, "--set", "train.epochs=25", "--set", "train.seed=18", *QUICK)
    evidence = gate(home, outcome, "rollout")["evidence"]
    assert evidence["load"]["failed"] == 0
    assert evidence["load"]["sent"] >= 120
    assert evidence["stable"] == before["digest"]
    if shutil.which("chromium"):
        assert not report_pictures.look(Path(outcome["report"])), "who reads it by keyboard, by ear or on a phone"
    assert champion(home, "breast-cancer") == outcome["digest"] != before["digest"]
    assert "against the champion" in Path(outcome["report"]).read_text()


def test_the_same_inputs_give_the_same_package_after_the_home_is_gone(first: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, before = first
    again = run(TABLE / "sluice.yaml", tmp_path / "another-home", "--set", "train.epochs=15", *QUICK)
    assert again["digest"] == before["digest"]


def test_a_model_below_the_bar_is_refused_and_the_champion_stays(first: tuple[Path, dict[str, Any]]) -> None:
    home, _ = first
    serving = champion(home, "breast-cancer")
    outcome = run(TABLE / "sluice.yaml", home, "--set", "train.epochs=1", "--set", "evaluate.minimum=0.999", *QUICK, expect=3)
    assert (outcome["outcome"], outcome["gate"]) == ("refused", "evaluate")
    assert "0.999" in outcome["reasons"][0]
    assert champion(home, "breast-cancer") == serving


def test_a_worse_model_that_reaches_traffic_is_rolled_back_and_the_champion_stays(first: tuple[Path, dict[str, Any]]) -> None:
    home, _ = first
    serving = champion(home, "breast-cancer")
    outcome = run(
        TABLE / "sluice.yaml",
        home,
        "--set",
        "train.epochs=1",
        "--set",
        "train.class_weights={malignant: 1000000}",
        "--set",
        "evaluate.minimum=null",
        "--set",
        "evaluate.margin=1.0",
        "--set",
        "evaluate.baselines.on_no_better=warn",
        "--set",
        "export.max_loss=1.0",
        expect=4,
    )
    assert outcome["outcome"] == "rolled_back"
    assert outcome["reasons"]
    assert champion(home, "breast-cancer") == serving
    assert gate(home, outcome, "rollout")["evidence"]["load"]["failed"] == 0


@long
def test_whoever_watches_sends_the_model_that_was_rolled_back_out_again(first: tuple[Path, dict[str, Any]]) -> None:
    """Of the one before: the page's button, which starts what `sluice rollout retry` is."""
    home, _ = first
    with served(home, "--actions") as ui, contextlib.closing(ui.signed_in()) as actor:
        page = actor.get("/rollouts/breast-cancer").text
        assert "Try again" in page and "rolled back" in page
        csrf = actor.get("/").text.partition('name="csrf" value="')[2].partition('"')[0]
        told = actor.post("/rollouts/breast-cancer/retry", data={"csrf": csrf}, headers={"origin": ui.url})
        assert told.status_code == 303, told.text
        log = home / "rollouts" / "breast-cancer" / "retry.log"
        until = time.monotonic() + 300
        while not (said := log.read_text().strip()):
            assert time.monotonic() < until, "it goes on as a process of its own and says how it ended"
            time.sleep(0.5)
        assert orjson.loads(said)["outcome"] == "rolled_back", "it is no better than it was"
        assert "/retry" in actor.get("/rollouts/breast-cancer").text, "and may be tried again"
