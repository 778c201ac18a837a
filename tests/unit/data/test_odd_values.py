"""Labels and categories that are not what they seem: names of rows, quantities, characters that no one sees."""

from __future__ import annotations

from tests.unit.data.test_checks import RNG, N, found, report, rows


def test_categories_with_characters_that_no_one_sees_are_warned_of() -> None:
    towns = rows().column("town").to_pylist()
    made = found(report(rows(town=["Rome\0", "Os\ufffdlo", *towns[2:]])), "characters", "warn")
    assert made.value == 2 and made.column == "town" and "2 rows with a zero byte" in made.message and len(made.examples) == 2
    assert not [c for c in report(rows(town=["Žilina\tSK", "a\nb", *towns[2:]])).checks if c.name == "characters"]
    labels = rows().column("label").to_pylist()
    assert found(report(rows(label=["a\x01", *labels[1:]])), "characters", "warn").column == "label"


def test_labels_that_are_another_in_nearly_every_row_are_no_classes() -> None:
    numbers = found(report(rows(label=[f"{v:.2f}" for v in RNG.uniform(0, 99, N)])), "classes", "refuse")
    assert "a quantity, no classes" in numbers.message and "task: tabular" in numbers.message
    names = found(report(rows(label=[f"row {i}" for i in range(N)])), "classes", "refuse")
    assert f"{N:,} different labels in {N:,} rows: names of the rows" in names.message
    assert not [c for c in report(rows(label=[f"c{i % (N // 3)}" for i in range(N)])).checks if c.name == "classes"]
