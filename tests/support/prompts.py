"""Packages of prompts for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluice.core.datatypes import EngineSpec, TensorSpec
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig
from sluice.llm.package import ENGINE, INPUT, OUTPUT, PRECISION, PromptPackage
from sluice.llm.prompt import Prompt
from sluice.package import package as packages
from sluice.package.package import Package


def prompt_package(
    root: Path,
    url: str,
    *,
    name: str = "asked",
    prompt: dict[str, Any] | None = None,
    endpoint: dict[str, Any] | None = None,
    budget: dict[str, Any] | None = None,
    price: dict[str, Any] | None = None,
) -> Package:
    """A sealed package of a prompt that asks `url`."""
    root.mkdir(parents=True)
    file = {"system": "Be short.", "user": "Q: {{ question }}", "variables": {"question": {}}} | (prompt or {})
    made = PromptPackage(
        root,
        Prompt.of({"format": "sluice.prompt/v1", **file}),
        EndpointConfig.model_validate({"url": url, "model": "small"} | (endpoint or {})),
        BudgetConfig.model_validate(budget or {}),
        PriceConfig.model_validate(price or {}),
    )
    made.write()
    return packages.write(
        root,
        name=name,
        task="llm",
        objective="prompted",
        inputs=[TensorSpec(INPUT, "BYTES", (-1,))],
        outputs=[TensorSpec(OUTPUT, "BYTES", (-1,))],
        labels=[],
        preprocess={"kind": "variables", "names": list(file["variables"])},
        precision=PRECISION,
        metrics={},
        provenance={},
        engine=EngineSpec(ENGINE),
        fields={},
    )
