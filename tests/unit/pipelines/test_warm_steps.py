"""Steps that kfp.local runs in forks of the warm process: whatever one does ends that one alone."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from pipelines.local import _kfp, _Sink
from sluice.client.display import Display
from sluice.core.warm.start import Plan, Warm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are used on Linux alone")

PLAN = Plan("kfp.dsl.executor_main", shared=("kfp.dsl.executor",), env={"_KFP_RUNTIME": "true"})


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def step(code: str) -> str:
    """Does what it is told."""
    import sys

    print("warm:", "sluice.core.warm.child" in sys.modules)
    exec(code)
    return "done"


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def behind(said: str) -> str:
    """Is there to run, or not."""
    print("behind, after", said)
    return said


@pytest.fixture(scope="module")
def pipeline() -> Any:
    @dsl.pipeline(name="two")
    def two(code: str) -> None:
        behind(said=step(code=code).output)

    return two


def run(pipeline: Any, code: str, root: Path) -> tuple[str, bool]:
    """The run's log, and whether the pipeline came to its end."""
    log = io.StringIO()
    sink = _Sink(log, Display(quiet=True), "0" * 32)
    warm = Warm(PLAN)
    ended = True
    with _kfp(root, sink, log, "0" * 32, {}), warm.in_use():
        try:
            pipeline(code=code)
        except RuntimeError:
            ended = False
    warm.stop()
    return log.getvalue(), ended


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(7)",
        "import sys; sys.exit(3)",
        "import os; os.kill(os.getpid(), 9)",
        "raise ValueError('no good')",
        "import ctypes; ctypes.string_at(0)",
    ],
)
def test_a_step_that_dies_is_a_failed_task_and_nothing_behind_it_runs(pipeline: Any, code: str, tmp_path: Path) -> None:
    log, ended = run(pipeline, f"print('began', flush=True); {code}", tmp_path)
    assert not ended
    assert "warm: True" in log
    assert "began" in log
    assert "behind, after" not in log
    assert ("ValueError: no good" in log) == ("ValueError" in code)


def test_what_a_step_is_told_reaches_it_as_it_is(pipeline: Any, tmp_path: Path) -> None:
    log, ended = run(pipeline, "print('it was', '/opt/python3.11/model', 'and', 'pip install x')", tmp_path)
    assert ended and "it was /opt/python3.11/model and pip install x" in log and "warm: True" in log


def test_a_step_that_ends_well_hands_on_its_output_with_a_child_still_about(pipeline: Any, tmp_path: Path) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '3'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    log, ended = run(pipeline, code, tmp_path)
    assert ended
    assert "behind, after done" in log
    assert "plain process" not in log
