"""The batch inference pipeline, run by kfp's own local runner on a real package."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from kfp import local

from pipelines.batch_inference import batch_inference_pipeline
from sluice.core.gate import Gate
from tests.unit.serving import builders


def test_parquet_files_become_predictions_with_counts_and_a_bad_row_is_refused(tmp_path: Path) -> None:
    package = builders.text(tmp_path / "p")
    for i in range(2):
        pq.write_table(
            pa.table({"row_id": [f"{i}-{k}" for k in range(30)], "text": ["send money"] * 29 + [None]}), tmp_path / f"in-{i}.parquet"
        )
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    for max_bad, decision in ((0.5, "pass"), (0.01, "refuse")):
        batch_inference_pipeline(package=str(package.root), source=str(tmp_path / "in-*.parquet"), max_bad=max_bad)
        gate = Gate.read(max((tmp_path / "root").glob("*/batch-predict/gate"), key=lambda p: p.stat().st_mtime))
        assert (gate.decision, gate.evidence["rows"], gate.evidence["bad"]) == (decision, 60, 2)
    table = pq.read_table(next((tmp_path / "root").glob("*/batch-predict/predictions")))
    assert table.column("row_id").to_pylist()[:2] == ["0-0", "0-1"] and table.column("error").null_count == 58
