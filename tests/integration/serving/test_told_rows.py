"""What a server logged and was told through a gateway is training rows: the source ``labelled://`` over a real server's log."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.data.config import Columns
from sluice.data.sources import read_source
from tests.integration.serving.server import eventually, serving

THROUGH, TOKEN = {"x-forwarded-for": "10.0.0.1"}, "a-token-of-these-tests"
ROWS = {"age": [20.0, 30.0], "job": ["cook", "nurse"], "member": [True, False], "answer": ["a", "b"]}


def test_answers_that_were_told_are_rows_of_the_next_training(packages: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table(ROWS), tmp_path / "rows/first.parquet")
    (tmp_path / "token").write_text(TOKEN)
    uri = "labelled://churn?rows=rows/*.parquet&log=log"

    def read() -> list[dict[str, object]]:
        return read_source(uri, "auto", tmp_path, None, Columns(label="answer")).table.to_pylist()

    kept = ("--log", tmp_path / "log", "--log-seconds", "0.2", "--feedback-token", tmp_path / "token")
    with serving(tmp_path / "said", packages["churn"], *kept) as server:
        for i, age in enumerate((41, 42, 43)):
            status, headers, _ = server.request(
                "POST", "/v1/models/churn:predict", {"instances": [{"age": age, "job": "cook"}]}, {**THROUGH, "x-request-id": f"told-{i}"}
            )
            assert status == 200
            if i < 2:
                item = {"request_id": f"told-{i}", "label": "b", "receipt": headers["x-sluice-receipt"]}
                sent = {**THROUGH, "authorization": f"Bearer {TOKEN}"}
                assert server.request("POST", "/v2/models/churn/feedback", {"items": [item]}, sent)[0] == 202
        eventually(lambda: len(read()) == 4, 120)
    assert read()[:2] == pa.table(ROWS).to_pylist()
    assert sorted((r["age"], r["job"], r["member"], r["answer"]) for r in read()[2:]) == [
        (41.0, "cook", None, "b"),
        (42.0, "cook", None, "b"),
    ]
