"""`cluster:` in the project file: what each step asks of Kubernetes. Runs on this machine take no notice of it."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from sluice.core import files
from sluice.core.events import NONCE_ENV
from sluice.core.gate import REPORT
from sluice.core.section import Section
from sluice.steps.step import NAMES, STEPS, Step

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


def cores(text: str) -> float:
    """CPU cores of ``2``, ``0.5`` or ``500m``. Raises `ValueError`."""
    if re.fullmatch(r"\d+m", text):
        found = int(text[:-1]) / 1000
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        found = float(text)
    else:
        raise ValueError("is no CPU quantity: write cores or thousandths, as 2, 0.5 or 500m")
    if found <= 0:
        raise ValueError("must be above 0")
    return found


def memory_bytes(text: str) -> int:
    """Bytes of ``4Gi`` or ``500M``. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+)([A-Za-z]{0,2})", text)
    if match is None or match[2] not in _UNITS or match[2] == "k":
        raise ValueError("is no memory quantity: write a whole number and one of Ki, Mi, Gi, Ti, M, G, T, as 4Gi")
    if int(match[1]) == 0:
        raise ValueError("must be above 0")
    return int(match[1]) * _UNITS[match[2]]


def duration_seconds(text: str) -> int:
    """Seconds of ``90s``, ``30m``, ``6h`` or ``2d``. Raises `ValueError`."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or int(match[1]) == 0:
        raise ValueError("is no duration: write a whole number above 0 and s, m, h or d, as 30m")
    return int(match[1]) * _SECONDS[match[2]]


def _checked(parse: Callable[[str], Any]) -> Any:
    """A validator that takes a number where YAML read one, and keeps the text `parse` accepts."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return value
        text = str(value)
        parse(text)
        return text

    return BeforeValidator(check)


Cpu = Annotated[str, _checked(cores), WithJsonSchema({"type": ["string", "number"]})]
Memory = Annotated[str, _checked(memory_bytes)]
Duration = Annotated[str, _checked(duration_seconds)]


class Amount(Section):
    """CPU cores (``500m``, ``2``) and memory (``4Gi``)."""

    cpu: Cpu | None = None
    memory: Memory | None = None


class Accelerator(Section):
    """Devices of one kind, by the resource name their plugin advertises."""

    type: str = Field(
        "nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9_.-]+$", description="resource name: nvidia.com/gpu, amd.com/gpu, ..."
    )
    count: int = Field(1, ge=1, le=64)


class Resources(Section):
    """What the scheduler sets aside (`requests`), and what a step may use at most (`limits`)."""

    requests: Amount = Amount()
    limits: Amount = Amount()
    accelerator: Accelerator | None = None


class Toleration(Section):
    """A taint the step may run in spite of."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: int | None = Field(None, ge=0, description="with NoExecute: how long the pod stays")

    @model_validator(mode="after")
    def _agrees(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("name a key, or write operator: Exists to tolerate every taint")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("seconds goes with effect NoExecute")
        return self


class Secret(Section):
    """A Secret of the run's namespace, as environment variables or as a folder of files."""

    name: str = Field(pattern=_NAME)
    env: dict[str, str] = Field({}, description="key in the Secret -> environment variable")
    mount: str | None = Field(None, pattern=r"^/.+", description="folder its keys appear in, as files")
    optional: bool = Field(False, description="the step starts without it")

    @field_validator("env")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        return _variables(value.values(), value)

    @model_validator(mode="after")
    def _used(self) -> Secret:
        if bool(self.env) == (self.mount is not None):
            raise ValueError("say either env: {KEY: VARIABLE} or mount: /folder")
        return self


class Volume(Section):
    """A PersistentVolumeClaim of the run's namespace."""

    claim: str = Field(pattern=_NAME)
    mount: str = Field(pattern=r"^/.+")
    sub_path: str = ""


class Retries(Section):
    """How often a failed step starts again, and after how long: `backoff`, then times `factor` up to `max_backoff`."""

    count: int = Field(0, ge=0, le=10)
    backoff: Duration = "30s"
    factor: float = Field(2.0, ge=1, le=10)
    max_backoff: Duration = "10m"


class StepSettings(Section):
    """What a step asks of the cluster. A key left out is the default's; mappings are merged key by key, lists replaced."""

    resources: Resources = Resources()
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    env: dict[str, str] = Field({}, description="environment variables; values that are secret belong in `secrets`")
    secrets: list[Secret] = []
    volumes: list[Volume] = []
    image_pull_secrets: list[str] = []
    retries: Retries = Retries()
    timeout: Duration | None = Field(None, description="a pod running longer is ended, and the step fails")

    @field_validator("env")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        return _variables(value, value)


