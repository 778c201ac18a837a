"""A package becomes a version of the model, with its lineage."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from components import STARTED
from sluice.audit.log import ANCHOR
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.package import package as packages
from sluice.package.store import default_store
from sluice.registry.environments import GATES, decided
from sluice.registry.versions import CANDIDATE, Registry
from sluice.steps.execute import open_project, run_step
from sluice.tracking.card import Card
from sluice.tracking.tracker import tracking_uri


def run(project: str, base_dir: str, home: str, run_id: str, *, package_path: str, gates: Sequence[str], gate_path: str) -> str:
    """Returns the package digest. `gates`: what the steps before handed on of theirs, JSON, in pipeline order."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        place = Home(home or None)
        store = default_store(place)
        package = store.add(packages.read(Path(package_path)))
        lineage = {
            "code": package.provenance.get("code", ""),
            "config": settings.digest,
            "data": package.provenance.get("data", ""),
            "git": git_commit(base),
        }
        registry, passed = Registry(tracking_uri(settings, place)), [Gate.of(json.loads(g)) for g in gates]
        version = registry.register(
            settings.name,
            package.digest,
            store.uri(package.digest),
            metrics=package.metrics,
            tags={f"sluice.{k}": v for k, v in lineage.items() if v} | {"sluice.precision": package.precision, GATES: decided(passed)},
            run_id=run_id or None,
            card=Card(package, settings.data.source, passed, lineage),
        )
        registry.set_alias(settings.name, CANDIDATE, version.number)
        told = f"{settings.name} version {version.number}, sha256:{package.digest[:12]}"
        return Gate(
            "register",
            "pass",
            (told, *filter(None, [registry.note])),
            {
                "model": settings.name,
                "version": version.number,
                "digest": package.digest,
                "uri": version.uri,
                "lineage": lineage,
                "gates": {g.step: g.decision for g in passed},
                "run_id": run_id,
                "page": registry.page(version),
            },
        )

    def anchored(gate: Gate, tag: str) -> None:
        settings, _ = open_project(project, base_dir)
        registry = Registry(tracking_uri(settings, Home(home or None)))
        registry.tag(settings.name, gate.evidence["version"], {ANCHOR: tag})

    gate = run_step(work, gate_path, step="register", started=STARTED, kind="registration", anchored=anchored)
    return str(gate.evidence["digest"])


def git_commit(folder: Path) -> str:
    """The commit the project file's folder is at, ``-dirty`` where files differ from it; empty outside git."""

    def git(*args: str) -> str:
        try:
            out = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return out.stdout.strip() if out.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    return commit + "-dirty" * bool(commit and git("status", "--porcelain", "--untracked-files=no", "."))
