"""What an evaluation hands on for the record and the card: metrics with intervals and the worst slices, in a kilobyte each."""

from __future__ import annotations

from components.evaluate.logic import told
from sluice.core.files import canonical_json
from sluice.core.gate import brief
from sluice.proof.record import measured


def metric(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "note": "long " * 50}


def test_metrics_and_slices_survive_being_handed_on():
    slices = [
        {"column": "job", "value": f"job {i}", "rows": 30 + i, "metric": 0.5 + i / 100, "low": 0.4, "high": 0.6, "ok": None}
        for i in range(9)
    ]
    found = told({"metrics": {"accuracy": metric(0.98765432, 0.95, 0.99), "mcc": metric(None)}, "slices": slices})
    assert found["measured"] == {"accuracy": [0.987654, 0.95, 0.99], "mcc": [None, None, None]}
    assert [s[0] for s in found["sliced"]] == [f"job = job {i}" for i in range(5)], "the worst of each column come first"
    assert brief(found, 1024) == found


def test_many_of_both_stay_within_a_kilobyte():
    metrics = {f"a metric of some length {i}": metric(i / 7, i / 8, i / 6) for i in range(60)}
    slices = [
        {"column": f"column {i}", "value": "v" * 99, "rows": 1, "metric": 0.1, "low": None, "high": None, "ok": None} for i in range(90)
    ]
    found = told({"metrics": metrics, "slices": slices})
    assert all(len(canonical_json(part)) <= 1024 for part in found.values()) and found["measured"] and found["sliced"]
    assert "sliced" not in told({"metrics": {}, "slices": []})


def test_what_is_handed_on_is_what_the_record_reads():
    from sluice.core.gate import Gate

    evidence = {"evaluation": {"metric": "accuracy"}} | told(
        {
            "metrics": {"accuracy": metric(0.9, 0.8, 0.95)},
            "slices": [{"column": "c", "value": "x", "rows": 3, "metric": 0.5, "low": None, "high": None}],
        }
    )
    assert measured([Gate("evaluate", "pass", (), evidence)]) == [
        {"name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95},
        {"name": "accuracy", "slice": "c = x", "value": 0.5, "low": None, "high": None},
    ]
    assert measured([]) == []
