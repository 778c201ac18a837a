"""Texts of which each has several labels or none: from a CSV with a separator to a promoted model that names sets, beside one of images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml

from serving.runtime.models.model import load
from serving.runtime.protocols import v1, v2
from sluice.engines.predictor import Predictor
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)

WORDS = {
    "sport": ["match", "goal", "league", "coach", "striker"],
    "money": ["bank", "shares", "profit", "loan", "market"],
    "health": ["doctor", "vaccine", "clinic", "patient", "diet"],
    "travel": ["flight", "hotel", "beach", "passport", "luggage"],
}
PLAIN = ["the", "a", "today", "people", "said", "new", "after", "over", "city", "year", "many", "good", "first", "last", "with", "from"]


def texts(rows: int) -> list[tuple[str, list[str]]]:
    """Texts of plain words, with two or three words of each of their topics."""
    rng, out = np.random.default_rng(11), []
    for _ in range(rows):
        topics = [t for t in WORDS if rng.random() < 0.35]
        said = [*rng.choice(PLAIN, 8), *(w for t in topics for w in rng.choice(WORDS[t], 3, replace=False))]
        out.append((" ".join(rng.permutation(said)), topics))
    return out


def test_texts_with_several_labels_are_learnt_judged_by_sets_and_answered_by_name(tmp_path: Path) -> None:
    rows = [{"text": text, "topics": topics} for text, topics in texts(900)]
    (tmp_path / "news.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    project = {
        "name": "news",
        "task": "text",
        "data": {"source": "news.jsonl", "columns": {"label": "topics"}},
        "train": {"epochs": 3},
        "export": {"formats": ["fp32"]},
        "rollout": {"minimum_requests": 60},
    }
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    outcome, package = promoted(tmp_path)
    assert (package.objective, list(package.labels)) == ("multilabel", sorted(WORDS))
    gate = orjson.loads((tmp_path / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_bytes())["evidence"]
    found = gate["evaluation"]
    assert found["metric"] == "micro_f1" and found["low"] > 0.9 and found["metrics"]["exact_match"]["value"] > 0.7
    assert gate["floor"]["trivial"]["difference"] > 0.2 and "throughout" in gate["floor"]["trivial"]["name"]
    assert "Each label by itself" in Path(outcome["report"]).read_text()
    model = load(package.root, "", None, 1, 1 << 30)
    said = ["the doctor said the striker with the goal", "people said the new year"]
    outputs = {"probabilities": Predictor(package).predict(said)}
    answered = [a["labels"] for a in orjson.loads(v1.render(model, outputs, None))["predictions"]]
    assert sorted(answered[0].split("|")) == ["health", "sport"] and answered[1] == ""
    assert v2.output_names(model) == ["probabilities", "labels"] and v2.select(model, outputs, None, ["labels"])["labels"][1] == ""


def test_images_with_several_labels_are_learnt_too(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rng, pictures, marks = np.random.default_rng(2), [], []
    for _ in range(360):
        pixels = rng.integers(0, 60, (12, 12), dtype=np.uint8)
        there = rng.random(2) < 0.5
        if there[0]:
            pixels[2:4, :] = 230
        if there[1]:
            pixels[:, 8:10] = 230
        raw = io.BytesIO()
        Image.fromarray(pixels).save(raw, "PNG")
        pictures.append(raw.getvalue())
        marks.append("; ".join(n for n, t in zip(("row", "column"), there, strict=True) if t) or "none")
    pq.write_table(pa.table({"image": pictures, "label": marks}), tmp_path / "marks.parquet")
    project = {
        "name": "marks",
        "task": "image",
        "data": {"source": "marks.parquet", "columns": {"label_separator": ";"}},
        "model": {"size": [12, 12], "channels": 1, "width": 8, "augment": False},
        "train": {"epochs": 8, "learning_rate": 0.01},
        "export": {"formats": ["fp32"]},
        "rollout": {"minimum_requests": 60},
    }
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    _, package = promoted(tmp_path)
    assert package.objective == "multilabel" and package.metrics["micro_f1"] > 0.9
