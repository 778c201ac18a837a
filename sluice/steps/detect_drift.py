"""The step `detect_drift`: a prediction log against the profile of the model that answered, and its answers against the labels that came since.

From where the last run of it stopped, by the code of `sluice monitor` and of the controller.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sluice.core.errors import DataError
from sluice.core.gate import Gate
from sluice.monitor import keep, quality_watch, report
from sluice.monitor.config import MonitorConfig
from sluice.monitor.log import PredictionLog
from sluice.monitor.watch import Watch
from sluice.package.package import Package

TITLE = "Drift"
#: Windows whose parts stand in a gate's evidence.
_HISTORY = 100


def detect_drift(package: Package, log: str, config: MonitorConfig, *, model: str = "", kept: str = "", again: bool = False) -> Gate:
    """Read the log on, judge the windows that closed, and refuse where an alarm stands, or labels say that the answers are worse.

    Args:
        package: the model that answered; its profile is what its answers' rows are compared with, and only its version's rows count.
        log: a folder or ``s3://bucket/prefix``, as the server's ``--log``.
        config: `monitor:` of the project.
        model: its name in the log; "": the package's.
        kept: a file, or ``s3://bucket/key.json``, that says where the last run stopped, what labels said beside it (KEY-quality.json); "": from the beginning, each time.
        again: from the beginning, whatever is kept.

    Raises:
        DataError: the package has no profile, or the log cannot be read.
    """
    profile = package.profile()
    if profile is None:
        raise DataError("has no profile of its training rows", field="package", value=package.name, fix="train it again with this version")
    name = model or package.name
    with tempfile.TemporaryDirectory(prefix="sluice-drift-") as folder:
        where = kept or str(Path(folder) / "kept.json")
        found = Watch(profile, config, PredictionLog(log, name, version=package.digest), where).look(again=again).to_dict()
        found |= quality_watch.of_package(package, config, log, name, keep.beside(where), again=again)
        found["faults"] = [*found["faults"], *found.pop("unread")]
    evidence: dict[str, Any] = {**found, "history": found["history"][-_HISTORY:], "model": name, "digest": package.digest}
    wrong = tuple((found["quality"] or {}).get("wrong", ()))
    reasons = (*(a["text"] for a in found["standing"]), *wrong) or (report.headline(found),)
    return Gate("detect_drift", "refuse" if wrong else found["decision"], reasons, evidence)


def section(evidence: dict[str, Any]) -> str:
    """Its page's body, from its gate's evidence."""
    return report.body(str(evidence["model"]), evidence)
