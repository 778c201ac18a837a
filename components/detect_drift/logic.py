"""A prediction log against the profile of the model that answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.core.section import checked
from sluice.kfp.struct import from_struct
from sluice.monitor.config import MonitorConfig
from sluice.package import package as packages
from sluice.package.store import open_store
from sluice.report.page import document
from sluice.steps.detect_drift import detect_drift, section
from sluice.steps.execute import run_step


def run(package: str, log: str, *, model: str, monitor: Mapping[str, Any], kept: str, home: str, gate_path: str, report_path: str) -> Gate:
    """The step: a gate with the last windows' distances as evidence, and a page; refused where an alarm stands."""

    def work() -> Gate:
        # KFP carries an object's numbers as floats; the sections say which are whole.
        config = checked(MonitorConfig, from_struct({"monitor": dict(monitor)}, where="monitor").get("monitor", {}), "monitor")
        assert isinstance(config, MonitorConfig)
        directory = Path(package)
        found = (
            packages.read(directory)
            if directory.is_dir()
            else open_store(package, Home(home or None)).get(package.rstrip("/").rsplit("/", 1)[-1])
        )
        return detect_drift(found, log, config, model=model, kept=kept)

    gate = run_step(work, gate_path, step="detect_drift")
    files.write_text(Path(report_path), document(f"drift: {gate.decision}", section(gate.evidence)))
    return gate
