"""The report: every gate drawn, nothing loaded from outside, hostile text shown as text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluice.client.runs import Run
from sluice.core.gate import Gate
from sluice.report import page, svg
from sluice.steps.step import NAMES, STEPS
from tests.unit.report.evidence import EVIDENCE, GATES, PROJECT


class Page(HTMLParser):
    """Checks nesting, and keeps the text and every address."""

    VOID = {"meta", "br", "img", "link", "input", "hr"}

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text, self.addresses = "", []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.addresses += [v for k, v in attrs if k in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outcome(**more: Any) -> dict[str, Any]:
    return {"outcome": "promoted", "run": "digits-1", "seconds": 48.2, "reasons": [], **more}


def test_a_promoted_run_shows_every_gate_and_the_numbers_that_matter() -> None:
    seen = Page(page.run_page(PROJECT, outcome(), GATES))
    for word in ("promoted", "0.9833", "+0.0112", "0 of 5,200", "1 KiB", "no worse", *(STEPS.get(name).title for name in NAMES)):
        assert word in seen.text, word
    assert all(a and a.startswith("#") for a in seen.addresses), "nothing is loaded from anywhere"


def test_a_failed_run_says_why_where_and_how_to_mend_it() -> None:
    error = {"step": "validate_data", "message": "no such column", "field": "label", "value": "'sort'", "fix": "name one of: kind"}
    seen = Page(page.run_page(PROJECT, outcome(outcome="failed", reasons=["no such column"], error=error), []))
    for word in ("failed", "no such column", "label", "'sort'", "name one of: kind", "not reached"):
        assert word in seen.text, word


def test_a_refused_run_says_what_can_be_done() -> None:
    seen = Page(page.run_page(PROJECT, outcome(outcome="refused", gate="evaluate", reasons=["worse"], next=["train on <more> rows"]), []))
    assert "What can be done" in seen.text and "train on <more> rows" in seen.text


def test_a_comparison_without_an_interval_is_still_a_page() -> None:
    compared = {"difference": None, "low": None, "high": None, "margin": 0.005, "verdict": "inconclusive"}
    gate = Gate("evaluate", "inconclusive", (), {**EVIDENCE["evaluate"], "comparison": compared}, 1.0)
    assert "inconclusive" in Page(page.run_page(PROJECT, outcome(), [gate])).text


def test_what_comes_from_the_data_is_text_never_markup() -> None:
    bad = "</td><script>alert(1)</script>"
    evidence = {
        **EVIDENCE["validate_data"],
        "labels": {bad: 3},
        "columns": [{"name": bad, "type": "text", "rows": 1, "nulls": 0, "distinct": 1}],
    }
    html = page.step_page(Gate("validate_data", "refuse", (bad,), evidence, 0.1))
    assert "<script" not in html
    assert bad in Page(html).text


MARKUP = """<script>alert(1)</script>'"><svg onload=alert(2)>"""


def poisoned(value: Any) -> Iterator[Any]:
    """The evidence again and again, each time with markup in one of its texts or keys."""
    if isinstance(value, str):
        yield value + MARKUP
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], bad, *value[i + 1 :]] for bad in poisoned(item))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: bad} for bad in poisoned(item))
            yield {(k + MARKUP if k == key else k): v for k, v in value.items()}


@pytest.mark.parametrize("step", NAMES)
def test_no_text_of_any_evidence_becomes_markup(step: str) -> None:
    drawn = 0
    for evidence in poisoned(EVIDENCE[step]):
        gate = Gate(step, "pass", (f"fine {MARKUP}",), evidence, 1.0)
        for html in (
            page.section_or_note(gate),
            page.cluster_page({**outcome(project=f"p{MARKUP}", name=f"n{MARKUP}", url=f"http://x/{MARKUP}")}, [gate]),
            Run(REFUSED, (gate,)).plot().body,
        ):
            assert "<script" not in html and "<svg onload" not in html
            drawn += 1
    assert drawn > 4


