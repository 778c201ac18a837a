"""Packages of every kind, and one server on all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving.server import Server, serving
from tests.unit.serving import builders

# The tests' own gRPC clients: their fork handlers abort one in 25 of the servers started meanwhile, between fork and exec. Read at their first use.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    makers = {
        "points": builders.classifier,
        "intents": builders.text,
        "digits": builders.image,
        "churn": builders.tabular,
        "words": builders.audio,
        "echo": builders.echo,
        "slow": builders.slow,
        "rare": builders.rare,
        "dynamic": builders.dynamic,
    }
    return {name: make(root / name).root for name, make in makers.items()}


@pytest.fixture(scope="module")
def server(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    names = ("points", "intents", "digits", "churn", "echo", "words")
    with serving(tmp_path_factory.mktemp("server") / "log", *(packages[n] for n in names), "--workers", "2", "--grpc-port", "0") as s:
        yield s
