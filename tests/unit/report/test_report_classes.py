"""What the report shows of a classifier: the threshold on its curve, tables beside pictures, text that stays text."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

import numpy as np

from sluice.core.gate import Gate
from sluice.gates.config import EvaluateConfig
from sluice.problems.decision import Rule
from sluice.problems.evaluator import evaluate
from sluice.report import page
from tests.unit.evaluation.decided import decide


def shown(labels: list[str], rule: Rule | None = None, rows: int = 400) -> str:
    rng = np.random.default_rng(0)
    share = [0.9, 0.1] if len(labels) == 2 else np.full(len(labels), 1 / len(labels))
    y = rng.choice(len(labels), rows, p=share)
    p = np.exp(rng.normal(size=(rows, len(labels))) + 1.5 * np.eye(len(labels))[y])
    p /= p.sum(axis=1, keepdims=True)
    config = EvaluateConfig(metric="roc_auc")
    found = evaluate(p, y, labels, config, rule=rule)
    decision, reasons = decide(found, None, config)
    return page.step_page(Gate("evaluate", decision, tuple(reasons), {"evaluation": found, "comparison": None, "champion_note": ""}))


def cells(text: str, summary: str) -> list[list[str]]:
    """The table inside the details with that summary."""
    inside = next(m for m in re.findall(r"<details.*?</details>", text, flags=re.S) if summary in m)
    rows = re.findall(r"<tr>(.*?)</tr>", inside, flags=re.S)
    return [[html.unescape(re.sub("<.*?>", "", c)) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, flags=re.S)] for row in rows]


def test_two_labels_show_the_rule_and_where_it_lies_on_the_curve():
    text = shown(["No", "Yes"], Rule("Yes", 0.23, "best f1"))
    assert "The positive label is <b>Yes</b>" in text
    assert "at least <b>0.23</b> (best f1 on the validation rows)" in text
    point = re.search(r"what is answered: recall ([0-9.]+), precision ([0-9.]+)", text)
    *curve, answered = cells(text, "The curves as a table (Yes)")[1:]
    assert answered[0] == "what is answered"
    assert abs(float(answered[1]) - float(point[1])) < 1e-3
    recalls = [float(row[1]) for row in curve]
    assert recalls == sorted(recalls) and recalls[-1] == 1
    for axis in ("true positive rate (recall)", "false positive rate (other rows named)", "recall (rows of the label that are named)"):
        assert f">{axis}</text>" in text
    assert "choose a threshold" not in text


def test_without_a_rule_it_is_said_how_to_get_one():
    assert "<code>evaluate.decision</code> chooses a threshold" in shown(["No", "Yes"])


def test_more_labels_show_the_pooled_curve_and_the_mean_of_the_labels():
    text = shown(["a", "b", "c"])
    assert "every label, micro-averaged: 0." in text and "mean of the labels: 0." in text
    assert "The positive label" not in text
    table = cells(text, "Per label")
    assert table[0] == ["label", "precision", "recall", "F1", "ROC AUC", "average precision", "rows"] and len(table) == 4
    assert re.search(r"\d to 0\.\d", table[1][1])


def test_the_confusion_matrix_is_a_table_too_with_the_share_of_each_row():
    rows = cells(shown(["No", "Yes"]), "As a table")
    assert rows[0] == ["truth \\ answer", "No", "Yes", "rows"]
    for _, *counts, total in rows[1:]:
        found = [re.fullmatch(r"([\d,]+) \(([\d.]+)%\)", c) for c in counts]
        assert sum(int(m[1].replace(",", "")) for m in found) == int(total.replace(",", ""))
        assert abs(sum(float(m[2]) for m in found) - 100) < 0.3


def test_labels_are_text_and_the_pictures_are_well_formed():
    text = shown(["<b>&amp;", '"><script>x</script>'], Rule('"><script>x</script>', 0.3, "best f1"))
    assert "<script>" not in text and "<b>&amp;amp;" not in text
    for picture in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ElementTree.fromstring(picture)
