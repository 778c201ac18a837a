"""What is watched after the rollout: the prediction log, its windows, drift, and when to train again.

Public: `PredictionLog`, `DriftMonitor`, `profile_of`, `MonitorConfig`, `Drift`, `Window`, `Verdict`, `Score`, `Alarm`; imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluice.monitor.config import Drift, MonitorConfig, Window
    from sluice.monitor.drift import DriftMonitor
    from sluice.monitor.log import PredictionLog
    from sluice.monitor.reference import profile_of
    from sluice.monitor.verdict import Alarm, Score, Verdict

__all__ = ["Alarm", "Drift", "DriftMonitor", "MonitorConfig", "PredictionLog", "Score", "Verdict", "Window", "profile_of"]

_WHERE = {
    "Alarm": "verdict",
    "Drift": "config",
    "DriftMonitor": "drift",
    "MonitorConfig": "config",
    "PredictionLog": "log",
    "Score": "verdict",
    "Verdict": "verdict",
    "Window": "config",
    "profile_of": "reference",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"sluice.monitor.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
