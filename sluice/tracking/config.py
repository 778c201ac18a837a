"""`tracking:` in the project file."""

from __future__ import annotations

import difflib
from typing import Literal

from pydantic import Field, field_validator

from sluice.core.registry import Registry
from sluice.core.section import Section

#: Trackers beside the first, by name: each a class of `sluice.tracking.tracker.Beside`.
TRACKERS = Registry(
    "tracker", {"tensorboard": "sluice.tracking.tensorboard:TensorBoardTracker", "wandb": "sluice.tracking.wandb:WandbTracker"}
)


class TrackingConfig(Section):
    """Where runs and versions are written down. Null `uri`: `$SLUICE_HOME/mlflow.db`."""

    backend: Literal["mlflow"] = "mlflow"
    uri: str | None = None
    experiment: str | None = Field(None, description="null: the project's name")
    audit: str | None = Field(
        None, description="where the audit log is: s3://bucket/prefix or a folder; null: $SLUICE_AUDIT, else $SLUICE_HOME/audit"
    )
    openlineage: str | None = Field(None, description="http(s) address that OpenLineage events go to; null: $OPENLINEAGE_URL, else nowhere")
    also: list[str] = Field([], description="further trackers beside the first: tensorboard, wandb, or your own as module:Class")

    @field_validator("also")
    @classmethod
    def _known_trackers(cls, also: list[str]) -> list[str]:
        """Names of ours and of other distributions; the module of a user's own is looked for before anything is trained."""
        for name in also:
            if ":" not in name and name not in TRACKERS.names():
                near = difflib.get_close_matches(name, TRACKERS.names(), 1, 0.3)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"{name!r} is no tracker: {hint}there are {', '.join(TRACKERS.names())}; your own: my_module:MyTracker")
        return also

    @field_validator("openlineage")
    @classmethod
    def _known_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("is no address of an OpenLineage endpoint: write http(s)://host[:port]")
        return url

    @field_validator("audit")
    @classmethod
    def _known_place(cls, audit: str | None) -> str | None:
        if audit is not None and not audit.startswith(("s3://", "/", "~/")):
            raise ValueError("is no place for an audit log: write s3://bucket/prefix, or a folder from / on")
        return audit

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str | None) -> str | None:
        known = ("sqlite:///", "http://", "https://", "postgresql", "mysql", "mssql")
        if uri is not None and not uri.startswith(known):
            raise ValueError("is no tracking server: write sqlite:///file.db, http(s)://server or a database address")
        return uri
