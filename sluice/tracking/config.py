"""`tracking:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sluice.core.section import Section


class TrackingConfig(Section):
    """Where runs and versions are written down. Null `uri`: `$SLUICE_HOME/mlflow.db`."""

    backend: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: str | None = Field(None, description="null: the project's name")
    also: list[Literal["tensorboard", "wandb"]] = []

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str | None) -> str | None:
        known = ("sqlite:///", "http://", "https://", "postgresql", "mysql", "mssql")
        if uri is not None and not uri.startswith(known):
            raise ValueError("is no tracking server: write sqlite:///file.db, http(s)://server or a database address")
        return uri
