"""What a candidate is compared with, and what was compared before: the champion, the anchor, the ledger."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from typing import Any

from sluice.core.errors import PackageError, SluiceError
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.gates.ledger import HeldOut, Line, shift
from sluice.package.package import Package
from sluice.package.store import open_store
from sluice.project import Project
from sluice.registry import anchor, ledger
from sluice.registry.serving import BY
from sluice.registry.versions import CHAMPION, Registry, Version
from sluice.rollouts.handover import serving
from sluice.rollouts.manifest import target
from sluice.tracking.tracker import tracking_uri


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a candidate meets.

    Attributes:
        registry, name: where what is found is written down.
        held_out: the rows.
        version: of the champion; None where there is none, or it cannot be read here.
        anchored: of the anchor; None where there is no champion.
        champion, champion_note, anchor, anchor_note, before, refused, decline: as `sluice.gates.facts.Judged` has them.
    """

    registry: Registry
    name: str
    held_out: HeldOut
    version: Version | None
    anchored: Version | None
    champion: Package | None
    champion_note: str
    anchor: Package | None
    anchor_note: str
    before: float
    refused: int
    decline: float = 0.0

    def keep(self, candidate: str, evidence: Mapping[str, Any]) -> None:
        """Write down what was compared; where the anchor can be compared no more the champion takes its place.

        Raises:
            RegistryFault: the registry did not answer, or refused.
        """
        compared, against = evidence.get("comparison"), evidence.get("anchor") or {}
        if self.version is None or not compared or candidate == self.version.digest:
            return
        apart = self.anchored.digest if self.anchor is not None and self.anchored is not None else ""
        at, metric = int(time.time() * 1000), str(compared["metric"])
        verdicts = (str(compared["verdict"]), str(against.get("verdict") or ""))
        moved = shift(against if apart else compared)
        ledger.add(self.registry, self.name, Line(at, self.held_out, candidate, self.version.digest, apart, metric, *verdicts, shift=moved))
        if against.get("lost") and apart:
            anchor.move(self.registry, self.name, self.version, self.anchored, str(against["lost"]).partition(";")[0])


def standing(settings: Project, home: Home, dataset: Dataset, candidate: str) -> Standing:
    """Raises `PackageError` where the champion's package is lost, `RegistryFault` where the registry does not answer."""
    registry, name, held_out = Registry(tracking_uri(settings, home)), settings.name, HeldOut.test_of(dataset)
    version = champion_version(registry, name)
    champion, note = champion_package(version, name, home)
    if version is None or champion is None:
        return Standing(registry, name, held_out, None, None, None, note, None, "", 0.0, 0)
    past = ledger.read(registry, name)
    best, said = anchor.settle(registry, name, version, past)
    package = None
    if best.digest != version.digest:
        try:
            package = open_store(best.uri, home).get(best.digest)
        except PackageError as e:
            said = anchor.move(registry, name, version, best, f"the package of the anchor before it cannot be read: {e.message}")
            best = version
    before, tries = past.before(held_out, candidate), (past.refused(best.digest, candidate), past.decline(best.digest, candidate, held_out))
    return Standing(registry, name, held_out, version, best, champion, note, package, said, before, *tries)


def champion_version(registry: Registry, name: str) -> Version | None:
    """On a cluster what serves, where it can be asked for and has a version: the registry may be behind. Else the registry's champion."""
    where, digest = target(), None
    if where is not None:
        try:
            digest = serving(name, where)
        except SluiceError as e:
            print(f"what serves could not be asked for, the registry's champion is taken: {e}", file=sys.stderr)
    return (registry.by_digest(name, digest) if digest else None) or registry.by_alias(name, CHAMPION)


def champion_package(version: Version | None, name: str, home: Home) -> tuple[Package | None, str]:
    """The model in production, and why there is none if there is none."""
    if version is None:
        return None, "there is no champion yet: this is the first model"
    try:
        return open_store(version.uri, home).get(version.digest), f"version {version.number}, {version.digest[:12]}"
    except PackageError as e:
        if BY in version.tags:
            # Applied by hand, from where only KServe can fetch: no run could do anything about it.
            return (
                None,
                f"the champion, version {version.number}, was registered by {version.tags[BY]} and cannot be read here, so nothing was compared: {e.message}",
            )
        raise PackageError(
            f"the champion's package cannot be read: {e.message}",
            field=f"{name}@{CHAMPION}",
            value=version.digest,
            fix="put the package back into the store, or drop the alias `champion` in the registry to start anew",
        ) from e
