"""`tracking:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.config import Section


class TrackingConfig(Section):
    """Where runs and versions are written down. Null `uri`: `$SLUICE_HOME/mlflow.db`."""

    backend: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: str | None = Field(None, description="null: the project's name")
    also: list[Literal["tensorboard", "wandb"]] = []
