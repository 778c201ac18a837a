"""Roll a candidate out: on a cluster by its rollout controller, on this machine by two real servers behind a real Envoy."""

from __future__ import annotations

import base64
import importlib
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from components import STARTED
from sluice.audit.log import ANCHOR
from sluice.core import events, files
from sluice.core.errors import SluiceError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.engines.rows import rows_from_arrow, spelled_by
from sluice.fields import processor_class
from sluice.package.beside import SIGNATURE
from sluice.package.package import Package
from sluice.package.store import open_store
from sluice.problems.problem import problem
from sluice.project import Project
from sluice.registry.environments import DEV, put_in
from sluice.registry.serving import OUTCOME, REASON
from sluice.registry.versions import CANDIDATE, CHAMPION, Registry, Version
from sluice.report import page
from sluice.rollouts import again
from sluice.rollouts.handover import hand_over
from sluice.rollouts.judge import WARNING
from sluice.rollouts.local import Request, RolloutResult, run_local
from sluice.rollouts.manifest import Target, target
from sluice.rollouts.spec import CostMargin, RolloutSpec
from sluice.rollouts.watched import asked, watch
from sluice.steps.execute import open_project, run_step
from sluice.tasks import import_task
from sluice.tracking.tracker import tracking_uri

#: The server is a process to this step, never an import.
SERVER = (sys.executable, "-m", "serving.runtime")


def run(project: str, base_dir: str, home: str, digest: str, *, dataset_path: str, report_path: str, gate_path: str) -> str:
    """Returns ``promoted`` or ``rolled_back``."""
    return _step(
        project, base_dir, home, digest, lambda: again.sample(Dataset.open(Path(dataset_path)).read("test")), report_path, gate_path
    )


def retry(home: str, name: str, *, project: str, report_path: str, gate_path: str) -> str:
    """Make the last rollout of a name in this home again, under the plan in `project`; returns as `run` does."""
    kept = again.kept(Home(home).root, name)
    return _step(project, kept.base_dir, home, kept.digest, kept.table, report_path, gate_path)


def _step(project: str, base_dir: str, home: str, digest: str, rows: Callable[[], pa.Table], report_path: str, gate_path: str) -> str:
    def work() -> Gate:
        settings, beside = open_project(project, base_dir)
        settings = billed(settings, beside)
        place = Home(home or None)
        registry = Registry(tracking_uri(settings, place))
        candidate = registry.by_digest(settings.name, digest)
        if candidate is None:
            raise SluiceError(
                "is not in the registry: was it registered in another one?",
                field="digest",
                value=digest,
                fix=f"every step must be given the same MLFLOW_TRACKING_URI; this one asked {registry.uri}",
            )
        if (where := target()) is not None:
            return handed_over(registry, settings, candidate, where, signature_of(candidate, place), project)
        champion = registry.by_alias(settings.name, CHAMPION)
        if champion and champion.digest == digest:
            registry.drop_alias(settings.name, CANDIDATE, candidate.number)
            return Gate(
                "rollout",
                "pass",
                ("this very package is the champion already: nothing to roll out",),
                {"outcome": "promoted", "version": champion.number, "digest": digest, "unchanged": True},
            )
        keep = partial(again.keep, place.root, settings.name, project=project, base_dir=base_dir, digest=digest)
        result = roll_out(settings, place, candidate, champion, rows, keep)
        return gate_of(settle(registry, settings.name, candidate, champion, result), candidate, champion.digest if champion else None)

    def anchored(gate: Gate, tag: str) -> None:
        settings, _ = open_project(project, base_dir)
        Registry(tracking_uri(settings, Home(home or None))).tag(settings.name, gate.evidence["version"], {ANCHOR: tag})

    gate = run_step(work, gate_path, step="rollout", started=STARTED, kind="rollout", anchored=anchored)
    files.write_text(Path(report_path), page.step_page(gate))
    return str(gate.evidence["outcome"])


