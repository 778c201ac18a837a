"""Retrieval: cut, indexed, found, and part of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.core.errors import DataError, PackageError, ProjectError
from sluice.llm.config import RetrievalConfig
from sluice.llm.retrieval import Index, passages_of, write_index

DOCUMENTS = {
    "pool.md": "The swimming pool opens at seven in the morning and closes at nine. " * 3,
    "dogs.txt": "Dogs are welcome in the garden, on a lead. " * 3,
    "deep/fees.md": "A ticket costs four euros; children pay two. " * 3,
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name, text in DOCUMENTS.items():
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(text)
    return tmp_path


def config(**given: object) -> RetrievalConfig:
    return RetrievalConfig.model_validate({"folder": "docs", "words": 12, "overlap": 3, "top": 2} | given)


def test_the_nearest_passages_are_found_by_words(base: Path, tmp_path: Path) -> None:
    count = write_index(tmp_path / "package", config(), base)
    index = Index.open(tmp_path / "package", config())
    assert count == len(index.passages)
    assert {p.name for p in index.search("When does the pool open?")} == {"pool"}
    assert index.search("What is the ticket's price, for a child?")[0].name == "deep/fees"
    assert index.search("quantum chromodynamics") == []


def test_passages_overlap_and_lose_nothing(base: Path) -> None:
    found = [p for p in passages_of(base / "docs", config()) if p.document == "pool.md"]
    words = DOCUMENTS["pool.md"].split()
    assert all(len(p.text.split()) <= 12 for p in found)
    covered = {i for p in found for i in range(p.start, p.start + len(p.text.split()))}
    assert covered == set(range(len(words)))


def test_equal_folders_make_equal_indexes(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_index(tmp_path / name, config(), base)
    assert (tmp_path / "a/index/passages.jsonl").read_bytes() == (tmp_path / "b/index/passages.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("given", "said"), [({"folder": "none"}, "is no folder"), ({"overlap": 12}, "less than words"), ({"encoder": "e"}, "cannot be read")]
)
def test_what_is_wrong_is_told(base: Path, tmp_path: Path, given: dict[str, object], said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        write_index(tmp_path / "package", config(**given), base)


def test_a_damaged_index_is_refused(base: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "package", config(), base)
    (tmp_path / "package/index/passages.jsonl").write_text('{"document": "a"}\n')
    with pytest.raises(PackageError, match="cannot be read"):
        Index.open(tmp_path / "package", config())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("manual.pdf", b"%PDF-1.7", "holds 1 document that cannot be read.*manual.pdf"),
        ("latin.txt", "café".encode("latin-1"), "latin.txt: is not UTF-8: .* at byte 3"),
        ("long.md", b"word " * (1 << 20), "long.md: is larger than 4 MiB"),
    ],
)
def test_a_document_that_cannot_be_read_is_named(base: Path, name: str, content: bytes, said: str) -> None:
    (base / "docs" / name).write_bytes(content)
    with pytest.raises((ProjectError, DataError), match=said):
        passages_of(base / "docs", config())


def test_documents_without_a_word_are_refused(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text(" \n")
    with pytest.raises(ProjectError, match="holds no words"):
        passages_of(tmp_path / "docs", config())
