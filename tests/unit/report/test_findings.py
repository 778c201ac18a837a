"""The first thing that is read of a report: sentences, those that need a person first; words explained where they stand."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.core.gate import Gate
from sluice.report.findings import findings
from sluice.report.tables import Html, table
from sluice.report.words import WORDS, explained, first_explained, note, used

EVALUATION: dict[str, Any] = {
    "metric": "accuracy",
    "value": 0.91,
    "low": 0.88,
    "high": 0.93,
    "confidence": 0.9,
    "rows": 1000,
    "confusion": {"labels": ["a", "<b>", "c"], "matrix": [[9, 1, 0], [0, 5, 5], [0, 0, 10]]},
    "per_label": [{"label": "a", "f1": 0.95, "support": 10}, {"label": "<b>", "f1": 0.6, "support": 10}],
    "slices": [
        {"column": "town", "value": "<i>", "metric": 0.4, "rows": 50, "ok": False},
        {"column": "town", "value": "y", "metric": 0.9, "rows": 50, "ok": True},
    ],
}
EVIDENCE = {
    "evaluation": EVALUATION,
    "comparison": {"verdict": "no_worse", "difference": 0.01, "low": -0.002, "high": 0.02},
    "importance": {
        "columns": [{"column": "age", "value": 0.2, "low": 0.1, "high": 0.3}, {"column": "noise", "value": 0.01, "low": -0.1, "high": 0.1}]
    },
    "mistakes": {"rows": [{}, {}]},
}


def said(outcome: dict[str, Any], gates: list[Gate], champion: str = "") -> list[str]:
    return findings(outcome, gates, champion).split("<li ")[1:]


def test_what_came_out_stands_first_then_the_figure_then_what_is_weak() -> None:
    lines = said({"outcome": "promoted", "version": "3"}, [Gate("evaluate", "pass", (), EVIDENCE)], "../before/index.html")
    for line, words in zip(
        lines,
        ("serves as version 3", "0.91 (90% interval 0.88 to 0.93) on 1,000 held-out rows", "no worse, +0.0100", "town", "'&lt;b&gt;': F1 0.6", "'&lt;b&gt;' for 'c', 5 of 10", "'age'.", "2 worst"),
        strict=True,
    ):  # fmt: skip
        assert words.replace("'", "&#x27;") in line, (words, line)
    assert 'href="../before/index.html"' in lines[2]
    assert "<b>" not in "".join(lines) and "noise" not in "".join(lines)


def test_a_refusal_names_its_gate_and_its_reasons() -> None:
    lines = said({"outcome": "refused"}, [Gate("evaluate", "refuse", ("below <the> bar",), {"evaluation": {}})])
    assert len(lines) == 1 and 'class="no"' in lines[0] and 'href="#evaluate"' in lines[0] and "below &lt;the&gt; bar" in lines[0]


@pytest.mark.parametrize(
    "evidence", [{}, {"evaluation": None}, {"evaluation": {"metric": "x"}}, {"importance": 7, "mistakes": [1], "evaluation": {"slices": 3}}]
)
def test_evidence_that_a_log_left_out_costs_a_sentence_and_not_the_page(evidence: dict[str, Any]) -> None:
    assert "Promoted" in findings({"outcome": "promoted"}, [Gate("evaluate", "pass", (), evidence)])


def test_a_word_is_explained_where_it_heads_a_column_or_names_a_metric() -> None:
    page = table(["metric", "interval"], [["roc_auc", "recall"], ["<x>", Html("<b>y</b>")]])
    assert page.count("<abbr") == 2 and "&lt;x&gt;" in page and "<b>y</b>" in page
    assert first_explained("F1 of <it> and recall").count("<abbr") == 1 and "&lt;it&gt;" in first_explained("F1 of <it>")
    assert explained("recalls") == "recalls"


def test_a_page_ends_with_the_words_it_uses_and_no_others() -> None:
    assert used("<p title='recall'>Precision and roc auc</p>") == ["precision", "roc_auc"]
    assert used("<p>Dr. Who asked for request r2</p>") == []
    assert used(f"<p>Dr. Who</p><th>{explained('dr')}</th>") == ["dr"]
    assert note("<p>nothing of it</p>") == ""
    assert all(meaning in note(explained(name)).replace("&#x27;", "'") for name, meaning in WORDS.items() if "'" not in name)
