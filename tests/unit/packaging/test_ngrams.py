"""N-grams of texts, as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.core.errors import PackageError
from sluice.fields import load_processor
from sluice.fields.ngrams import Ngrams

TEXTS = ["the cat sat", "The cat ran", "a dog ran!", "영화가 재미있다", "영화가 지루하다", "電影很好看", "電影不好看"]


def spelt(text, characters=5, words=2):
    """The same n-grams as strings, one after another: what the hashes have to tell apart."""
    import re
    import unicodedata

    parts = re.findall(r"\w+|[^\w\s]", unicodedata.normalize("NFKC", text).lower())
    out = set()
    for part in parts:
        padded = f" {part} "
        out |= {("c", padded[i : i + n]) for n in range(1, characters + 1) for i in range(len(padded) - n + 1)} - {("c", " ")}
    for n in range(1, words + 1):
        out |= {("w", n, " ".join(parts[i : i + n])) for i in range(len(parts) - n + 1)}
    return out


def test_every_n_gram_has_a_hash_of_its_own_and_neighbours_do_not_matter():
    empty = Ngrams(np.zeros(0, np.uint64), np.zeros(0, np.uint32), 1)
    rows, hashes = empty.grams(TEXTS)
    told = [set(hashes[rows == i].tolist()) for i in range(len(TEXTS))]
    wanted = [spelt(t) for t in TEXTS]
    assert [len(t) for t in told] == [len(w) for w in wanted]
    for i in range(len(TEXTS)):
        assert told[i] == set(empty.grams([TEXTS[i]])[1].tolist())
        for j in range(i):
            assert len(told[i] & told[j]) == len(wanted[i] & wanted[j])
    assert len(set().union(*told)) == len(set().union(*wanted))


def test_those_of_two_texts_or_more_are_kept_the_most_frequent_first():
    known = Ngrams.learn(TEXTS, 1000)
    shared = [g for g in set().union(*map(spelt, TEXTS)) if sum(g in spelt(t) for t in TEXTS) >= 2]
    assert len(known.hashes) == len(shared) and (known.rows >= 2).all()
    few = Ngrams.learn(TEXTS, 5)
    assert len(few.hashes) == 5 and few.rows.min() >= np.sort(known.rows)[-5]
    assert known.weights()[0] == 0 and known.weights()[1:].min() > 0
    numbers = known.numbers(["the cat", "???", ""])
    assert len(numbers[0]) > 5 and [n.tolist() for n in numbers[1:]] == [[0], [0]]


def test_the_side_file_reads_back_and_a_damaged_one_is_refused():
    known = Ngrams.learn(TEXTS, 1000)
    again = Ngrams.read(known.bytes(), "f")
    assert [n.tolist() for n in again.numbers(TEXTS)] == [n.tolist() for n in known.numbers(TEXTS)] and again.total == len(TEXTS)
    for bad in (b"", b"what", known.bytes()[:-1], known.bytes()[:30] + known.bytes()[42:54] + known.bytes()[30:42]):
        with pytest.raises(PackageError, match="is no file of n-grams"):
            Ngrams.read(bad, "f")


def test_a_package_without_them_reads_as_ever_and_one_with_them_pads_with_none():
    from sluice.fields.tokenizer import train_wordpiece

    files = {"tokenizer.json": train_wordpiece(TEXTS, 200), "ngrams.bin": Ngrams.learn(TEXTS, 50).bytes()}
    spec = {"kind": "text", "tokenizer": "tokenizer.json", "max_length": 16, "pad_id": 0}
    assert sorted(load_processor(spec, files).encode_batch(["a cat"])) == ["attention_mask", "input_ids"]
    processor = load_processor({**spec, "ngrams": "ngrams.bin"}, files)
    batch = processor.encode_batch(["zzz", "the cat sat"])
    assert [t.name for t in processor.inputs] == ["input_ids", "attention_mask", "ngrams"]
    assert batch["ngrams"].dtype == np.int64 and not batch["ngrams"][0, 1:].any() and batch["ngrams"].shape[1] > 5
    assert processor.spec() == {**spec, "ngrams": "ngrams.bin"} and processor.files() == files
    with pytest.raises(PackageError, match=r"preprocess\.ngrams"):
        load_processor({**spec, "ngrams": "../ngrams.bin"}, files)
