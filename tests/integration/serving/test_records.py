"""What is kept of traffic: prediction log, feedback, access log, response cache, asynchronous results, OpenAPI."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from serving.runtime import users
from tests.integration.serving.server import Server, eventually, serving
from tests.unit.serving.builders import png


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@pytest.fixture(scope="module")
def kept(packages: dict[str, Path], home: Path) -> Iterator[Server]:
    names = ("points", "intents", "digits", "churn", "echo", "rare")
    with serving(
        home / "log",
        *(packages[n] for n in names),
        "--workers",
        "2",
        "--log",
        home / "predictions",
        "--log-seconds",
        "0.3",
        "--access-log",
        home / "access.jsonl",
        "--cache",
        str(1 << 20),
    ) as s:
        yield s


def rows(home: Path, what: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(p, partitioning=None) for p in sorted((home / "predictions").glob(f"{what}/**/*.parquet"))]
    return [r for t in tables for r in t.to_pylist()]


def logged(home: Path, request_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [r for r in rows(home, "predictions") if r["request_id"] == request_id]
        return bool(found)

    eventually(look)
    return found


PICTURE = png(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("model", "instances", "features"),
    [
        (
            "intents",
            ["send money home", "book a flight"],
            [{"text": "send money home", "tensors": None}, {"text": "book a flight", "tensors": None}],
        ),
        ("churn", [{"age": 41, "job": "cook"}, {"job": None}], [{"age": 41.0, "job": "cook"}, {"age": None, "job": None}]),
        ("digits", [{"b64": base64.b64encode(PICTURE).decode()}], [{"image": PICTURE, "tensors": None}]),
        ("points", [[1, 2, 3, 4]], [{"tensors": "[1,2,3,4]"}]),
    ],
)
def test_the_prediction_log_has_features_prediction_and_version(
    kept: Server, home: Path, model: str, instances: list[Any], features: list[Any]
) -> None:
    request_id = f"log-{model}"
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = kept.post(f"/v1/models/{model}:predict", {"instances": instances}, **{"x-request-id": request_id, "traceparent": trace})
    found = sorted(logged(home, request_id), key=lambda r: r["row"])
    assert [r["features"] for r in found] == features
    assert [r["prediction"] for r in found] == [p["label"] for p in answer["predictions"]]
    assert [r["probability"] for r in found] == pytest.approx([p["probability"] for p in answer["predictions"]])
    digest = kept.get(f"/v2/models/{model}")["parameters"]["digest"]
    assert {(r["model"], r["version"], r["trace_id"]) for r in found} == {(model, digest[:12], trace[3:35])}


def test_a_package_with_a_threshold_answers_by_it_everywhere(kept: Server, home: Path) -> None:
    chances = [0.1, 0.2, 0.3, 0.9]
    expected = ["No", "Yes", "Yes", "Yes"]  # float32's 0.2 is above 0.2, as its JSON is
    answer = kept.post("/v1/models/rare:predict", {"instances": chances}, **{"x-request-id": "log-rare"})["predictions"]
    assert [a["label"] for a in answer] == expected
    assert [a["probability"] for a in answer] == pytest.approx([0.9, 0.2, 0.3, 0.9])
    tensor = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": chances}]}
    outputs = {o["name"]: o["data"] for o in kept.post("/v2/models/rare/infer", tensor)["outputs"]}
    assert outputs["label"] == expected
    assert [r["prediction"] for r in sorted(logged(home, "log-rare"), key=lambda r: r["row"])] == expected
    assert [kept.metric("sluice_predictions_total", model="rare", label=label) for label in ("No", "Yes")] == [2, 6]
    assert kept.get("/v2/models/rare")["parameters"]["decision"] == {"label": "Yes", "threshold": 0.2, "aim": "f1"}


def test_regressions_are_logged_with_their_value(kept: Server, home: Path) -> None:
    kept.post("/v1/models/echo:predict", {"instances": [2.5]}, **{"x-request-id": "log-echo"})
    (row,) = logged(home, "log-echo")
    assert row["value"] == 2.5 and row["prediction"] is None


def test_parts_of_one_version_have_one_schema(kept: Server, home: Path) -> None:
    kept.predict("intents", "send")
    kept.post(
        "/v2/models/intents/infer",
        {"inputs": [{"name": n, "shape": [1, 2], "datatype": "INT64", "data": [2, 1]} for n in ("input_ids", "attention_mask")]},
    )
    eventually(lambda: any(r["features"].get("tensors") for r in rows(home, "predictions") if r["model"] == "intents"))
    schemas: list[pa.Schema] = [pq.read_schema(p) for p in (home / "predictions").glob("predictions/model=intents/**/*.parquet")]
    assert all(s.equals(schemas[0]) for s in schemas) and json.loads(schemas[0].metadata[b"labels"]) == ["a", "b", "c"]


def test_feedback_joins_by_request_id(kept: Server, home: Path) -> None:
    kept.post("/v1/models/points:predict", {"instances": [[9, 0, 0, 0]]}, **{"x-request-id": "fb-1"})
    status, _, body = kept.request(
        "POST", "/v2/models/points/feedback", {"items": [{"request_id": "fb-1", "label": "a"}, {"request_id": "fb-1", "outcome": 3.5}]}
    )
    assert status == 202 and json.loads(body) == {"accepted": 2}
    eventually(lambda: len([r for r in rows(home, "feedback") if r["request_id"] == "fb-1"]) == 2)
    (prediction,) = logged(home, "fb-1")
    given = {(r["label"], r["outcome"]) for r in rows(home, "feedback") if r["request_id"] == "fb-1"}
    assert given == {("a", None), (None, 3.5)} and prediction["prediction"] == "a"


def test_outcomes_are_counted_for_the_version_that_took_them(kept: Server) -> None:
    def counted() -> tuple[float, float, float]:
        page = kept.request("GET", "/metrics")[2].decode()
        lines = [x for x in page.splitlines() if x.startswith("sluice_feedback_outcome") and 'model="points"' in x]
        found = {x.partition("{")[0]: float(x.rpartition(" ")[2]) for x in lines}
        return tuple(found.get(f"sluice_feedback_{n}", 0.0) for n in ("outcomes_total", "outcome_sum", "outcome_squares_sum"))  # type: ignore[return-value]

    n, total, squares = counted()
    kept.post("/v1/models/points:predict", {"instances": [[9, 0, 0, 0]]}, **{"x-request-id": "fb-2"})
    for value in (2.0, -0.5):
        assert kept.request("POST", "/v2/models/points/feedback", {"request_id": "fb-2", "outcome": value})[0] == 202
    assert kept.request("POST", "/v2/models/points/feedback", {"request_id": "fb-2", "label": "a"})[0] == 202
    assert counted() == (n + 2, total + 1.5, squares + 4.25)


def test_users_are_counted_by_group_and_named_nowhere(kept: Server, home: Path) -> None:
    """The user of a header, of a cookie and of an item of feedback lands in one group on every worker; who is unknown is counted as before."""

    def by_group(name: str) -> dict[str, float]:
        return {
            str(g): kept.metric(name, model="points", group=str(g))
            for g in range(users.GROUPS)
            if kept.metric(name, model="points", group=str(g))
        }

    names = ("sluice_user_requests_total", "sluice_user_errors_total", "sluice_feedback_outcomes_total", "sluice_feedback_outcome_sum")
    assert [by_group(n) for n in names] == [{}] * 4
    ann = str(users.group_of(b"ann@example.com"))
    before = kept.metric("sluice_feedback_outcomes_total", model="points")
    for i in range(6):
        kept.post("/v1/models/points:predict", {"instances": [[i, 2, 3, 4]]}, **{"x-sluice-user": "ann@example.com"})
    assert kept.request("POST", "/v1/models/points:predict", b"nonsense", {"x-sluice-user": "ann@example.com"})[0] == 400
    _, headers, _ = kept.request("POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]}, {"x-sluice-sticky": "1"})
    cookie = headers["set-cookie"].partition(";")[0]
    _, headers, _ = kept.request(
        "POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]}, {"x-sluice-sticky": "1", "cookie": cookie}
    )
    assert "set-cookie" not in headers
    kept.predict("points", [1, 2, 3, 4])

    def tell(body: dict[str, Any], **headers: str) -> int:
        return kept.request("POST", "/v2/models/points/feedback", body, headers)[0]

    kept.post("/v1/models/points:predict", {"instances": [[7, 2, 3, 4]]}, **{"x-request-id": "users"})
    one = {"request_id": "users", "outcome": 2.0}
    item = {**one, "user": "ann@example.com"}
    assert [
        tell(one, **{"x-sluice-user": "ann@example.com"}),
        tell(one, cookie=cookie),
        tell({"items": [item, {**item, "outcome": -5.0}]}),
        tell(one),
    ] == [202] * 4
    drawn = cookie.partition("=")[2]
    assert by_group("sluice_user_requests_total") == dict(Counter({ann: 7.0}) + Counter({drawn: 2.0}))
    assert by_group("sluice_user_errors_total") == {ann: 1.0}
    assert by_group("sluice_feedback_outcomes_total") == dict(Counter({ann: 3.0}) + Counter({drawn: 1.0}))
    assert kept.metric("sluice_feedback_outcome_sum", model="points", group=ann) == -1.0 + 2.0 * (drawn == ann)
    assert kept.metric("sluice_feedback_outcomes_total", model="points") == before + 5
    assert tell({**one, "user": ""}) == tell({**one, "user": 7}) == 400  # type: ignore[dict-item]
    assert "ann" not in kept.request("GET", "/metrics")[2].decode()
    eventually(lambda: len([r for r in rows(home, "feedback") if r["request_id"] == "users"]) == 5)
    assert all("user" not in r and "group" not in r for r in rows(home, "feedback"))


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"request_id": "x"},
        {"request_id": "x", "label": "none"},
        {"request_id": "a b", "label": "a"},
        {"request_id": "x", "outcome": "1"},
        {"request_id": "x", "label": "a", "row": -1},
    ],
)
def test_feedback_that_cannot_be_joined_is_refused(kept: Server, item: dict[str, Any]) -> None:
    kept.post("/v1/models/points:predict", {"instances": [[7, 2, 3, 4]]}, **{"x-request-id": "x"})
    assert kept.request("POST", "/v2/models/points/feedback", item)[0] == 400


def test_a_restarted_recorder_goes_on(kept: Server, home: Path) -> None:
    import psutil

    workers = {p.pid for p in kept.workers()}
    recorder = min(workers)  # forked before the workers
    psutil.Process(recorder).kill()
    eventually(lambda: recorder not in {p.pid for p in kept.workers()} and len(kept.workers()) == 3)
    ids = iter(f"after-{i}" for i in range(1000))

    def again() -> bool:
        kept.post("/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]}, **{"x-request-id": next(ids)})
        return any(r["request_id"].startswith("after-") for r in rows(home, "predictions"))

    eventually(again, 30)


def test_the_access_log_has_a_line_a_request(kept: Server, home: Path) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    kept.request("POST", "/v1/models/points:predict", b'{"instances":[[1,2,3,4]]}', {"x-request-id": "acc-1", "traceparent": trace})
    kept.request("POST", "/v1/models/points:predict", b"nonsense", {"x-request-id": "acc-2", "traceparent": "00-0-0-0"})

    def lines() -> dict[str, dict[str, Any]]:
        return {
            e["request_id"]: e
            for e in map(json.loads, (home / "access.jsonl").read_text().splitlines())
            if e["request_id"].startswith("acc-")
        }

    eventually(lambda: len(lines()) == 2)
    good, bad = lines()["acc-1"], lines()["acc-2"]
    assert (good["status"], good["method"], good["path"], good["model"]) == (200, "POST", "/v1/models/points:predict", "points")
    assert good["trace_id"] == trace[3:35] and good["parent_span_id"] == trace[36:52] and len(good["span_id"]) == 16 and good["ms"] > 0
    assert bad["status"] == 400 and "trace_id" not in bad


def test_equal_inputs_are_answered_from_the_cache_unless_told_not_to(kept: Server) -> None:
    before = kept.metric("sluice_cache_hits_total", model="points")
    runs = kept.metric("sluice_batch_size_count", model="points")
    same = [kept.predict("points", [4, 3, 2, 1]) for _ in range(12)]
    assert all(s == same[0] for s in same)
    # Two workers, each with a cache of its own: at most two runs.
    assert kept.metric("sluice_cache_hits_total", model="points") - before >= 10
    assert kept.metric("sluice_batch_size_count", model="points") - runs <= 2
    for _ in range(5):
        kept.post("/v1/models/points:predict", {"instances": [[4, 3, 2, 1]]}, **{"cache-control": "no-cache"})
    assert kept.metric("sluice_batch_size_count", model="points") - runs >= 5
    assert kept.metric("sluice_predictions_total", model="points", label="a") >= 17


def test_an_asynchronous_request_is_fetched_later_from_any_worker(kept: Server) -> None:
    status, headers, body = kept.request(
        "POST", "/v1/models/points:predict", b'{"instances":[[9,0,0,0]]}', {"prefer": "respond-async", "x-request-id": "later"}
    )
    assert status == 202 and headers["preference-applied"] == "respond-async"
    href = json.loads(body)["href"]
    assert headers["location"] == href
    eventually(lambda: kept.request("GET", href)[0] == 200)
    for _ in range(6):
        status, headers, body = kept.request("GET", href)
        assert (
            status == 200
            and json.loads(body)["predictions"][0]["label"] == "a"
            and headers["x-request-id"] == "later"
            and headers["x-sluice-version"]
        )
    assert kept.request("DELETE", href)[0] == 200
    assert kept.request("GET", href)[0] == 404 and kept.request("GET", "/v2/results/../../etc/passwd")[0] == 404


def test_an_asynchronous_requests_error_is_its_result(kept: Server) -> None:
    href = json.loads(kept.request("POST", "/v1/models/points:predict", b"nonsense", {"prefer": "respond-async"})[2])["href"]
    eventually(lambda: kept.request("GET", href)[0] == 400)


def test_the_openapi_document_holds_against_the_server(kept: Server) -> None:
    """schemathesis: requests made from the document get only documented answers of the documented shape, and never a 5xx."""
    schema = schemathesis.openapi.from_dict(kept.get("/openapi.json"))
    seen: Counter[str] = Counter()
    checks = (
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.CHECKS.get_one("status_code_conformance"),
        schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
    )

    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            response = case.call(base_url=kept.url)
            case.validate_response(response, checks=checks)
            seen[case.operation.label] += 1

        holds()
    assert len(seen) >= 18 and seen["POST /v2/models/{model}/infer"] >= 25


def test_an_absurd_outcome_is_refused_and_the_counters_stay_finite(kept: Server) -> None:
    kept.post("/v1/models/points:predict", {"instances": [[7, 2, 3, 4]]}, **{"x-request-id": "absurd"})

    def tell(outcome: float) -> int:
        return kept.request("POST", "/v2/models/points/feedback", {"request_id": "absurd", "outcome": outcome})[0]

    assert [tell(v) for v in (1e200, -1e200, 1e9 + 1, 1e9, -2.5)] == [400, 400, 400, 202, 202]
    squares = [v for k, v in kept.metrics().items() if k.startswith("sluice_feedback_outcome_squares_sum")]
    assert squares and all(v < 1e20 for v in squares)
    told = kept.get("/openapi.json")["components"]["schemas"]["Feedback"]["properties"]["outcome"]
    assert (told["minimum"], told["maximum"]) == (-1e9, 1e9)


def test_feedback_is_taken_for_answers_alone_that_were_given_by_any_worker(kept: Server) -> None:
    def tell(**item: Any) -> tuple[int, dict[str, Any]]:
        status, _, body = kept.request("POST", "/v2/models/points/feedback", item)
        return status, json.loads(body)

    _, headers, _ = kept.request(
        "POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4], [4, 3, 2, 1]]}, {"x-request-id": "given"}
    )
    receipt = headers["x-sluice-receipt"]
    assert receipt.startswith("2-")
    assert [tell(request_id="given", row=r, label="a")[0] for r in (0, 1, 1, 0)] == [202] * 4
    status, said = tell(request_id="given", row=2, label="a")
    assert status == 400 and "body.row" in said["error"] and "2 rows" in said["error"]
    status, said = tell(request_id="never", label="a")
    assert status == 400 and "body.request_id" in said["error"] and "x-sluice-receipt" in said["fix"]
    assert tell(request_id="given", receipt=receipt, label="a")[0] == 202
    assert tell(request_id="other", receipt=receipt, label="a")[0] == tell(request_id="given", receipt="9" + receipt, label="a")[0] == 400
    status, said = tell(request_id="given", label="zebra")
    assert status == 400 and said["fix"].startswith("labels: a, b")
    before = kept.metric("sluice_feedback_outcomes_total", model="points")
    assert tell(request_id="never", outcome=1.0)[0] == 400
    assert kept.metric("sluice_feedback_outcomes_total", model="points") == before


def test_an_asynchronous_answer_is_logged_and_takes_feedback(kept: Server, home: Path) -> None:
    body = {"instances": [[9, 0, 0, 0]]}
    _, _, told = kept.request("POST", "/v1/models/points:predict", body, {"prefer": "respond-async", "x-request-id": "fb-later"})
    href = json.loads(told)["href"]
    eventually(lambda: kept.request("GET", href)[0] == 200)
    assert "x-sluice-receipt" in kept.request("GET", href)[1]
    assert kept.request("POST", "/v2/models/points/feedback", {"request_id": "fb-later", "label": "b"})[0] == 202
    assert logged(home, "fb-later")[0]["prediction"] == "a"


def test_true_values_are_bounded_by_what_the_problem_allows(kept: Server) -> None:
    kept.post("/v1/models/echo:predict", {"instances": [2.5]}, **{"x-request-id": "value"})

    def tell(label: Any) -> int:
        return kept.request("POST", "/v2/models/echo/feedback", {"request_id": "value", "label": label})[0]

    assert [tell(v) for v in (3.5, "3.5", -2)] == [202] * 3
    assert [tell(v) for v in (1e200, "1e200", "nan", "lots", True, [1.0])] == [400] * 6


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-envoy-expected-rq-timeout-ms"])
def test_what_is_for_those_inside_is_not_reached_through_a_gateway(kept: Server, header: str) -> None:
    through = {header: "1"}
    assert kept.request("POST", "/v1/models/points:predict", {"instances": [[1, 2, 3, 4]]}, {**through, "x-request-id": "out"})[0] in (
        200,
        400,
    )
    paths = [("GET", "/metrics"), ("POST", "/v2/repository/index"), ("POST", "/v2/repository/models/points/unload"), ("GET", "/%6Detrics")]
    assert [kept.request(m, p, b"" if m == "POST" else None, through)[0] for m, p in paths] == [404] * 4
    assert kept.request("POST", "/v2/models/points/feedback", {"request_id": "out", "label": "a"}, through)[0] == 403
    assert kept.request("GET", "/metrics")[0] == 200