def test_outcomes_and_notebooks_show_text_as_text_and_run_nothing() -> None:
    found = outcome(
        outcome=f"failed{MARKUP}",
        project=f"p{MARKUP}",
        reasons=[MARKUP],
        cautions=[MARKUP],
        report=MARKUP,
        error={"message": MARKUP, "field": MARKUP, "value": MARKUP, "fix": MARKUP, "step": "train"},
    )
    html = page.run_page(PROJECT, found, GATES)
    assert "<script" not in html and "<svg onload" not in html
    assert "default-src 'none'" in html and "script-src" not in html
    frame = Run(found, tuple(GATES))._repr_html_()
    assert '<iframe sandbox="allow-same-origin" srcdoc="' in frame
    inner = unescape(frame.partition('srcdoc="')[2].partition('"')[0])
    assert "<script" not in inner and "<svg onload" not in inner and "default-src 'none'" in inner


def test_what_is_cut_says_how_much_and_where_the_rest_is() -> None:
    columns = [
        {"name": f"column-{i}", "type": "numeric", "rows": 1, "nulls": 0, "distinct": 900, "top": [[str(v), 1] for v in range(9)]}
        for i in range(75)
    ]
    checks = [{"name": "c", "status": "refuse", "message": "m", "examples": ["x" * 400]}]
    seen = Page(
        page.step_page(
            Gate("validate_data", "refuse", (), {"checks": checks, "labels": {f"l{i}": 1 for i in range(40)}, "columns": columns}, 1.0)
        )
    )
    for word in (
        "15 more columns, of 75",
        "column-74",
        "gates/validate_data.json",
        "and 28 more: all",
        "and 896 more",
        "100 more characters",
    ):
        assert word in seen.text, word
    long = "a label of more than eighteen characters"
    assert long in Page(svg.confusion([long, "b"], [[1, 2], [3, 4]])).text


def test_refused_checks_stand_before_the_ones_that_passed() -> None:
    html = STEPS.get("validate_data")().section(EVIDENCE["validate_data"])
    assert html.index("too many") < html.index("1,797 rows")


@pytest.mark.parametrize("count", [2, 40])
def test_a_confusion_matrix_of_many_labels_shows_the_worst_ones(count: int) -> None:
    matrix = [[10 if i == j else 0 for j in range(count)] for i in range(count)]
    matrix[count - 1][0] = 99
    html = svg.confusion([f"l{i}" for i in range(count)], matrix, limit=5)
    assert "99 of 109" in html
    assert ("most confusions" in html) == (count > 5)


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(2, 9))
@example(450359963.1386719, 5.960464477539063e-08, 2)
@example(680429297.0, 1.192092896e-07, 6)
def test_ticks_are_round_rise_and_stay_inside(low: float, width: float, count: int) -> None:
    high = low + width
    found = svg.ticks(low, high, count)
    assert found == sorted(found)
    assert len(found) <= count + 1
    assert all(low - width * 1e-6 <= t <= high + width * 1e-6 for t in found)


@settings(deadline=None)
@given(st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf]))
def test_any_number_can_be_written(value: float) -> None:
    text = svg.number(value)
    assert text == "–" or float(text.replace(",", "")) == pytest.approx(value, rel=0.01, abs=0)


def test_a_run_on_a_cluster_is_drawn_from_what_its_logs_told() -> None:
    outcome = {
        "outcome": "promoted",
        "project": "digits",
        "name": "digits-1",
        "url": "http://h/#/runs/details/1",
        "seconds": 309.0,
        "run": "1",
        "reasons": [],
    }
    whole = [Gate(step, "pass", ("fine",), orjson.loads(orjson.dumps(EVIDENCE[step])), 1.0) for step in EVIDENCE]
    html = page.cluster_page(outcome, whole)
    assert html.count("<section id=") == len(whole) and 'href="http://h/#/runs/details/1"' in html
    bare = [Gate(g.step, "pass", ("<b>fine</b>",), {}, 1.0) for g in whole]
    html = page.cluster_page(outcome, bare)
    assert html.count("<section id=") == len(bare) and "&lt;b&gt;fine" in html


