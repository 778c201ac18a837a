"""The environments there are: a file of the platform's, ``environments.yaml``; without one dev, staging and production on this machine.

environments:
  staging: {from: [dev]}
  production:
    from: [staging]
    namespace: sluice-production
    gates: [validate_data, evaluate, export_onnx]
    approvers: [ada]
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from sluice.core import yamlfile
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.core.section import Section, explain
from sluice.registry.environments import DEV, ENVIRONMENTS, known

#: Names the file; else it is looked for in the home.
FILE_ENV, FILE = "SLUICE_ENVIRONMENTS", "environments.yaml"


class Environment(Section):
    """One environment, and what must hold before a model goes there."""

    takes: list[str] = Field([], alias="from", description="environments whose champion it takes, the first that has one; empty: any")
    gates: list[str] = Field(
        [], description="steps that must have passed, by name; empty: every step before registration, with evaluate among them"
    )
    rolled_out: bool = Field(True, description="the version must have been rolled out where it comes from, and not rolled back since")
    require_signature: bool = Field(False, description="the package must be signed by a key that is trusted here")
    approvers: list[str] = Field([], description="users who may; empty: whoever can write the registry. On a cluster its own rights decide")
    namespace: str | None = Field(None, description="of a cluster: a promotion there changes a ModelRollout's model")
    context: str | None = Field(None, description="of the kubeconfig; null: the current one")
    rollout: str | None = Field(None, description="name of the ModelRollout; null: the model's")
    store: str | None = Field(None, description="where its packages are kept (s3://bucket/prefix); null: where they are")

    @field_validator("takes")
    @classmethod
    def _names(cls, takes: list[str]) -> list[str]:
        return [known(name, "from") for name in takes]


class Environments(Section):
    """``environments.yaml``."""

    environments: dict[str, Environment] = {}

    def get(self, name: str, field: str = "--to") -> Environment:
        """One by its name. Raises `ProjectError` where there is none."""
        known(name, field)
        if name in self.environments:
            return self.environments[name]
        if self.environments or name not in ENVIRONMENTS:
            there = ", ".join(dict.fromkeys((DEV, *(self.environments or ENVIRONMENTS))))
            if name == DEV:
                return Environment()
            raise ProjectError("is no environment", field=field, value=name, fix=f"there is {there}; {FILE} in the home names others")
        # Each takes from the ones before it, the nearest first.
        return Environment.model_validate({"from": list(ENVIRONMENTS[: ENVIRONMENTS.index(name)][::-1])})


def read(home: Home, given: Path | None = None) -> Environments:
    """The file that is given, `FILE_ENV` names, or the home has; defaults where there is none. Raises `ProjectError`."""
    path = given or (Path(os.environ[FILE_ENV]) if os.environ.get(FILE_ENV) else home.root / FILE)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        if path == home.root / FILE:
            return Environments()
        raise ProjectError("there is no such file", field=str(path), fix=f"--environments FILE, or unset {FILE_ENV}") from e
    except (OSError, UnicodeDecodeError) as e:
        raise ProjectError(f"cannot be read: {e}", field=str(path), fix="a YAML file in UTF-8") from e
    raw = yamlfile.load(text, str(path))
    try:
        return Environments.model_validate(raw or {})
    except ValidationError as e:
        raise explain(e, Environments, (), str(path)) from e
