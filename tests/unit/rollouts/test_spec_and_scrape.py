from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from serving.runtime.metrics import Metrics, Page, render
from serving.runtime.models.model import Counters
from sluice.core.errors import SluiceError
from sluice.rollouts import prometheus_text, users
from sluice.rollouts.load_generator import Histogram, answer
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import add, delta

PAGE = """\
# HELP sluice_inference_requests_total Requests.
# TYPE sluice_inference_requests_total counter
sluice_inference_requests_total{model="m",version="abc",code="200"} 90
sluice_inference_requests_total{model="m",version="abc",code="400"} 3
sluice_inference_requests_total{model="m",version="abc",code="499"} 1
sluice_inference_requests_total{model="m",version="abc",code="503"} 6
sluice_inference_requests_total{model="other",version="abc",code="500"} 1000
sluice_inference_duration_seconds_bucket{model="m",version="abc",le="0.1"} 70
sluice_inference_duration_seconds_bucket{model="m",version="abc",le="0.2"} 85
sluice_inference_duration_seconds_bucket{model="m",version="abc",le="+Inf"} 100
sluice_inference_duration_seconds_count{model="m",version="abc"} 100
sluice_inference_duration_seconds_sum{model="m",version="abc"} 12.5
sluice_predictions_total{model="m",version="abc",label="say \\"hi\\""} 60
sluice_predictions_total{model="m",version="abc",label="b"} 3e1
process_open_fds 17 1700000000000
"""


def test_counters_are_read_from_a_metrics_page():
    assert prometheus_text.counts(PAGE, 0.2, "m") == {
        "requests": 100,
        "errors": 9,
        "timed": 100,
        "slow": 15,
        'label:say "hi"': 60,
        "label:b": 30,
    }


@pytest.mark.parametrize("separator", list("\u2028\u2029\x85\r\x0b\x0c\x1c\x1d\x1e\n"))
def test_a_label_that_holds_a_line_separator_is_read_as_the_server_wrote_it(separator: str):
    page, label = Page(), f"on{separator}hold"
    metrics = Metrics(page)
    metrics.values[metrics.counter(prometheus_text.PREDICTIONS, model="m", version="v", label=label)] += 3
    metrics.values[metrics.counter(prometheus_text.REQUESTS, model="m", version="v", code="200")] += 3
    assert prometheus_text.counts(render([page]).decode(), 0.2) == {"requests": 3, "errors": 0, "timed": 0, "slow": 0, f"label:{label}": 3}


def test_counters_by_group_of_users_are_read_beside_the_whole():
    page, sums = Page(), {"outcomes": 0.0, "outcome_sum": 0.0}
    server = Counters(Metrics(page), SimpleNamespace(name="m", version="v", digest="d", labels=[], regresses=False, arrays=None), 200.0)  # type: ignore[arg-type]
    for group, status, seconds, label in ((7, 200, 0.1, 1), (7, 200, 0.3, 2), (7, 500, 0.3, 1), (63, 499, 0.1, 0), (None, 200, 0.1, 3)):
        server.code(status)
        if group is not None:
            server.user(group, status, seconds, label)
    for value, group in ((1.0, 7), (-2.5, 7), (0.0, 8), (4.0, None)):
        server.outcome(value, group)
        sums["outcomes"] += 1
        sums["outcome_sum"] += value
    text = render([page]).decode()
    by_user = {"r@7": 3, "e@7": 1, "w@7": 1, "o@7": 1, "r@63": 1}
    found = prometheus_text.counts(text, 0.2)
    assert {k: v for k, v in found.items() if "@" in k} == by_user and (found["requests"], found["errors"]) == (5, 1)
    found = prometheus_text.counts(text, 0.2, outcomes=True)
    assert {k: v for k, v in found.items() if "@" in k} == by_user | {"n@7": 2, "s@7": -1.5, "n@8": 1}
    assert {k: found[k] for k in sums} == sums and found["outcome_squares"] == 1 + 6.25 + 16
    assert users.known(found, "outcomes") == 0.75 and users.known(found, "requests") == 0.8
    requests, errors = users.by_group(found, "requests", "errors")
    assert sorted(zip(requests.tolist(), errors.tolist(), strict=True)) == [(1, 0), (3, 1)]
    assert delta({"n@7": 2, "s@7": -1.5}, {"n@7": 3, "s@7": -4.0}) == ({"n@7": 1, "s@7": -2.5}, False)
    assert delta({"n@7": 2, "s@7": 1.5}, {"n@7": 1, "s@7": 2.0}) == ({"n@7": 1, "s@7": 2.0}, True)


@pytest.mark.parametrize(
    "line",
    [
        'sluice_user_requests_total{group="1"} NaN',
        'sluice_user_errors_total{group="1"} -1',
        'sluice_feedback_outcomes_total{group="1"} -1',
        'sluice_feedback_outcome_sum{group="1"} NaN',
        'sluice_user_requests_total{group="somebody@example.com"} 3',
        "\n".join(f'sluice_user_requests_total{{group="{i}"}} 1' for i in range(300)),
    ],
)
def test_groups_that_are_no_counts_or_name_users_are_refused(line: str):
    """A label a user is without end, and each would lie in the rollout's status."""
    with pytest.raises(SluiceError, match=r"is not a count|groups of users"):
        prometheus_text.counts(line, 0.2, outcomes=True)
    assert prometheus_text.counts('sluice_feedback_outcome_sum{group="1"} -3', 0.2, outcomes=True)["s@1"] == -3


