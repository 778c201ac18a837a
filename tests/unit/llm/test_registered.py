"""A prompt's versions in MLflow's prompt registry, and that its aliases follow the model's."""

from __future__ import annotations

from pathlib import Path

from sluice.core import sqlite
from sluice.core.datatypes import TensorSpec
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.package import PromptPackage
from sluice.llm.prompt import Prompt, PromptFile, Variable
from sluice.package import package as packages
from sluice.package.package import EngineSpec, Package
from sluice.registry import prompts
from sluice.registry.environments import DEV, put_in
from sluice.registry.versions import CHAMPION, PREVIOUS, Registry, Version


def package(root: Path, system: str) -> Package:
    root.mkdir()
    prompt = Prompt(PromptFile(system=system, user="{{ q }}", variables={"q": Variable()}))
    PromptPackage(root, prompt, EndpointConfig(url="http://h/v1", model="m"), BudgetConfig(), PriceConfig(), reported="m-1").write()
    return packages.write(
        root,
        name="faq",
        task="llm",
        objective="prompted",
        inputs=[TensorSpec("variables", "BYTES", (-1,))],
        outputs=[TensorSpec("answer", "BYTES", (-1,))],
        labels=[],
        preprocess={"kind": "variables", "names": ["q"]},
        precision="prompt",
        metrics={},
        provenance={},
        engine=EngineSpec("prompt"),
    )


def test_a_prompts_aliases_follow_its_packages(tmp_path: Path) -> None:
    registry = Registry(sqlite.uri_of(tmp_path / "mlflow.db"))
    made: list[Version] = []
    for word in ("one", "two"):
        found = package(tmp_path / word, word)
        tags = prompts.register(registry, found)
        made.append(registry.register("faq", found.digest, found.root.as_uri(), metrics={}, tags=tags, run_id=None))
        put_in(registry, made[-1], DEV, "better")
    client = registry._client
    before, kept = (client.get_prompt_version_by_alias("faq-prompt", alias) for alias in (PREVIOUS, CHAMPION))
    assert [str(v.version) for v in (before, kept)] == [v.tags[prompts.PROMPT] for v in made]
    assert kept.template == [{"role": "system", "content": "two"}, {"role": "user", "content": "{{ q }}"}]
    assert kept.tags["sluice.endpoint.reported"] == "m-1" and kept.tags["sluice.digest"] == made[1].digest
