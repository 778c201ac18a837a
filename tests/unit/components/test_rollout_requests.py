"""What a rollout on this machine replays."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa

from components.rollout.logic import requests_of
from sluice import files
from sluice.packaging import package as packages
from tests.unit.serving import builders


def test_rows_are_sent_in_the_spelling_a_champion_of_before_knows(tmp_path: Path) -> None:
    made = builders.tabular(tmp_path / "new")
    old = builders.tabular(tmp_path / "old")
    (old.root / packages.MANIFEST).unlink()
    files.write_json(old.root / packages.PROFILE, {"features": {"job": {"parts": {"value": {"values": ["True", "False"]}}}}})
    old = packages.write(old.root, name=old.name, task=old.task, objective=old.objective, inputs=list(old.inputs), outputs=list(old.outputs), labels=list(old.labels),
                         preprocess=old.preprocess, precision="fp32", metrics={}, provenance={})  # fmt: skip
    table = pa.table({"row_id": ["a" * 16, "b" * 16], "age": [1.5, None], "job": ["true", None], "label": ["a", "b"]})
    for stable, sent in ((None, "true"), (old, "True")):
        found = requests_of(made, "churn", table, stable)
        assert [orjson.loads(r.body)["instances"][0] for r in found] == [{"age": 1.5, "job": sent}, {"age": None, "job": None}]
        assert [r.label for r in found] == ["a", "b"] and found[0].path == "/v1/models/churn:predict"
