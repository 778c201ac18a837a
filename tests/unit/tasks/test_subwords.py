"""A pre-trained encoder reads words with tags: which token stands for which word, what is learnt from them, and that the graph answers as training did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sluice.core.errors import PackageError, ProjectError
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.fields.processors import load_processor
from sluice.fields.sentence import words_of
from sluice.fields.subwords import SubwordProcessor
from sluice.fields.tokenizer import train_wordpiece
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.learners.torch.texts.encoders import encoder_class
from sluice.problems.tagging import tags_of
from sluice.project import parse
from sluice.tasks import load_task

NAMES, PLACES = ["Anna", "Olga", "Bernd", "Yusuf"], ["Lyon", "Oslo", "Ulm", "Graz"]
ROWS = [(f"{n} lives in {p} .", "B-name O O B-place O") for n in NAMES for p in PLACES] * 4
TOKENIZER = train_wordpiece((t for t, _ in ROWS), 60)
CONFIG = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    kind, parsed = encoder_class(CONFIG)
    save_file({k: v.contiguous() for k, v in kind(parsed).state_dict().items()}, root / "model.safetensors")
    (root / "config.json").write_bytes(orjson.dumps(CONFIG))
    (root / "tokenizer.json").write_bytes(TOKENIZER)
    return root


def processor(words: int = 12, tokens: int = 40) -> SubwordProcessor:
    return SubwordProcessor(words, TOKENIZER, tokens, 0, "tokenizer.json")


def test_each_word_is_known_by_its_first_token():
    [row] = processor().encode(["Olga, in Xylophon"])
    pieces = processor()._tokenizer.encode("Olga, in Xylophon")
    words = words_of("Olga, in Xylophon")
    assert row["spans"][: len(words)].tolist() == [list(w) for w in words] and not row["spans"][len(words) :].any()
    for at, (start, _) in zip(row["words"], words, strict=False):
        assert pieces.offsets[at - 1][0] == start and row["input_ids"][at - 1] == pieces.ids[at - 1]


@given(st.text(max_size=80).filter(lambda t: t.strip()))
def test_a_words_token_holds_a_part_of_it(text: str):
    [row] = processor().encode([text])
    offsets = processor()._tokenizer.encode(text).offsets
    for at, (start, end) in zip(row["words"].tolist(), row["spans"].tolist(), strict=True):
        if at:
            a, b = offsets[at - 1]
            assert a < end and b > start and (start, end) in words_of(text)
        else:
            assert (start, end) == (0, 0)


def test_words_behind_the_last_token_are_not_answered():
    [row] = processor(tokens=5).encode(["Anna lives in Oslo . Olga lives in Ulm"])
    there = int((row["words"] > 0).sum())
    assert 0 < there < 9 and not row["words"][there:].any() and not row["spans"][there:].any()


def test_what_is_read_of_a_package_is_the_same_processor():
    own = processor()
    again = load_processor(own.spec(), own.files())
    texts = ["Anna lives in Lyon .", "Graz"]
    for name, array in own.encode_batch(texts).items():
        assert np.array_equal(array, again.encode_batch(texts)[name]), name
    with pytest.raises(PackageError, match="buckets"):
        load_processor({**own.spec(), "buckets": 3}, own.files())


def test_it_learns_and_its_graph_answers_alike_whatever_else_is_in_the_batch(tmp_path: Path, encoder: Path):
    table = pa.table({"text": [t for t, _ in ROWS], "label": [tags for _, tags in ROWS]})
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    raw = {
        "name": "people",
        "task": "tagging",
        "data": {"source": "rows.parquet", "checks": {"rows_min": 1}},
        "model": {"pretrained": str(encoder), "max_length": 40, "dropout": 0.0},
        "train": {"epochs": 6, "batch_size": 8, "learning_rate": 0.003, "seed": 0},
    }
    project = parse(raw, base_dir=tmp_path)
    dataset = prepare(project, tmp_path, load_task(project, tmp_path), tmp_path / "dataset")
    trained = fit(project, dataset, tmp_path / "model")
    engine = OnnxRuntime.open(export_graph(trained, 20))

    def answers(*texts: str) -> np.ndarray:
        return next(iter(engine.run(trained.processor.encode_batch(texts)).values()))

    texts = ["Bernd lives in Graz .", "Ulm", "Yusuf lives in Lyon . Anna lives in Oslo ."]
    together = answers(*texts)
    np.testing.assert_allclose(together, np.concatenate([answers(t) for t in texts]), atol=1e-5)
    tags = tags_of(dataset.labels)
    assert [tags[t] for t in together[0, :5, :-2].argmax(1)] == ["B-name", "O", "O", "B-place", "O"]


def test_more_tokens_than_the_encoder_has_positions_are_refused(tmp_path: Path, encoder: Path):
    pa.parquet.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [t for _, t in ROWS]}), tmp_path / "rows.parquet")
    raw = {"name": "p", "task": "tagging", "data": {"source": "rows.parquet"}, "model": {"pretrained": str(encoder), "max_length": 41}}
    project = parse(raw, base_dir=tmp_path)
    dataset = prepare(project, tmp_path, load_task(project, tmp_path), tmp_path / "dataset")
    with pytest.raises(ProjectError, match="more than the 40 positions"):
        fit(project, dataset, tmp_path / "model")
