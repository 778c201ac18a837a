"""What `make bench-real` makes of a folder, and the table it prints."""

from __future__ import annotations

from pathlib import Path

from sluice import project as projects
from tests.bench import real, real_sets


def test_files_become_projects_of_three_lines_with_the_label_said_or_guessed(tmp_path: Path) -> None:
    (tmp_path / "Two Words.csv").write_text("a;b;target;c\n1;2;x;3\n" * 9)
    (tmp_path / "titanic.csv").write_text("survived,age,alive\n0,22,no\n" * 9)
    (tmp_path / "last.tsv").write_text("a\tb\n1\t2\n" * 9)
    (tmp_path / "reviews.csv").write_text("id,said,stars\n1,a film of more than twenty five characters,5\n" * 9)
    (tmp_path / "real.yaml").write_text("last: {metric: mae}\n")
    (tmp_path / "notes.md").write_text("")
    found = {name: real_sets.project(name, source, {**real_sets._hints(Path(real_sets.__file__).with_name("real.yaml"))}.get(name, {}), test)
             for name, source, test in real_sets._in_folder(tmp_path)}  # fmt: skip
    assert list(found) == ["two-words", "last", "reviews", "titanic"]
    assert found["two-words"]["data"]["columns"] == {"label": "target"}
    assert found["last"]["data"]["columns"] == {"label": "b"}
    assert found["titanic"]["data"]["columns"] == {"label": "survived", "ignore": ["alive"]}
    assert (found["reviews"]["task"], found["reviews"]["data"]["columns"]) == ("text", {"label": "stars", "text": "said"})
    for one in found.values():
        projects.parse(one, base_dir=tmp_path)


def test_a_folder_with_a_train_file_is_one_set_with_its_own_test_rows(tmp_path: Path) -> None:
    for name in ("train", "test", "val"):
        (tmp_path / f"{name}.csv").write_text("text,label\na,b\n")
    assert [(source, test) for _, source, test in real_sets._in_folder(tmp_path)] == [(str(tmp_path / "train.csv"), str(tmp_path / "test.csv"))]


def test_the_table_names_who_beats_us_and_what_was_refused() -> None:
    gap = {"baseline": 0.8, "difference": 0.05, "low": 0.01, "high": 0.09}
    behind = {"baseline": 0.9, "difference": -0.05, "low": -0.09, "high": -0.01}
    good = {"metric": "accuracy", "value": 0.85, "rows": {"train": 80, "test": 20}, "others": {"trivial": gap, "simple": behind, "boosting": {"missing": "has no texts"}},
            "beaten_by": ["simple"], "refused_by_checks": ["too many nulls"], "decision": "pass", "reasons": [], "cpu_seconds": 12.0}  # fmt: skip
    shown = real.table({"b": good, "a": {"failed": "Traceback\nValueError: no"}})
    assert shown.splitlines()[2].startswith("| a | | | failed: ValueError: no")
    assert "| b ¹ | 100 (20) | accuracy | 0.85 | 0.8 | 0.9: -0.05 [-0.09, -0.01] | – (has no texts) | linear | 12 |" in shown
    assert "1 sets; beaten beyond doubt by a trivial or a linear model on 1: b." in shown
    assert "too many nulls" in shown
