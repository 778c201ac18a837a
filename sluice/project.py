"""The project file: the one file a user writes."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from sluice import files
from sluice.config import Section
from sluice.data.config import DataConfig
from sluice.errors import ProjectError
from sluice.evaluation.config import EvaluateConfig
from sluice.packaging.config import ExportConfig
from sluice.rollouts.spec import RolloutSpec
from sluice.tasks.config import ImageModel, TabularModel, TextModel
from sluice.tracking.config import TrackingConfig
from sluice.training.config import TrainConfig

BUILT_IN: dict[str, type[Section]] = {"text": TextModel, "image": ImageModel, "tabular": TabularModel}


class ServeConfig(Section):
    """The model server's settings where the project runs it."""

    workers: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="ONNX Runtime threads a worker")
    max_batch: int = Field(32, ge=1)


class Drift(Section):
    """When the serving data counts as moved: the distance from the training profile."""

    method: Literal["psi", "js"] = "psi"
    threshold: float = Field(0.25, gt=0)


class Retrain(Section):
    """When to train again by itself."""

    schedule: str | None = Field(None, description="cron, five fields, in UTC")


class MonitorConfig(Section):
    """What is watched after the rollout."""

    drift: Drift = Drift()
    retrain: Retrain = Retrain()


class Project(Section):
    """``sluice.yaml``. `model` is checked against the task's own section."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$", description="DNS label; registry and cluster names follow from it")
    task: str = Field(description="text | image | tabular | my_package.my_module:MyTask")
    data: DataConfig
    model: Any = Field(default_factory=dict)
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()
    serve: ServeConfig = ServeConfig()
    rollout: RolloutSpec = RolloutSpec()
    monitor: MonitorConfig = MonitorConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def digest(self) -> str:
        """sha256 over the settings, defaults filled in: the config's version."""
        return files.digest_of(self.model_dump(mode="json"))


class Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (``5e-5`` is one) and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise ProjectError("stands twice", field=f"line {key.start_mark.line + 1}: {name}", fix="keep one of them")
            seen.add(name)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {k: [r for r in v if r[0] not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")]
                                  for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}  # fmt: skip
Loader.add_implicit_resolver("tag:yaml.org,2002:float",
                             re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), list("-+.0123456789"))  # fmt: skip
