"""The REST client against a server that fails in each way it can: a typed error, tried again where that is safe."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.controller.runs.reconciler import endpoint
from sluice.kfp.answers import timestamp
from sluice.kfp.client import Api
from sluice.kfp.errors import Conflict, EndpointError, EndpointFault, NotFound, Rejected, Unauthorised, Unreachable
from tests.integration.schedules.pipelines_server import Pipelines, serving

NOW = 1_800_000_000.0


@pytest.fixture
def state() -> Pipelines:
    return Pipelines(NOW)


@pytest.fixture
def kfp(state: Pipelines) -> Iterator[Api]:
    with serving(state) as url:
        yield Api(endpoint(url + "/", None, None), tries=3)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, Unauthorised),
        (403, Unauthorised),
        (404, NotFound),
        (409, Conflict),
        (429, Unreachable),
        (500, EndpointFault),
        (502, Unreachable),
        (503, Unreachable),
        (418, Rejected),
    ],
)
def test_a_status_becomes_its_error_with_the_servers_words(kfp: Api, state: Pipelines, status: int, kind: type[EndpointError]) -> None:
    state.fault = lambda method, path: (status, b'{"error":"x","code":2,"message":"the reason\\n of it"}')
    with pytest.raises(kind, match="the reason of it") as e:
        kfp.experiment_id("nightly", None)
    assert type(e.value) is kind and e.value.status == status and e.value.fix


def test_a_pipeline_that_is_not_there_is_named_with_the_way_to_make_it(kfp: Api) -> None:
    with pytest.raises(NotFound, match=r"no such pipeline.*'digits'") as e:
        kfp.pipeline_id("digits", None)
    assert "sluice compile --kubernetes" in str(e.value.fix)


@pytest.mark.parametrize("body", [b"", b'{"pipeline_id": 7}', b"<html>bad gateway</html>", b"[1]", b"\xff\xfe"])
def test_an_answer_that_is_no_object_is_a_fault_of_theirs(kfp: Api, state: Pipelines, body: bytes) -> None:
    state.fault = lambda method, path: (200, body)
    with pytest.raises(EndpointFault):
        kfp.pipeline_id("digits", None)


def test_nobody_there_is_said_so() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(Unreachable, match="NetworkPolicy") as e:
        Api(endpoint(f"http://127.0.0.1:{port}", None, None), tries=1).pipeline_id("digits", None)
    assert e.value.status == 0


def test_reading_and_deleting_are_tried_again(kfp: Api, state: Pipelines) -> None:
    key = state.add_pipeline("digits")
    troubles = iter([(500, b'{"message":"invalid connection"}'), "drop"])
    state.fault = lambda method, path: next(troubles, None)
    assert kfp.pipeline_id("digits", None) == key
    state.recurring["r"] = {"recurring_run_id": "r"}
    troubles = iter([(503, b""), "lose"])
    kfp.delete_recurring("r")
    # the first delete came through and its answer was lost: that it is gone is no error
    assert state.recurring == {}


def test_making_a_run_is_never_tried_again(kfp: Api, state: Pipelines) -> None:
    pipeline = state.add_pipeline("digits")
    state.fault = lambda method, path: "lose" if method == "POST" else None
    with pytest.raises(Unreachable):
        kfp.create_run(
            {"display_name": "x", "experiment_id": "e", "runtime_config": {}, "pipeline_version_reference": {"pipeline_id": pipeline}}
        )
    assert len(state.runs) == 1 and len(state.calls) == 1


def test_lists_are_read_to_their_last_page(kfp: Api, state: Pipelines) -> None:
    for n in range(7):
        state.runs[str(n)] = {
            "run_id": str(n),
            "experiment_id": "e",
            "display_name": "a" if n % 2 else "b",
            "created_at": str(n),
            "storage_state": "AVAILABLE",
        }
    state.runs["0"]["storage_state"] = "ARCHIVED"
    assert [r["run_id"] for r in kfp.runs_of("e")] == ["6", "5", "4", "3", "2", "1"]
    assert [r["run_id"] for r in kfp.runs_of("e", archived=True, display_name="b")] == ["6", "4", "2", "0"]
    assert kfp.recurring("e") == []


def test_a_version_is_found_by_name_or_id_or_as_the_newest(kfp: Api, state: Pipelines) -> None:
    key = state.add_pipeline("digits", "v1", "v2", "v3")
    ids = {v["display_name"]: k for k, v in state.versions.items()}
    found = [kfp.version_to_run(key, name)["pipeline_version_id"] for name in (None, "v1", ids["v2"])]
    assert found == [ids["v3"], ids["v1"], ids["v2"]]
    with pytest.raises(NotFound, match="no version v9"):
        kfp.version_to_run(key, "v9")


def test_an_experiment_made_by_another_hand_between_two_calls_is_found(kfp: Api, state: Pipelines) -> None:
    def meanwhile(method: str, path: str) -> None:
        if method == "POST" and not state.experiments:
            state.create("experiments", {"display_name": "nightly/ns"})

    state.fault = meanwhile
    assert kfp.experiment_id("nightly/ns", None, create=False) is None
    assert kfp.experiment_id("nightly/ns", None) in state.experiments and len(state.experiments) == 1


def test_the_token_is_read_for_each_call(state: Pipelines, tmp_path: Path) -> None:
    state.add_pipeline("digits")
    token = tmp_path / "token"
    with serving(state) as url:
        kfp = Api(endpoint(url, token, None), tries=1)
        with pytest.raises(Unauthorised, match="cannot be read"):
            kfp.pipeline_id("digits", None)
        for value in ("first", "second"):
            token.write_text(value + "\n")
            kfp.pipeline_id("digits", None)
    assert [h["Authorization"] for h in state.headers] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("text", "value"), [("2026-11-21T02:00:00Z", 1_795_226_400.0), ("0001-01-01T00:00:00Z", 0.0), (None, 0.0), ("soon", 0.0)]
)
def test_times_of_the_api(text: str | None, value: float) -> None:
    assert timestamp(text) == value
