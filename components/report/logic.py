"""The whole run's report, written by one of its own tasks."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.errors import SluiceError
from sluice.kfp.account import OwnToken
from sluice.kfp.client import Api
from sluice.kfp.connection import connect
from sluice.kfp.ending import Ending, await_end
from sluice.kfp.errors import EndpointError
from sluice.report import page
from sluice.steps.outcome import figures

#: The page's size at most, in bytes; a browser draws it in a frame of the run's page.
LARGEST = 8 << 20


def run(
    project: Mapping[str, Any], run_id: str, seconds: float, *, page_path: str, refusal_path: str, api: Api | None = None
) -> dict[str, float | str]:
    """Returns `sluice.steps.outcome.figures` of the run. Raises nothing: a run is never worse for its report."""
    ending = _ending(run_id, seconds, api)
    outcome = {"run": run_id, "seconds": 0.0, "name": None} | ending.outcome | {"project": _name(project, ending)}
    files.write_text(Path(page_path), _page(outcome, ending))
    refused = outcome["outcome"] in ("refused", "rolled_back")
    files.write_text(Path(refusal_path), "yes" if refused else "no")
    reasons = outcome.get("reasons")
    reasons = reasons if isinstance(reasons, list | tuple) else ()
    print(f"{outcome['outcome']}: {'; '.join(map(str, reasons))}")
    return figures(outcome, list(ending.gates))


def fail(outcome: str) -> None:
    """End as a failure; the report says why."""
    raise SystemExit(f"the run was {outcome.replace('_', ' ')}: its report says why (this task fails because of cluster.refusal: fails)")


def endpoint() -> Api:
    """Kubeflow Pipelines' API, as a step of its own reaches it. Raises `SluiceError`."""
    connection = connect()
    api = Api(connection)
    if connection.token() is None and api.health().get("multi_user"):
        api = Api(dataclasses.replace(connection, token=OwnToken()))
    return api


def _ending(run_id: str, seconds: float, api: Api | None) -> Ending:
    try:
        return await_end(api or endpoint(), run_id, seconds=seconds)
    except SluiceError as e:
        asked = "Kubeflow Pipelines " if isinstance(e, EndpointError) else ""
        return _unknown(f"{asked}{e.message}", e.to_dict())
    except Exception as e:
        traceback.print_exc()
        return _unknown(f"the report's own fault, {type(e).__name__}: {e}", {})


def _unknown(why: str, error: dict[str, Any]) -> Ending:
    told = "what the run came to could not be read: " + why
    return Ending({"outcome": "unknown", "reasons": [told], "error": error | {"message": told, "step": None}}, unread=(told,))


def _name(project: Mapping[str, Any], ending: Ending) -> str:
    """The project's name: as it was registered, which a setting may have changed, else as the run was given it."""
    registered = next((g.evidence.get("model") for g in ending.gates if g.step == "register"), None)
    return str(registered or project.get("name") or ending.outcome.get("name") or "run")


def _page(outcome: dict[str, Any], ending: Ending) -> str:
    try:
        drawn = page.cluster_page(outcome, list(ending.gates), ending.tail, ending.unread)
        if len(drawn.encode()) <= LARGEST:
            return drawn
        note = f"the whole page is larger than {LARGEST >> 20} MiB: the steps' own reports show their parts"
    except Exception as e:
        traceback.print_exc()
        note = f"the page could not be drawn: {type(e).__name__}: {e}"
    return page.plain_page(str(outcome["project"]), outcome, note)
