"""What `make bench-real` makes of a folder, and the table it prints."""

from __future__ import annotations

import random
from pathlib import Path

from sluice import project as projects
from tests.bench import real, real_sets


def test_files_become_the_projects_that_init_writes_with_the_label_said_or_guessed(tmp_path: Path) -> None:
    pick = random.Random(3)
    people = [f"{pick.randint(0, 1)},{pick.randint(1, 80)},{pick.choice(['yes', 'no'])}" for _ in range(200)]
    (tmp_path / "titanic.csv").write_text("\n".join(["survived,age,alive", *people]) + "\n")
    (tmp_path / "Two Words.csv").write_text(
        "\n".join(["a;b;c", *(f"{pick.random():.4f};{pick.random():.4f};{pick.choice('xy')}" for _ in range(200))]) + "\n"
    )
    (tmp_path / "notes.md").write_text("")
    hints = real_sets._hints(Path(real_sets.__file__).with_name("real.yaml"))
    found = {name: real_sets.project(name, source, hints.get(name, {}), test) for name, source, test in real_sets._in_folder(tmp_path)}
    assert list(found) == ["two-words", "titanic"]
    assert found["two-words"]["data"]["columns"]["label"] == "c"
    assert found["titanic"]["data"]["columns"]["label"] == "survived"
    assert "alive" in found["titanic"]["data"]["columns"]["ignore"]
    for one in found.values():
        projects.parse(one, base_dir=tmp_path)


def test_a_folder_with_a_train_file_is_one_set_with_its_own_test_rows(tmp_path: Path) -> None:
    for name in ("train", "test", "val"):
        (tmp_path / f"{name}.csv").write_text("text,label\na,b\n")
    assert [(source, test) for _, source, test in real_sets._in_folder(tmp_path)] == [
        (str(tmp_path / "train.csv"), str(tmp_path / "test.csv"))
    ]


def test_the_table_names_who_beats_us_and_what_was_refused() -> None:
    gap = {"baseline": 0.8, "difference": 0.05, "low": 0.01, "high": 0.09}
    behind = {"baseline": 0.9, "difference": -0.05, "low": -0.09, "high": -0.01}
    good = {
        "metric": "accuracy",
        "value": 0.85,
        "rows": {"train": 80, "test": 20},
        "others": {"trivial": gap, "simple": behind, "boosting": {"missing": "has no texts"}},
        "beaten_by": ["simple"],
        "refused_by_checks": ["too many nulls"],
        "decision": "pass",
        "reasons": [],
        "cpu_seconds": 12.0,
    }
    shown = real.table({"b": good, "a": {"failed": "Traceback\nValueError: no"}})
    assert shown.splitlines()[2].startswith("| a | | | failed: ValueError: no")
    assert "| b ¹ | 100 (20) | accuracy | 0.85 | 0.8 | 0.9: -0.05 [-0.09, -0.01] | – (has no texts) | linear | 12 |" in shown
    assert "1 sets; beaten beyond doubt by a trivial or a linear model on 1: b." in shown
    assert "too many nulls" in shown