def billed(settings: Project, base_dir: Path | None) -> Project:
    """The project with a margin on what answers cost, where its task's are billed and `rollout.cost` is left out."""
    if not getattr(import_task(settings.task, base_dir), "billed", False) or "cost" in settings.rollout.model_fields_set:
        return settings
    return settings.model_copy(update={"rollout": settings.rollout.model_copy(update={"cost": CostMargin()})})


def gate_of(result: RolloutResult, candidate: Version, stable: str | None) -> Gate:
    """The step's gate, from how the rollout ended. `stable` is the digest that served before."""
    cautions = [r.removeprefix(WARNING) for r in result.reasons if r.startswith(WARNING)]
    return Gate(
        "rollout",
        "pass" if result.outcome == "promoted" else "refuse",
        tuple(r for r in result.reasons if not r.startswith(WARNING)) or ("ready and answering",),
        {
            **result.evidence,
            "cautions": cautions,
            "outcome": result.outcome,
            "version": candidate.number,
            "digest": candidate.digest,
            "stable": stable,
        },
    )


def on_event(event: dict[str, Any]) -> None:
    """Tell a rollout's note to whoever watches the step: an event ``progress`` with the note as its ``data``."""
    events.emit("progress", step="rollout", data=event)


def signature_of(candidate: Version, home: Home) -> str:
    """The signature that lies beside a package; empty for none. A store that is away is told by the controller's refusal, not here."""
    try:
        return ((open_store(candidate.uri, home).proof(candidate.digest) or {}).get(SIGNATURE) or b"").decode()
    except SluiceError as e:
        print(f"the package's signature could not be read: {e}", file=sys.stderr)
        return ""


def handed_over(registry: Registry, settings: Project, candidate: Version, where: Target, signature: str = "", project: str = "") -> Gate:
    """By the controller of the environment this step is told of. It also says who is champion, where it follows a registry: what serves is the truth.

    A model that is promoted is watched from then on, where its project or the environment asks for it.
    """
    watched = asked(settings.monitor, where)
    result = hand_over(
        settings.name, candidate.digest, candidate.uri, settings.rollout, where, signature=signature, logged=watched, on_event=on_event
    )
    if watched and result.outcome == "promoted" and not settings.rollout.dry_run:
        told = watch(settings.name, settings.monitor, project, where)
        result = replace(result, reasons=(*result.reasons, *(WARNING + t for t in told)), evidence={**result.evidence, "watched": not told})
    followed, stable = result.evidence["registry"], result.evidence["stable"]
    if followed is None:
        champion = registry.by_digest(settings.name, stable) if stable else None
        result = settle(registry, settings.name, candidate, champion, result)
    else:
        registry.drop_alias(settings.name, CANDIDATE, candidate.number)
        if result.outcome == "promoted" and (why := disagreement(registry, settings.name, candidate, followed)):
            result = replace(result, reasons=(*result.reasons, WARNING + why))
    return gate_of(result, candidate, stable)


def disagreement(registry: Registry, name: str, candidate: Version, followed: Mapping[str, Any]) -> str | None:
    """Why the registry does not show what serves, and what becomes of it; None where it does."""
    if not followed["agrees"]:
        return f"it serves, and the registry does not show it yet: {followed['message']}; the controller sees to it"
    champion = registry.by_alias(name, CHAMPION)
    if champion is not None and champion.digest == candidate.digest:
        return None
    return (
        f"it serves, and is not the champion in {registry.uri}: the controller follows another registry ({followed['message']}); "
        "give it and the steps one MLFLOW_TRACKING_URI"
    )


def roll_out(
    settings: Project, home: Home, candidate: Version, champion: Version | None, held_out: Callable[[], pa.Table], keep: Callable[..., None]
) -> RolloutResult:
    """Here, with held-out rows as traffic, which are kept for another try."""
    package = open_store(candidate.uri, home).get(candidate.digest)
    stable = open_store(champion.uri, home).get(champion.digest) if champion else None
    table = held_out()
    keep(rows=table)
    server = [
        *SERVER,
        "--workers",
        str(settings.serve.workers),
        "--threads",
        str(settings.serve.threads),
        "--max-batch",
        str(settings.serve.max_batch),
    ]

    plan, caution = plan_of(settings.rollout, package, stable)
    result = run_local(
        settings.name,
        plan,
        stable=stable.root if stable else None,
        candidate=package.root,
        server=server,
        requests=requests_of(package, settings.name, table, stable, judges_of(settings, package, table)),
        home=home.root,
        on_event=on_event,
    )
    return replace(result, reasons=(*result.reasons, WARNING + caution)) if caution else result


