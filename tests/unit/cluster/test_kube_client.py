"""The one Kubernetes client: every wait and every answer has a limit, what passes is tried again, and each failure says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from sluice.kube import client as kube_client
from sluice.kube.client import Kube, KubeFault
from sluice.kube.objects import Objects, path

Call = dict[str, Any]


class Answer:
    """Pieces of a body; an exception among them is raised in its place."""

    def __init__(self, *pieces: bytes | Exception):
        self.pieces, self.closed, self.given_back = list(pieces), False, False

    def read1(self, size: int) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed = True

    def release_conn(self) -> None:
        self.given_back = True


class Client:
    """In place of the official one: answers in turn."""

    def __init__(self, *answers: Answer | Exception):
        self.answers, self.calls = list(answers), list[Call]()

    def call_api(self, path: str, method: str, **more: Any) -> Answer:
        self.calls.append({"path": path, "method": method, **more})
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def refused(status: int, body: str = "") -> ApiException:
    e = ApiException(status=status, reason="the reason")
    e.body = body
    return e


def asked(*answers: Answer | Exception, **more: Any) -> tuple[Kube, Client]:
    client = Client(*answers)
    return Kube(client=client, **more), client


def test_every_call_has_its_limits_and_an_answer_is_an_object_or_text() -> None:
    kube, client = asked(Answer(b'{"a"', b": 1}"), Answer(b"plain"), read=7.0)
    assert kube.request("GET", "/x") == {"a": 1} and kube.request("GET", "/y", read=1.0) == "plain"
    assert [c["_request_timeout"] for c in client.calls] == [(3.0, 7.0), (3.0, 1.0)]


def test_what_passes_is_tried_again_and_a_post_only_where_the_caller_says_so() -> None:
    kube, client = asked(refused(503), ProtocolError("reset"), Answer(b"{}"), pauses=(0.0, 0.0))
    assert kube.request("GET", "/x") == {} and kube.calls == 3
    kube, client = asked(refused(503), Answer(b"{}"), pauses=(0.0,))
    with pytest.raises(KubeFault):
        kube.request("POST", "/x", {})
    assert len(client.calls) == 1
    kube, client = asked(refused(503), Answer(b"{}"), pauses=(0.0,))
    assert kube.request("POST", "/x", {}, again=True) == {} and len(client.calls) == 2


def test_a_refusal_is_not_tried_again_and_has_the_servers_words() -> None:
    kube, client = asked(refused(403, json.dumps({"message": "may not list pods"})), pauses=(0.0,))
    with pytest.raises(KubeFault, match="may not list pods") as e:
        kube.request("GET", "/pods")
    assert e.value.status == 403 and e.value.field == "GET /pods" and not e.value.passing and len(client.calls) == 1
    kube, _ = asked(refused(404, "404 page not found\n"))
    with pytest.raises(KubeFault, match="404 page not found"):
        kube.request("GET", "/apis/none")


def test_no_answer_is_told_with_what_to_look_at() -> None:
    kube, _ = asked(ProtocolError("connection reset"))
    with pytest.raises(KubeFault, match="does not answer: connection reset") as e:
        kube.request("GET", "/x")
    assert e.value.status == 0 and e.value.passing and e.value.value == "GET /x" and "cluster-info" in str(e.value.fix)


def test_an_answer_that_is_too_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_client, "_LARGEST", 10)
    endless = Answer(*[b"12345"] * 100)
    kube, _ = asked(endless)
    with pytest.raises(KubeFault, match="more than 10 bytes"):
        kube.request("GET", "/x")
    assert endless.closed and not endless.given_back and len(endless.pieces) > 90


def test_a_stream_gives_pieces_as_they_come_ends_when_silent_and_says_when_it_is_cut_off() -> None:
    silent = Answer(b"one\n", ReadTimeoutError(None, "", "silent"))  # type: ignore[arg-type]
    kube, client = asked(silent)
    assert list(kube.stream("/log", query={"follow": "true"}, read=5.0)) == [b"one\n"] and silent.closed
    assert client.calls[0]["_request_timeout"] == (3.0, 5.0)
    cut = Answer(b"one\n", ProtocolError("cut"))
    kube, _ = asked(cut)
    with pytest.raises(KubeFault, match="cut"):
        list(kube.stream("/log"))
    assert cut.closed


def test_a_stream_that_is_left_gives_its_connection_up() -> None:
    answer = Answer(*[b"x"] * 5)
    kube, _ = asked(answer)
    for _piece in kube.stream("/log"):
        break
    assert answer.closed


def test_an_object_that_is_not_there_is_none_and_deleting_it_is_fine() -> None:
    kube, client = asked(refused(404), refused(404))
    objects = Objects(kube)
    assert objects.get("Pod", "ns", "p") is None
    objects.delete("Pod", "ns", "p", propagation="Foreground")
    assert client.calls[1]["body"] == {"propagationPolicy": "Foreground"}


@pytest.mark.parametrize(
    ("args", "where"),
    [
        (("ModelRollout", "ns"), "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts"),
        (("TrainJob", "ns", "j"), "/apis/trainer.kubeflow.org/v1alpha1/namespaces/ns/trainjobs/j"),
        (("Pod", "ns", "p:8080", "proxy/metrics"), "/api/v1/namespaces/ns/pods/p:8080/proxy/metrics"),
        (("Pod", "../x", "a/b?c"), "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3Fc"),
    ],
)
def test_where_objects_are(args: tuple[str, ...], where: str) -> None:
    assert path(*args) == where


def test_what_is_applied_is_ours_by_name() -> None:
    kube, client = asked(Answer(b"{}"))
    Objects(kube, manager="me").apply({"kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}})
    assert dict(client.calls[0]["query_params"]) == {"fieldManager": "me", "force": "true"}
    assert client.calls[0]["header_params"]["Content-Type"] == "application/apply-patch+yaml"


def test_a_cluster_that_nobody_configured_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(KubeFault, match="no cluster is configured") as e:
        Kube()
    assert e.value.status == 0 and "KUBECONFIG" in str(e.value.fix)
