"""A prompt's versions in MLflow's prompt registry, beside the model's: what people read there, with the aliases of the package it is of."""

from __future__ import annotations

from typing import Any

from sluice.package.package import Package
from sluice.registry.versions import Registry, Version

#: Of a model's version: the number of its prompt's version.
PROMPT = "sluice.prompt"


def name_of(model: str) -> str:
    """A prompt's name in the registry, where prompts and models share names."""
    return f"{model}-prompt"


def register(registry: Registry, package: Package) -> dict[str, str]:
    """Keep a package's prompt as a version; the tags by which the model's version knows it. Nothing for a package that is a graph.

    Raises:
        RegistryFault: the registry did not answer, or refused.
    """
    if package.tensors:
        return {}
    from sluice.llm.package import PromptPackage

    found = PromptPackage.open(package.root)
    file = found.prompt.file
    template: list[dict[str, Any]] = [{"role": "system", "content": file.system}] if file.system.strip() else []
    template.append({"role": "user", "content": file.user})
    tags = {
        "sluice.digest": package.digest,
        "sluice.endpoint.model": found.model,
        "sluice.endpoint.reported": found.reported,
        "sluice.examples": str(len(file.examples)),
    }
    made = registry.prompt(name_of(package.name), template, tags={k: v for k, v in tags.items() if v}, response_format=file.output)
    return {PROMPT: made}


def point(registry: Registry, version: Version, alias: str) -> None:
    """Give a model's version an alias, and its prompt the same."""
    registry.set_alias(version.model, alias, version.number)
    if number := version.tags.get(PROMPT):
        registry.set_prompt_alias(name_of(version.model), alias, number)
