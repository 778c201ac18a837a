"""What carries out a rollout: one interface, whatever moves the traffic, on this machine and on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluice.core.registry import Registry
from sluice.rollouts.state import Arm, Routed

#: What a back-end may be able to do: send copies of requests to a model that answers nobody, keep each user with one model, split traffic by weights.
MIRROR, STICKY, SPLIT = "mirror", "sticky", "split"

#: By name; those on a cluster are the controller's (`serving.controller.rollouts.backends`), others come as entry points ``sluice.backends``.
BACKENDS = Registry("backend", {"Local": "sluice.rollouts.local:LocalBackend"})


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

    Attributes:
        can: of `MIRROR`, `STICKY` and `SPLIT` what it is able to do; a plan asks for nothing else of it.
    """

    @property
    def can(self) -> frozenset[str]:
        """What it is able to do."""

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

    def adopt(self) -> tuple[str, str] | None:
        """(digest, uri) of a model that serves already under the rollout's name, from before its state knew of it; None: there is none."""
        ...

    def leave(self, stable: str | None) -> None:
        """The rollout is no longer wanted: on a cluster `stable` serves on without it, on this machine everything that was started ends."""
        ...
