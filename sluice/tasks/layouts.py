"""Forms in which known collections of data are handed round and that no task reads: what each is, and a command that writes it as a task reads it."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

from sluice.core.errors import DataError
from sluice.data.dialect import DELIMITERS
from sluice.tasks.roles import by_name, plain

#: Lines of a file that are looked at.
_LINES = 2000
#: Words of a sentence, on average, between which lines between blank ones are its words: at least, and at most.
_WORDS, _LONG = 2, 200
#: Of tags there are few: at most this share of the lines looked at, where there are many.
_TAGS = 0.2
#: What fastText puts before a label.
_FASTTEXT = "__label__"
#: Cells of a line of CoNLL-U, whose first one counts the words.
_CONLLU = 10
#: What the columns of a table of words are called.
_WORD, _TAG = ("word", "token"), ("tag", "nertag", "ner", "label", "entity", "iobtag", "biotag", "pos")


def words_on_lines(path: Path) -> DataError | None:
    """CoNLL: a line a word, its tag the last cell, a blank line between sentences.

    Args:
        path: a file.

    Returns:
        What it is and what converts it; null where it is something else.
    """
    lines = [line for line in _lines(path) if not line.startswith(("#", "-DOCSTART"))]
    words = [line for line in lines if line.strip()]
    tab = all("\t" in line for line in words)
    rows = [_cells(line, tab) for line in words]
    ends = sum(not b.strip() and bool(a.strip()) for a, b in itertools.pairwise(lines))
    if not ends or not _WORDS * ends <= len(words) <= _LONG * (ends + 1) or len({len(r) for r in rows}) != 1 or len(rows[0]) < 2:
        return None
    numbered = len(rows[0]) == _CONLLU and all(r[0].split("-")[0].split(".")[0].isdigit() for r in rows)
    if not numbered and len({r[-1] for r in rows}) > max(10, _TAGS * len(rows)):
        return None
    split, word, tag = ("split('\\t')" if tab else "split()"), 1 if numbered else 0, 3 if numbered else -1
    use = "l[:1] != '#' and l.split()[0].isdigit()" if numbered else "not l.startswith(('#', '-DOCSTART'))"
    code = (
        f"import json; s = [[l.{split} for l in b.split('\\n') if l.strip() and {use}] for b in open({str(path)!r}, encoding='utf-8-sig').read().split('\\n\\n')]; "
        f"open('sentences.jsonl', 'w').writelines(json.dumps({{'tokens': [w[{word}] for w in b], 'tags': [w[{tag}] for w in b]}}) + '\\n' for b in s if b)"
    )
    form = "CoNLL-U, its fourth cell the tag" if numbered else "CoNLL, the last cell of a line the tag"
    return _told(path, f"holds a word a line and a blank line between sentences ({form}), where a sentence a row is read", code, "sentences.jsonl", "tagging")  # fmt: skip


def words_in_rows(path: Path) -> DataError | None:
    """A table of words: a column says whose sentence each is, of which it may stand beside the first word alone. See `words_on_lines`."""
    names, _ = _header(path)
    sentence = next((n for n in names if plain(n).startswith(("sentence", "sentid"))), None)
    word = by_name(names, _WORD)
    tag = by_name(names, _TAG, {word or ""})
    if sentence is None or word is None or tag is None:
        return None
    code = (
        f"import pandas as pd; d = pd.read_csv({str(path)!r}, sep=None, engine='python', dtype=str, keep_default_na=False{_encoding(path)}); "
        f"s = d[{sentence!r}].where(d[{sentence!r}] != '').ffill(); "
        f"d.groupby(s, sort=False).agg(tokens=({word!r}, list), tags=({tag!r}, list)).to_json('sentences.jsonl', orient='records', lines=True)"
    )
    said = f"holds a word a row ({word!r}, its tag {tag!r}, whose sentence in {sentence!r}), where a sentence a row is read"
    return _told(path, said, code, "sentences.jsonl", "tagging")


def labels_before_texts(path: Path) -> DataError | None:
    """FastText: ``__label__name`` before each text, once or several times. See `words_on_lines`."""
    lines = [line for line in _lines(path) if line.strip()]
    if not lines or sum(line.startswith(_FASTTEXT) for line in lines) < 0.9 * len(lines):
        return None
    several = any(line.split()[1:2] and line.split()[1].startswith(_FASTTEXT) for line in lines)
    code = (
        f"import pandas as pd; w = [l.split() for l in open({str(path)!r}, encoding='utf-8') if l.strip()]; "
        f"pd.DataFrame([(' '.join(t for t in r if t[:9] != {_FASTTEXT!r}), '|'.join(t[9:] for t in r if t[:9] == {_FASTTEXT!r})) for r in w], "
        "columns=['text', 'label']).to_csv('texts.csv', index=False)"
    )
    labels = "labels" if several else "the label"
    return _told(path, f"is in fastText's form, {labels} before each text after {_FASTTEXT}, where a column of texts and one of labels are read", code, "texts.csv", "text")  # fmt: skip


def transcripts_beside_wavs(path: Path) -> DataError | None:
    """LJSpeech: ``metadata.csv`` without a header (name, text, text as it is spoken, bars between), recordings in ``wavs``. See `words_on_lines`.

    Args:
        path: that file, or its folder.
    """
    table = path / "metadata.csv" if path.is_dir() else path
    lines = [line for line in _lines(table) if line.strip()]
    rows = [line.split("|") for line in lines]
    if not rows or not all(2 <= len(r) <= 3 for r in rows) or not (table.parent / "wavs" / f"{rows[0][0]}.wav").is_file():
        return None
    out = table.parent / "transcripts.csv"
    code = (
        f"import pandas as pd; r = [l.rstrip('\\n').split('|') for l in open({str(table)!r}, encoding='utf-8')]; "
        f"pd.DataFrame([('wavs/' + c[0] + '.wav', c[-1]) for c in r], columns=['file', 'transcript']).to_csv({str(out)!r}, index=False)"
    )
    return _told(path, "is laid out as LJSpeech (names and transcripts with bars between and no header, recordings in wavs), where a table of files and transcripts is read", code, str(out), "transcribe")  # fmt: skip


def transcripts_by_chapter(path: Path) -> DataError | None:
    """LibriSpeech: ``speaker/chapter/speaker-chapter.trans.txt`` beside its recordings. See `words_on_lines`.

    Args:
        path: the folder.
    """
    found = next(iter(sorted(path.rglob("*.trans.txt"))), None) if path.is_dir() else None
    if found is None:
        return None
    first = next(iter(_lines(found)), "").split(" ")[0]
    ends = next((p.suffix for p in sorted(found.parent.glob(f"{first}.*")) if p != found), ".flac")
    code = (
        f"import pandas as pd, pathlib; f = pathlib.Path({str(path)!r}); "
        f"r = [(t.parent.relative_to(f), *l.strip().split(' ', 1)) for t in sorted(f.rglob('*.trans.txt')) for l in open(t, encoding='utf-8')]; "
        f"pd.DataFrame([((p / n).as_posix() + {ends!r}, t, n.split('-')[0]) for p, n, t in r], columns=['file', 'transcript', 'speaker'])"
        ".to_csv(f / 'transcripts.csv', index=False)"
    )
    return _told(path, "is laid out as LibriSpeech (a folder a speaker and chapter, transcripts in .trans.txt), where a table of files and transcripts is read", code, str(path / "transcripts.csv"), "transcribe")  # fmt: skip


def _told(path: Path, said: str, code: str, out: str, task: str) -> DataError:
    return DataError(said, field="--data", value=str(path), fix=f'write it so: python3 -c "{code}"\nthen: --data {out} --task {task}')


def _lines(path: Path) -> Sequence[str]:
    """The first lines of a text file without their ends; none of what is no such file."""
    from sluice.data.forms import WORKBOOKS  # these import pyarrow, which reading a project must not
    from sluice.data.packed import PACKED

    if not path.is_file() or path.suffix.lower() in {*PACKED, *WORKBOOKS, ".parquet", ".jsonl", ".json", ".ndjson"}:
        return ()
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as f:
            return [line.rstrip("\r\n")[:10_000] for line in itertools.islice(f, _LINES)]
    except OSError:
        return ()


def _cells(line: str, tab: bool) -> list[str]:
    return line.split("\t") if tab else line.split()


def _header(path: Path) -> tuple[list[str], str]:
    """The columns' names and what separates them: of these characters the one that gives most."""
    first = next(iter(_lines(path)), "")
    found = [(next(csv.reader([first], delimiter=d), []), d) for d in DELIMITERS]
    names, separator = max(found, key=lambda f: len(f[0]))
    return [n.strip() for n in names], separator


def _encoding(path: Path) -> str:
    """What pandas has to be told of a file that is not UTF-8."""
    try:
        with path.open(encoding="utf-8") as f:
            while f.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return ", encoding='latin-1'"
    return ""
