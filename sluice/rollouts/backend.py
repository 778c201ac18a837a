"""What carries out a rollout: one interface, whatever moves the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluice.rollouts.state import Arm, Routed


@dataclass(frozen=True)
class View:
    """What a back-end sees at one moment; the fields are those of `Observations`."""

    arms: Mapping[str, Arm] = field(default_factory=dict)
    routed: Routed | None = None
    present: frozenset[str] | None = None
    error: str | None = None
    limit: str | None = None
    pace: float = 1.0


class Backend(Protocol):
    """Moves traffic between models named by digest.

    Each call asks for a state, may be repeated at will, and returns without waiting for it: the
    effect shows in a later `observe`. A call that fails raises `SluiceError` or ``OSError``; the
    driver notes it and asks again.
    """

    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Look at both arms and at the router; what cannot be measured goes into `View.error`."""
        ...

    def launch(self, digest: str) -> None:
        """Have this model running, without traffic."""
        ...

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Send traffic by these per cents, and copies of each request to `mirror`."""
        ...

    def retire(self, digest: str) -> None:
        """Remove this model once nothing is in flight to it."""
        ...