def test_the_floor_is_drawn_and_a_simple_model_ahead_stands_at_the_head():
    caution = "logistic regression is better by 0.01"
    html = page.run_page(PROJECT, outcome(cautions=[caution]), GATES)
    text = Page(html).text
    assert caution in text[: text.index("Against no model")]
    assert "judged on 300 of 357 held-out rows" in text
    assert "majority class '<b>0</b>'" in text  # as text, not as markup
    assert "candidate better by" in text
    missing = {
        **EVIDENCE["evaluate"],
        "floor": {
            **EVIDENCE["evaluate"]["floor"],
            "ahead": None,
            "simple": {"name": "logistic regression", "missing": "it ran out of time"},
        },
    }
    assert "logistic regression was left out: it ran out of time" in Page(STEPS.get("evaluate")().section(missing)).text
    assert "Warnings" not in Page(page.run_page(PROJECT, outcome(), GATES)).text


REFUSED = {
    "run": "digits-1",
    "project": "digits",
    "outcome": "refused",
    "gate": "evaluate",
    "seconds": 34.0,
    "report": "/h/reports/digits-1/index.html",
    "reasons": ["worse than the champion: " + "x" * 4000, "accuracy 0.4 is below evaluate.minimum 0.9"],
}


@pytest.mark.parametrize(
    ("outcome", "why", "then"),
    [
        (REFUSED, "worse than the champion", 'run.show("evaluate")'),
        (
            REFUSED
            | {
                "outcome": "failed",
                "error": {"field": "data.source", "message": "no such file", "value": "a.csv", "fix": "it was looked for\nat /x"},
                "reasons": ["no such file"],
            },
            "data.source: no such file (got a.csv)",
            "it was looked for at /x",
        ),
        (
            REFUSED | {"outcome": "rolled_back", "version": "3", "digest": "ab" * 32},
            "worse than the champion",
            "sluice rollout retry digits --home /h",
        ),
        (REFUSED | {"outcome": "running", "reasons": []}, None, 'Client("/h").wait("digits-1")'),
        (REFUSED | {"outcome": "promoted", "version": "3", "digest": "ab" * 32}, None, None),
    ],
)
def test_a_run_on_a_screen_says_why_and_what_next_in_a_line_each(outcome: dict[str, Any], why: str | None, then: str | None) -> None:
    run = Run(outcome, tuple(GATES), 'Client("/h")')
    lines = repr(run).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 280
    assert "accuracy 0.9833, 95% interval 0.96 to 0.99, 357 held-out rows" in repr(run)
    found = {name: [line for line in lines if line.startswith(f"  {name}: ")] for name in ("why", "next")}
    for name, wanted in (("why", why), ("next", then)):
        assert len(found[name]) == (wanted is not None)
        assert wanted is None or wanted in found[name][0]
    if outcome is REFUSED:
        assert "(and 1 more)" in found["why"][0]
    drawn = unescape(run._repr_html_().partition('srcdoc="')[2])
    assert all(said is None or said in unescape(drawn) for said in (run.why, run.next))


def test_a_run_is_plotted_as_far_as_it_came() -> None:
    whole = Page(Run(REFUSED, tuple(GATES)).plot().body)
    assert "this model: 0.9833" in whole.text and "logistic regression: 0.99" in whole.text
    assert whole.text.count("0.96 to 0.99") == 1
    assert "Gates" in Run(REFUSED, ()).plot().body and "<svg" not in Run(REFUSED, ()).plot().body
    steps = [
        {
            "t": t,
            "phase": "Step",
            "weight": 10,
            "tests": [
                {"metric": "errors", "verdict": "pass", "difference": 0.01, "low": -0.02, "high": 0.04, "e_worse": e, "e_within": None}
            ],
        }
        for t, e in ((0.0, 1.0), (1.0, 1e300))
    ]
    rollout = Page(Run(REFUSED, (Gate("rollout", "refuse", (), {"timeline": steps, "outcome": "rolled_back"}),)).plot().body)
    assert "evidence that it is worse" in rollout.text and "errors: pass" in rollout.text and "no worse than the margin" not in rollout.text
