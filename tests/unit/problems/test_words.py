"""No code outside `sluice/problems` holds a problem's name: it asks the problem."""

from __future__ import annotations

import ast
from pathlib import Path

from sluice.problems.problem import PROBLEMS

ROOT = Path(__file__).parents[3]
#: Where the word means something else: LightGBM's own parameter; a column's name; a text, a picture or a recording as numbers, in a profile and a monitor.
OTHERS = {
    "sluice/learners/estimators/lightgbm.py": {"regression"},
    "sluice/data/profile.py": {"vectors"},
    "sluice/monitor/drift.py": {"vectors"},
    "sluice/tasks/transcribe.py": {"transcription"},
}


def held(path: Path) -> list[tuple[int, str]]:
    """(line, word) wherever a problem's name stands as a text of its own."""
    words = set(PROBLEMS.built_in)
    return [
        (n.lineno, n.value)
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value in words
    ]


def test_a_problems_name_stands_in_no_other_folder() -> None:
    found = []
    for folder in ("sluice", "components", "pipelines", "serving"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("sluice/problems/"):
                found += [f"{name}:{line}: {word!r}" for line, word in held(path) if word not in OTHERS.get(name, ())]
    assert not found, "ask the problem (sluice/problems/problem.py) instead of:\n" + "\n".join(found)


def test_such_a_word_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("if x.objective == 'regression':\n    pass\n")
    assert held(tmp_path / "a.py") == [(1, "regression")]
