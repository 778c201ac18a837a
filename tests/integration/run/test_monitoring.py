"""The monitoring pipeline, run by kfp's own local runner on a real package and a log, twice: the second run goes on from the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from kfp import local

from pipelines.monitoring import monitoring_pipeline
from sluice.core import files
from sluice.core.gate import Gate
from sluice.monitor import profile_of
from tests.unit.serving import builders
from tests.unit.watching.test_monitor_command import KINDS, people, write


def test_a_log_that_moves_is_refused_and_read_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "p").mkdir()
    files.write_json(tmp_path / "p" / "profile.json", profile_of(people(rng, 4000), KINDS, ["a"] * 4000))
    package = builders.tabular(tmp_path / "p")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    for second, older, decision, new in ((1, 0.0, "pass", 1100), (2, 9.0, "refuse", 1100)):
        write(tmp_path / "log", package.digest, second, people(rng, 1100, older))
        monitoring_pipeline(
            package=str(package.root), log=str(tmp_path / "log"), kept=str(tmp_path / "kept.json"), monitor={"window": {"rows": 300}}
        )
        gate = Gate.read(max((tmp_path / "root").glob("*/detect-drift/gate"), key=lambda p: p.stat().st_mtime))
        assert (gate.decision, gate.evidence["new_rows"]) == (decision, new)
    assert "age has moved" in gate.reasons[0] and gate.evidence["rows"] == 2200
    page = max((tmp_path / "root").glob("*/detect-drift/report"), key=lambda p: p.stat().st_mtime).read_text()
    assert "<svg" in page and "age has moved" in page
