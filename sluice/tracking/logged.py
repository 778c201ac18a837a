"""A package as one of MLflow's logged models: on its run's page, linked from its version, with files the page can show.

The package itself stays in the store under its digest; what is logged is what people read: ``MLmodel`` with the signature, the manifest, the
card, and the package's proof.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sluice.core.errors import first_line
from sluice.package.package import MANIFEST

if TYPE_CHECKING:
    from sluice.tracking.card import Card

log = logging.getLogger(__name__)


class Logged(NamedTuple):
    """A logged model: its id, and where its files are."""

    id: str
    location: str


def log_model(client: Any, run_id: str, card: Card, at: str) -> tuple[Logged | None, str]:
    """Log it; all that can go wrong is told, and stops nothing: the version is registered without.

    Args:
        client: an `MlflowClient` with short timeouts. run_id: the run it came from. at: the package's address in the store.

    Returns:
        The logged model, None where there is none, and then why.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    package, made = card.package, ""
    try:
        run = client.get_run(run_id)
        params = {
            "task": package.task,
            "objective": package.objective,
            "precision": package.precision,
            "package": f"sha256:{package.digest}",
        }
        model = client.create_logged_model(
            run.info.experiment_id,
            name=package.name,
            source_run_id=run_id,
            model_type="sluice",
            params=params,
            tags={"sluice.digest": package.digest, "sluice.uri": at, "mlflow.note.content": card.description()},
        )
        made = str(model.model_id)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "MLmodel").write_text(card.mlmodel(model_id=made, run_id=run_id, at=at))
            (Path(folder) / "README.md").write_text(card.markdown())
            (Path(folder) / "card.html").write_text(card.html())
            for name, raw in card.proof.items():
                (Path(folder) / name).write_bytes(raw)
            shutil.copy(package.root / MANIFEST, Path(folder) / MANIFEST)
            client.log_model_artifacts(made, folder)
        data = next((d.dataset for d in run.inputs.dataset_inputs), None)
        of = {"dataset_name": data.name, "dataset_digest": data.digest} if data else {}
        now = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[
                Metric(f"test_{k}", float(v), now, 0, model_id=made, run_id=run_id, **of)
                for k, v in package.metrics.items()
                if v is not None
            ],
        )
        client.finalize_logged_model(made, LoggedModelStatus.READY)
        client.log_outputs(run_id, [LoggedModelOutput(made, 0)])
    except Exception as e:  # a server of before 3, one that keeps no files, one that is slow
        if made:
            drop(client, made)
        return None, f"MLflow took no logged model of it ({type(e).__name__}: {first_line(e, 200)}); the version is registered without"
    return Logged(made, str(model.artifact_location)), ""


def tell_version(client: Any, model_id: str, model: str, number: str) -> None:
    """Write the version on the logged model's page, as MLflow's server does; a client of a database has to itself."""
    try:
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps([{"name": model, "version": int(number)}])})
    except Exception as e:
        log.info("MLflow does not show on the logged model %s that it is version %s: %s", model_id, number, first_line(e))


def drop(client: Any, model_id: str) -> None:
    """Take a logged model back, as well as it goes."""
    try:
        client.delete_logged_model(model_id)
    except Exception as e:
        log.info("MLflow keeps the logged model %s: %s", model_id, first_line(e))