def _variables(names: Iterable[str], value: dict[str, str]) -> dict[str, str]:
    for name in names:
        if not re.match(_VARIABLE, name):
            raise ValueError(f"{name!r} is no name of an environment variable")
        if name.startswith(("KFP_", "PET_")) or name == NONCE_ENV:
            raise ValueError(f"{name} is the platform's own")
    return value


class ClusterConfig(Section):
    """Resources, placement, secrets, retries and timeouts of steps on a cluster."""

    service_account: str | None = Field(None, pattern=_NAME, description="runs submitted by `sluice submit`; null: the installation's own")
    cache_key: str = Field("", description="part of every cached step's key: change it to compute all of it again")
    refusal: Literal["succeeds", "fails"] = Field(
        "succeeds", description="how Kubeflow Pipelines shows a run that was refused or rolled back"
    )
    defaults: StepSettings = StepSettings()
    steps: dict[str, StepSettings] = Field({}, description="settings of single steps, by name: " + ", ".join((*NAMES, REPORT)))

    @field_validator("steps")
    @classmethod
    def _known(cls, value: dict[str, StepSettings]) -> dict[str, StepSettings]:
        for name in value:
            if name not in (*NAMES, REPORT):
                near = difflib.get_close_matches(name, (*NAMES, REPORT), 1, 0.5)
                raise ValueError(
                    f"{name!r} is no step" + (f", did you mean {near[0]!r}?" if near else "; there is " + ", ".join((*NAMES, REPORT)))
                )
        return value

    @model_validator(mode="after")
    def _agree(self) -> ClusterConfig:
        for step in (*NAMES, REPORT):
            held, most = self.of(step).resources.requests, self.of(step).resources.limits
            if held.cpu and most.cpu and cores(held.cpu) > cores(most.cpu):
                raise ValueError(f"{step}: requests.cpu {held.cpu} is above limits.cpu {most.cpu}")
            if held.memory and most.memory and memory_bytes(held.memory) > memory_bytes(most.memory):
                raise ValueError(f"{step}: requests.memory {held.memory} is above limits.memory {most.memory}")
        return self

    def of(self, step: str) -> StepSettings:
        """A step's settings: its own over `defaults` over what Sluice bounds every step by.

        Where only one of a request and its limit is given, the other gives way. The report, which waits beside the steps for as long as
        all of them take, has of the defaults what lets a pod start and find its way: it takes no step's CPU, volume or secret.
        """
        given = self.defaults.model_dump(exclude_unset=True)
        if step == REPORT:
            given = {k: v for k, v in given.items() if k in _ANY_POD} | {"timeout": f"{self.longest()}s"}
        if step in self.steps:
            given = merge(given, self.steps[step].model_dump(exclude_unset=True))
        merged = merge(_bounds(step), given)
        held, most = merged["resources"]["requests"], merged["resources"]["limits"]
        told = given.get("resources", {})
        for unit, size in (("cpu", cores), ("memory", memory_bytes)):
            if size(held[unit]) > size(most[unit]):
                if unit not in told.get("requests", {}):
                    held[unit] = most[unit]
                elif unit not in told.get("limits", {}):
                    most[unit] = held[unit]
        return StepSettings.model_validate(merged)

    def longest(self) -> int:
        """Seconds that all steps may take together, a study's before them, tried as often as they may be, and some to start in."""
        settings = map(self.of, (*NAMES, "preprocess", "train", "preprocess"))
        return sum((1 + s.retries.count) * (duration_seconds(s.timeout or "2h") + 900) for s in settings)

    def environment(self, step: str) -> str:
        """Digest (12 hex) of what a step's result may depend on and KFP's cache key does not hold: variables, secrets, devices."""
        found = self.of(step)
        accelerator = found.resources.accelerator
        return files.digest_of(
            {
                "env": found.env,
                "secrets": [s.model_dump() for s in found.secrets],
                "key": self.cache_key,
                "volumes": [v.model_dump() for v in found.volumes],
                "accelerator": accelerator.model_dump() if accelerator else None,
            }
        )[:12]


#: What of the defaults a pod that does no step's work has, too.
_ANY_POD = ("env", "image_pull_secrets", "node_selector", "tolerations")


def _bounds(step: str) -> dict[str, Any]:
    """Requests small enough for a laptop's cluster, limits that keep one step from taking a node down, and a time limit: the step's own."""
    if step == REPORT:
        return {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}}
    kind = STEPS.get(step) if step in NAMES else Step
    return copy.deepcopy(kind.bounds)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings key by key; anything else of `over` takes the place of what was there."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:  # as good as left out
            continue
        merged[key] = merge(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
    return merged
