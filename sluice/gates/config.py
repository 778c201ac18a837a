"""`evaluate:` in the project file: put together from the checks of the step."""

from __future__ import annotations

from sluice.core.check import OwnChecks
from sluice.gates.anchor import AnchorConfig
from sluice.gates.bar import BarConfig
from sluice.gates.behaviour.check import BehaviourConfig
from sluice.gates.champion import ChampionConfig
from sluice.gates.drift import DriftConfig
from sluice.gates.fairness import FairConfig
from sluice.gates.floor import FloorConfig
from sluice.gates.highlights import HighlightedConfig
from sluice.gates.importance import ImportancesConfig
from sluice.gates.reliability import ReliabilityConfig
from sluice.gates.robustness import RobustConfig
from sluice.gates.slice_champion import SliceChampionConfig
from sluice.gates.slices import SlicesConfig
from sluice.gates.thresholds import ThresholdsConfig


class EvaluateConfig(
    OwnChecks,
    FloorConfig,
    BehaviourConfig,
    FairConfig,
    SliceChampionConfig,
    SlicesConfig,
    ChampionConfig,
    AnchorConfig,
    DriftConfig,
    RobustConfig,
    ImportancesConfig,
    HighlightedConfig,
    ReliabilityConfig,
    ThresholdsConfig,
    BarConfig,
):
    """The bar a model has to clear, and how it is compared with the champion."""
