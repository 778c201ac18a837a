"""A vocabulary learnt from texts is the same for the same texts, and cuts words as WordPiece does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from tokenizers import Tokenizer

from sluice.core.errors import DataError
from sluice.fields.tokenizer import PAD_ID, SPECIAL, learn_pieces, train_wordpiece

TEXTS = ["the lower the better", "a new lower newest widest", "lowest of the low", "newer and wider", "résumé 2024, please"] * 3


def test_two_processes_with_other_hash_seeds_learn_the_same_bytes():
    code = f"import sys; sys.stdout.buffer.write(__import__('sluice.fields.tokenizer', fromlist=['x']).train_wordpiece({TEXTS!r}, 80))"
    found = {
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_the_order_of_the_texts_does_not_matter():
    assert train_wordpiece(TEXTS, 90) == train_wordpiece(TEXTS[::-1], 90)


def test_the_most_frequent_pair_is_merged_first():
    assert learn_pieces(Counter({"aab": 5, "aac": 3, "xb": 1}), 100)[:8] == ["##a", "##b", "##c", "a", "x", "aa", "aab", "aac"]


def test_no_more_tokens_than_asked_for_and_the_special_ones_first():
    tokenizer = Tokenizer.from_buffer(train_wordpiece(TEXTS, 40))
    assert tokenizer.get_vocab_size() == 40
    assert [tokenizer.id_to_token(i) for i in range(4)] == SPECIAL
    assert tokenizer.token_to_id("[PAD]") == PAD_ID


def test_texts_are_lower_cased_framed_and_put_together_again():
    tokenizer = Tokenizer.from_buffer(train_wordpiece(TEXTS, 120))
    encoded = tokenizer.encode("The LOWER newest")
    assert encoded.tokens[0] == "[CLS]"
    assert encoded.tokens[-1] == "[SEP]"
    assert tokenizer.decode(encoded.ids) == "the lower newest"


def test_letters_never_seen_are_unknown():
    tokenizer = Tokenizer.from_buffer(train_wordpiece(TEXTS, 120))
    assert "[UNK]" in tokenizer.encode("Ω").tokens


def test_texts_without_words_are_refused():
    with pytest.raises(DataError, match="hold no words"):
        train_wordpiece(["", "  "], 100)