def plan_of(plan: RolloutSpec, package: Package, stable: Package | None) -> tuple[RolloutSpec, str | None]:
    """The plan as this candidate needs it, and what to say of it.

    Models that choose their label by another rule (a threshold where there was none, another aim) answer other shares of each label on purpose:
    unless the project itself sets `rollout.shift`, that is not held against the new one.
    """
    if stable is None or plan.shift is None or "shift" in plan.model_fields_set:
        return plan, None
    ours, theirs = ((p.rule.label, p.rule.aim) if p.rule else None for p in (package, stable))
    if ours == theirs:
        return plan, None
    return plan.model_copy(
        update={"shift": None}
    ), "label shares were not compared: the models choose their label by different rules (evaluate.decision)"


def readable(table: pa.Table, packages: Sequence[Package]) -> pa.Table:
    """The rows with the features every package takes: what a client sends while an older model still serves."""
    for package in packages:
        known = processor_class(package.preprocess).names(package.preprocess)
        if known is not None:
            table = table.select([n for n in table.schema.names if n in {*known, "row_id", "label"}])
    return table


def settle(registry: Registry, name: str, candidate: Version, champion: Version | None, result: RolloutResult) -> RolloutResult:
    """Move the aliases: the champion changes only when the candidate was promoted, and is still the one it was compared with."""
    if result.outcome == "promoted":
        now = registry.by_alias(name, CHAMPION)
        if now is not None and now.number not in (candidate.number, champion.number if champion else None):
            why = f"version {now.number} became the champion meanwhile, and was not what this one was compared with"
            result = replace(result, outcome="rolled_back", reasons=(why, *result.reasons))
        else:
            put_in(registry, candidate, DEV, "; ".join(result.reasons))
            return result
    registry.tag(name, candidate.number, {OUTCOME: result.outcome, REASON: "; ".join(result.reasons)[:4000]})
    registry.drop_alias(name, CANDIDATE, candidate.number)
    return result


def judges_of(settings: Project, package: Package, table: pa.Table) -> list[Callable[[bytes], float | None]] | None:
    """How an answer to each row is judged, where a label alone does not say it."""
    module, _, name = problem(package.objective).replayed_by.partition(":")
    return getattr(importlib.import_module(module), name)(settings, package, table) if module else None


def requests_of(
    package: Package,
    name: str,
    table: pa.Table,
    stable: Package | None = None,
    judges: Sequence[Callable[[bytes], float | None]] | None = None,
) -> list[Request]:
    """Held-out rows as V1 requests, one row each, with the true label beside them, or with how an answer to it is judged.

    A `stable` made before categories had one spelling knows its own alone, which the other understands too: that is sent; and of features those that both take,
    so that a release with a column more can be rolled out.
    """
    rows = rows_from_arrow(package.preprocess["kind"], readable(table, [p for p in (package, stable) if p]))
    rows = spelled_by(stable)(rows) if stable is not None else rows
    # Of arrays nothing is right or wrong as a whole.
    asked = problem(package.objective)
    truth = table.column("label").to_pylist() if asked.classes or asked.scalar else [None] * table.num_rows
    labels = [None if v is None else str(v) for v in truth]

    def instance(row: Any) -> Any:
        return {"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row

    path = f"/v1/models/{name}:predict"
    return [
        Request(
            body=orjson.dumps({"instances": [instance(row)]}, option=orjson.OPT_SERIALIZE_NUMPY),
            path=path,
            label=label,
            headers={"content-type": "application/json"},
            judge=judge,
        )
        for row, label, judge in zip(rows, labels, judges or itertools.repeat(None, len(rows)), strict=True)
    ]