def test_an_objective_between_edges_takes_the_edge_below():
    assert prometheus_text.counts(PAGE, 0.15, "m")["slow"] == 30
    assert prometheus_text.counts(PAGE, 0.01, "m")["slow"] == 100


@pytest.mark.parametrize(
    "line",
    [
        'sluice_inference_requests_total{code="200"} NaN',
        "sluice_inference_requests_total 12 monkeys and x",
        "sluice_inference_requests_total -4",
        "sluice_inference_requests_total +Inf",
        "sluice_ {",
        'sluice_inference_requests_total{code="500} 3',
        'sluice_inference_requests_total{code="200" model="m"} 3',
    ],
)
def test_a_page_that_lies_is_an_error_not_a_count(line: str):
    with pytest.raises(SluiceError):
        prometheus_text.counts(line, 0.2)


def test_an_empty_page_counts_nothing():
    assert prometheus_text.counts("", 0.2) == {"requests": 0, "errors": 0, "timed": 0, "slow": 0}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [50, 10]}, "rising"),
        ({"steps": [10, 10]}, "rising"),
        ({"steps": [0, 10]}, "between 1 and 99"),
        ({"steps": [10, 100]}, "100 follows by itself"),
        ({"errors": {"tolerance": 0.05, "margin": 0.02}}, "no candidate could pass"),
        ({"strategy": "ab"}, "needs `business`"),
        ({"stpes": [10]}, "stpes"),
        ({"alpha": 0.7}, "alpha"),
        ({"minimum_requests": "many"}, "minimum_requests"),
    ],
)
def test_bad_plans_are_refused_with_the_reason(value: dict[str, Any], what: str):
    with pytest.raises(ValidationError, match=what):
        RolloutSpec.model_validate(value)


def test_the_design_documents_example_is_a_plan():
    plan = RolloutSpec.model_validate({"steps": [10, 50], "minimum_requests": 300, "latency_slo_ms": 200})
    assert plan == RolloutSpec()
    assert plan.windows == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"predictions": [{"label": "a", "probability": 0.9}]}, "a"),
        ({"predictions": [{"value": 1.5}]}, 1.5),
        ({"predictions": ["b"]}, "b"),
        ({"predictions": ["True"]}, "true"),
        ({"predictions": [{"value": None}]}, None),
        ({"predictions": []}, None),
        ({"predictions": [{"values": [1.0, 2.0]}]}, 0.0),
        ({"predictions": [{"values": []}]}, None),
        ({"outputs": [{"name": "values", "data": [0.5, 2]}]}, 0.0),
        ({"error": "x"}, None),
        ([], None),
        ({"outputs": [{"name": "label", "data": ["c"]}, {"name": "probabilities", "data": [0.1]}]}, "c"),
        ({"outputs": [{"name": "value", "data": [2]}]}, 2.0),
    ],
)
def test_answers_of_both_protocols_are_understood(body: Any, said: object):
    assert answer(json.dumps(body).encode()) == said


def test_an_answer_that_is_no_json_is_no_answer():
    assert answer(b"<html>") is None


def test_histogram_quantiles_are_within_two_per_cent():
    h = Histogram()
    assert h.quantile(0.5) is None
    for i in range(1, 1001):
        h.add(i / 1000)
    assert h.quantile(0.5) == pytest.approx(0.5, rel=0.025)
    assert h.quantile(0.99) == pytest.approx(0.99, rel=0.025)
    h.add(1e9)
    assert h.quantile(1.0) == pytest.approx(100, rel=0.2)


def test_deltas_know_restarts_new_processes_and_new_counters():
    assert delta({"requests": 5}, {"requests": 9, "errors": 1}) == ({"requests": 4, "errors": 1}, False)
    assert delta({"requests": 5, "label:a": 5}, {"requests": 9}) == ({"requests": 9}, True)
    assert delta(None, {"requests": 3}) == ({"requests": 3}, False)
    assert add({"a": 1}, {"a": 2, "b": 3}) == {"a": 3, "b": 3}


def test_a_margin_named_alone_keeps_the_default_tolerance():
    """`shift: {margin: 0.3}` set the tolerance to 0, and so was stricter than the default it meant to widen."""
    spec = RolloutSpec.model_validate({"shift": {"margin": 0.3}, "slow": {"tolerance": 0.02}, "errors": {"margin": 0.01}})
    assert (spec.shift.tolerance, spec.shift.margin) == (0.1, 0.3) and (spec.slow.tolerance, spec.slow.margin) == (0.02, 0.05)
    assert (spec.errors.tolerance, spec.errors.margin) == (0.0, 0.01)
    assert RolloutSpec.model_validate({"shift": {"margin": 0.05}}).shift.tolerance == pytest.approx(0.025)
    assert RolloutSpec.model_validate({"shift": {"margin": 0.05, "tolerance": 0}}).shift.tolerance == 0
    assert RolloutSpec.model_validate({"slow": None}).slow is None


@pytest.mark.parametrize("written", ["{off: true}", '{"off": true}'])
def test_a_comparison_is_left_out_however_off_is_written(written: str):
    """YAML reads `off` without quotes as false, and an API server keeps the key as the text "false"."""
    from serving.controller.rollouts.resource import read
    from tests.unit.rollouts.test_controller import rollout

    raw = rollout("a" * 64, analysis=json.loads(json.dumps(yaml.safe_load(f"shift: {written}"))))
    raw["metadata"]["uid"] = "u"
    assert read(raw).plan.shift is None and read(raw).plan.slow is not None
