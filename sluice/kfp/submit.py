"""Starting a run: the pipeline and its version are there once, however often this is done."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from sluice.core.errors import ProjectError
from sluice.kfp.client import Api
from sluice.kfp.errors import Conflict, EndpointFault, Unreachable


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A run that was started.

    Attributes:
        run: its id.
        name: its name, ``<project>-<UTC time>-<4 hex>``.
        pipeline, version: the pipeline's and the version's names.
        reused: whether the version was there before.
        url: its page in the dashboard; empty where none is known.
    """

    run: str
    name: str
    pipeline: str
    version: str
    reused: bool
    url: str


def user_namespace(api: Api) -> str | None:
    """The namespace requests name: the user's where the installation has many users, else none.

    Raises:
        ProjectError: it has many users, and no namespace was given. EndpointError: it cannot be asked.
    """
    if not api.health().get("multi_user"):
        return None
    if not api.connection.namespace:
        raise ProjectError("the endpoint has many users, and each has a namespace", field="--namespace", fix="name yours: --namespace NS")
    return api.connection.namespace


def upload(api: Api, namespace: str | None, *, pipeline: str, version: str, text: str, description: str) -> tuple[str, str, bool]:
    """Make sure a pipeline's version is there: the pipeline's id, the version's, and whether the version was there before."""
    owner = _ensure(
        lambda: api.pipeline(pipeline, namespace), lambda: api.create_pipeline(pipeline, description=description, namespace=namespace)
    )
    pipeline_id = str(owner["pipeline_id"])
    there = api.version(pipeline_id, version)
    found = there or _ensure(
        lambda: api.version(pipeline_id, version), lambda: api.upload_version(pipeline_id, version, text, description=description)
    )
    return pipeline_id, str(found["pipeline_version_id"]), there is not None


def submit(
    api: Api, *, pipeline: str, version: str, text: str, description: str, parameters: Mapping[str, Any], service_account: str | None = None
) -> Submitted:
    """Make sure the version is there, and start a run of it in the pipeline's own experiment.

    Args:
        api: the endpoint.
        pipeline: the pipeline's name.
        version: the version's name; it stands for `text`, by content hash.
        text: IR YAML.
        description: for the dashboard.
        parameters: of the run, each with its value: what the dashboard compares runs by, and what a copy of the run begins with.
        service_account: the run's; default: the installation's.

    Raises:
        EndpointError, ProjectError: as `Api` and `user_namespace`.
    """
    namespace = user_namespace(api)
    pipeline_id, version_id, there = upload(api, namespace, pipeline=pipeline, version=version, text=text, description=description)
    experiment = _ensure(lambda: api.experiment(pipeline, namespace), lambda: api.create_experiment(pipeline, namespace))
    experiment_id = str(experiment["experiment_id"])
    name = f"{pipeline}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    body: dict[str, Any] = {
        "display_name": name,
        "experiment_id": experiment_id,
        "runtime_config": {"parameters": dict(parameters)},
        "pipeline_version_reference": {"pipeline_id": pipeline_id, "pipeline_version_id": version_id},
    }
    if service_account:
        body["service_account"] = service_account
    started = _ensure(lambda: api.run_named(name, experiment_id), lambda: api.create_run(body), look_first=False)
    run_id = str(started["run_id"])
    return Submitted(run_id, name, pipeline, version, there, api.run_url(run_id))


def _ensure(find: Callable[[], dict[str, Any] | None], create: Callable[[], dict[str, Any]], *, look_first: bool = True) -> dict[str, Any]:
    """Find it, or create it: once, whoever else does so now and whether or not an answer gets lost."""
    found = find() if look_first else None
    tries = 3
    for attempt in range(tries):
        if found is not None:
            return found
        try:
            return create()
        except (Conflict, Unreachable, EndpointFault):
            found = find()
            if found is None and attempt == tries - 1:
                raise
            time.sleep(0.5 * 2**attempt if found is None else 0)
    assert found is not None
    return found
