"""Where a pipeline is to run: what a step asks of the cluster, put on its KFP task, or the folders of a run on this machine."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kfp import dsl, kubernetes

from sluice.core.events import NONCE_ENV
from sluice.kfp.config import ClusterConfig, StepSettings, duration_seconds
from sluice.kfp.site import ENVIRONMENT_LABEL, NAMESPACE_ENV
from sluice.kube.image import is_pinned

if TYPE_CHECKING:
    from sluice.steps.step import Step

#: Steps of a project's own: where each is, as the project names it, and the step.
Own = Sequence[tuple[str, "Step"]]

#: Of every step's pod: NetworkPolicies and quotas know it by them.
LABELS = {"app.kubernetes.io/component": "step", "app.kubernetes.io/part-of": "sluice"}
#: Where Kubeflow Pipelines writes a run's id on each of its pods.
_RUN_ID = "metadata.labels['pipeline/runid']"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a pipeline is compiled for.

    Attributes:
        cluster: the project's `cluster:` section.
        image: the image of every step.
        form: the typed parameters' values that are compiled in; null: those of the pipeline's own example.
        own: the project's own steps.
    """

    cluster: ClusterConfig
    image: str
    form: dict[str, Any] | None = None
    own: Own = ()


@dataclasses.dataclass(frozen=True)
class Here:
    """The folders of a run on this machine; both empty on a cluster.

    Attributes:
        base_dir: where relative paths in the project start.
        home: where the run writes.
        own: the project's own steps.
        until: the last step that runs; empty: all do.
    """

    base_dir: str = ""
    home: str = ""
    own: Own = ()
    until: str = ""


_here: contextvars.ContextVar[Here | None] = contextvars.ContextVar("sluice_here", default=None)
_target: contextvars.ContextVar[Target | None] = contextvars.ContextVar("sluice_target", default=None)


@contextlib.contextmanager
def compiling_for(target: Target) -> Iterator[None]:
    """Pipelines built inside the block carry the target's settings."""
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


@contextlib.contextmanager
def running_here(base_dir: str, home: str, own: Own = (), until: str = "") -> Iterator[None]:
    """Pipelines built inside the block work in these folders, as far as the step `until`."""
    token = _here.set(Here(base_dir, home, own, until))
    try:
        yield
    finally:
        _here.reset(token)


def here() -> Here:
    """The folders that a pipeline's steps are given, as constants: nobody fills them in."""
    return _here.get() or Here()


def folders(*names: str) -> dict[str, str]:
    """These folders (default: both) as a step's arguments; none on a cluster, where each is empty by default."""
    found = {"base_dir": here().base_dir, "home": here().home}
    return {k: v for k, v in found.items() if v and k in (names or found)}


def own_steps() -> Own:
    """The steps of the project that a pipeline is built for."""
    target = _target.get()
    return target.own if target else here().own


def compiled_form(example: dict[str, Any]) -> dict[str, Any]:
    """The typed parameters' values that are compiled in: the target's, else those of the pipeline's example."""
    target = _target.get()
    return example if target is None or target.form is None else target.form


def for_cluster() -> ClusterConfig | None:
    """The cluster's settings where a pipeline is compiled for one; null for a run on this machine."""
    target = _target.get()
    return target.cluster if target else None


def environment(step: str) -> str:
    """The cached step's key for what its result may depend on besides its inputs and image; empty off the cluster."""
    target = _target.get()
    return target.cluster.environment(step) if target else ""


def place(task: dsl.PipelineTask, step: str, *, cached: bool = False) -> dsl.PipelineTask:
    """Put a step's settings on its task.

    Args:
        task: the task, fresh.
        step: the step whose settings it takes.
        cached: whether an earlier result may stand in for it: only for a step that reads and
            moves nothing outside its inputs. An image named by tag is never answered from the
            cache, because the key holds the name and not what the name stands for.
    """
    target = _target.get()
    task.set_caching_options(cached and (target is None or is_pinned(target.image)))
    if target is None:
        return task
    settings = target.cluster.of(step)
    task.set_container_image(target.image)
    _bound(task, settings)
    for name, value in sorted(settings.env.items()):
        task.set_env_variable(name, value)
    kubernetes.use_field_path_as_env(task, NONCE_ENV, _RUN_ID)
    for secret in settings.secrets:
        if secret.mount:
            kubernetes.use_secret_as_volume(task, secret.name, mount_path=secret.mount, optional=secret.optional)
        else:
            kubernetes.use_secret_as_env(task, secret.name, secret_key_to_env=dict(sorted(secret.env.items())), optional=secret.optional)
    for volume in settings.volumes:
        kubernetes.mount_pvc(task, pvc_name=volume.claim, mount_path=volume.mount, sub_path=volume.sub_path)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, settings.image_pull_secrets)
    if settings.node_selector:
        for key, value in sorted(settings.node_selector.items()):
            kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for t in settings.tolerations:
        kubernetes.add_toleration(task, key=t.key, operator=t.operator, value=t.value, effect=t.effect, toleration_seconds=t.seconds)
    kubernetes.set_security_context(task, run_as_non_root=True)
    environment = {ENVIRONMENT_LABEL: settings.env[NAMESPACE_ENV]} if settings.env.get(NAMESPACE_ENV) else {}
    for key, value in {**LABELS, **environment}.items():
        kubernetes.add_pod_label(task, key, value)
    return task


def _bound(task: dsl.PipelineTask, settings: StepSettings) -> None:
    """Resources, retries and the time limit."""
    requests, limits, accelerator = settings.resources.requests, settings.resources.limits, settings.resources.accelerator
    assert requests.cpu and requests.memory and limits.cpu and limits.memory and settings.timeout, "every step is bounded by default"
    task.set_cpu_request(requests.cpu).set_memory_request(requests.memory).set_cpu_limit(limits.cpu).set_memory_limit(limits.memory)
    if accelerator:
        task.set_accelerator_type(accelerator.type).set_accelerator_limit(accelerator.count)
    retries = settings.retries
    if retries.count:
        task.set_retry(
            retries.count,
            backoff_duration=f"{duration_seconds(retries.backoff)}s",
            backoff_factor=retries.factor,
            backoff_max_duration=f"{duration_seconds(retries.max_backoff)}s",
        )
    kubernetes.set_timeout(task, seconds=duration_seconds(settings.timeout))
