"""A WordPiece vocabulary learnt from the data, the same for the same texts.

The merges are learnt here and not by `tokenizers`' trainers, because those break ties between
equally frequent pairs by a hash order that differs from run to run; encoding is all theirs.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable

from sluice.core.errors import DataError

PAD_ID = 0
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_MOST_WORDS = 200_000
_MOST_CHARACTERS = 500
_LONGEST_WORD = 64


def train_wordpiece(texts: Iterable[str], vocabulary: int) -> bytes:
    """The bytes of a ``tokenizer.json``: lower-cased words cut into pieces, ``[CLS] text [SEP]``.

    Args:
        texts: training texts.
        vocabulary: most tokens, the four special ones counted.

    Raises:
        DataError: the texts hold no word.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    pieces = learn_pieces(words, vocabulary - len(SPECIAL))
    if not pieces:
        raise DataError("hold no words to learn a vocabulary from", field="data.columns.text", fix="check the column of texts")
    ids = {token: i for i, token in enumerate([*SPECIAL, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))]
    )
    return tokenizer.to_str().encode()


def learn_pieces(words: Counter[str], most: int) -> list[str]:
    """At most `most` pieces by byte-pair merging (Sennrich et al. 2016) of characters; a piece inside a word starts with ``##``.

    The most frequent pair is merged first; among equals, the one first in code point order. Pairs
    seen once are left apart.
    """
    kept = sorted(((w, n) for w, n in words.items() if len(w) <= _LONGEST_WORD), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS]
    spelt = [[c if i == 0 else f"##{c}" for i, c in enumerate(w)] for w, _ in kept]
    counts = [n for _, n in kept]
    letters: Counter[str] = Counter()
    for symbols, n in zip(spelt, counts, strict=True):
        for s in symbols:
            letters[s] += n
    alphabet = [s for s, _ in sorted(letters.items(), key=lambda item: (-item[1], item[0]))][: min(_MOST_CHARACTERS, most)]
    pieces = dict.fromkeys(sorted(alphabet))

    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, symbols in enumerate(spelt):
        for pair in zip(symbols, symbols[1:], strict=False):
            pairs[pair] += counts[i]
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    while heap and len(pieces) < most:
        negative, pair = heapq.heappop(heap)
        if pairs[pair] != -negative:  # an entry from before a merge changed the count
            continue
        if -negative < 2:
            break
        merged = pair[0] + pair[1].removeprefix("##")
        pieces.setdefault(merged)
        changed: set[tuple[str, str]] = set()
        for i in sorted(where.pop(pair)):
            before = spelt[i]
            after = _merge(before, pair, merged)
            for old in zip(before, before[1:], strict=False):
                pairs[old] -= counts[i]
                changed.add(old)
            for new in zip(after, after[1:], strict=False):
                pairs[new] += counts[i]
                where[new].add(i)
                changed.add(new)
            spelt[i] = after
        for touched in changed:
            if pairs[touched] > 0:
                heapq.heappush(heap, (-pairs[touched], touched))
    return list(pieces)


def _merge(symbols: list[str], pair: tuple[str, str], merged: str) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(merged)
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out
