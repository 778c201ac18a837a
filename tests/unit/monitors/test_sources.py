"""Alertmanager's webhook and CloudEvents: who may ask, with what, and that asking twice is asking once."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.controller.monitors import listener
from serving.controller.monitors.listener import Listener
from serving.controller.monitors.resource import ASKED, MOST_ASKED
from serving.controller.monitors.sources import BadRequest, Inbox, alerts, cloud_events
from sluice.core.errors import SluiceError
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from sluice.monitor.retrain import run_name
from tests.unit.monitors.conftest import RUN, World
from tests.unit.rollouts.memory_api import error

TOKEN = "0123456789abcdef"
RETRAIN = {"alerts": ["SluiceModelDrifted"], "events": ["com.example.data.arrived"], "run": RUN}
EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "//store/rows",
    "type": "com.example.data.arrived",
    "subject": "digits",
    "time": "1970-01-01T02:00:00Z",
}


def alert(name: str = "SluiceModelDrifted", starts: str = "1970-01-01T02:30:00Z", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "namespace": "ns", "model": "digits", **labels},
        "annotations": {"summary": "digits drifted"},
        "startsAt": starts,
        "fingerprint": "c0ffee",
    }


def webhook(*found: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "status": "firing", "alerts": list(found)}).encode()


@pytest.fixture
def asked(world: World, tmp_path: Path) -> Iterator[Any]:
    world.put(retrain=RETRAIN)
    world.look()
    (tmp_path / "token").write_text(TOKEN + "\n")
    server = Listener(
        "127.0.0.1", 0, Inbox(Objects(Kube(client=world.api, pauses=())), ["ns"]), tmp_path / "token", "ns", clock=lambda: world.now
    )
    server.start()

    def post(path: str, body: bytes, token: str | None = TOKEN, **headers: str) -> tuple[int, dict[str, Any]]:
        client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        auth = {"Authorization": f"Bearer {token}"} if token else {}
        client.request("POST", path, body, {"Content-Type": "application/json", **auth, **headers})
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())

    post.port = server.server_port  # type: ignore[attr-defined]
    yield post
    server.shutdown()
    server.server_close()


def waiting(world: World) -> list[str]:
    return [k for k in world.get()["metadata"].get("annotations") or {} if k.startswith(ASKED)]


def test_an_alert_told_again_and_again_starts_one_run(world: World, asked: Any) -> None:
    for _ in range(20):
        assert asked("/alerts", webhook(alert())) == (200, {"taken": 1, "ignored": 0})
    assert len(waiting(world)) == 1
    world.look(2)
    assert list(world.runs()) == [run_name("digits", "uid-1", 1)]
    run = world.runs()[run_name("digits", "uid-1", 1)]
    assert run["metadata"]["annotations"]["sluice.dev/reason"] == "alert: alert SluiceModelDrifted: digits drifted"
    asked("/alerts", webhook(alert()))
    assert not waiting(world), "it is known"


def test_events_of_each_form_are_one_and_the_same(world: World, asked: Any) -> None:
    assert asked("/events", json.dumps(EVENT).encode(), **{"Content-Type": "application/cloudevents+json; charset=utf-8"})[0] == 200
    assert asked("/events", json.dumps([EVENT, EVENT]).encode(), **{"Content-Type": "application/cloudevents-batch+json"})[1]["taken"] == 2
    assert asked("/events", b'{"rows": 5}', **{f"ce-{k}": v for k, v in EVENT.items()}) == (200, {"taken": 1, "ignored": 0})
    assert len(waiting(world)) == 1
    world.look(2)
    assert len(world.runs()) == 1


def recorded(*found: dict[str, Any], status: str = "firing", truncated: int = 0) -> bytes:
    """All that Alertmanager's documentation says is in a webhook of version 4, as its own encoder spells it: nanoseconds, offsets, the year 1."""
    shared = {"generatorURL": "http://prometheus:9090/graph?g0.expr=sluice_monitor_drifted+%3D%3D+1", "endsAt": "0001-01-01T00:00:00Z"}
    group = {"alertname": "SluiceModelDrifted"}
    whole = {
        "version": "4",
        "groupKey": '{}/{severity="warning"}:{alertname="SluiceModelDrifted"}',
        "truncatedAlerts": truncated,
        "status": status,
        "receiver": "retrain",
        "groupLabels": group,
        "commonLabels": {**group, "severity": "warning", "namespace": "ns"},
        "commonAnnotations": {"runbook_url": "https://example.org/SluiceModelDrifted"},
        "externalURL": "http://alertmanager:9093",
        "alerts": [{**shared, **one} for one in found],
    }
    return json.dumps(whole).encode()


def test_a_group_of_alerts_repeated_resolved_and_cut_short_starts_one_run(world: World, asked: Any) -> None:
    """As Alertmanager sends one episode: the first notice, the group grown, the same again after a 503 and after repeat_interval, cut, resolved."""
    began = "1970-01-01T02:30:00.739266876Z"
    mine = {**alert(starts=began), "fingerprint": "9d1c4a2b7e000001"}
    again = {**alert(starts="1970-01-01T04:30:00.739266876+02:00", severity="warning"), "fingerprint": "9d1c4a2b7e000002"}
    other = {**alert(model="faces"), "fingerprint": "9d1c4a2b7e000003"}
    over = {**mine, "status": "resolved", "endsAt": "1970-01-01T02:45:00.1Z"}
    world.api.fault = lambda method, path: (_ for _ in ()).throw(error(503))
    assert asked("/alerts", recorded(mine))[0] == 503 and not waiting(world)
    world.api.fault = lambda method, path: None
    assert asked("/alerts", recorded(mine)) == (200, {"taken": 1, "ignored": 0})
    assert asked("/alerts", recorded(mine, again, other)) == (200, {"taken": 2, "ignored": 1})
    world.look(2)
    assert list(world.runs()) == [run_name("digits", "uid-1", 1)]
    for body in (recorded(mine, again, truncated=7), recorded(again, mine), recorded(over, mine), recorded(over, status="resolved")):
        assert asked("/alerts", body)[0] == 200
        world.look(2)
    world.end(run_name("digits", "uid-1", 1), "Succeeded", "Promoted")
    world.look(2)
    world.now += 86_400.0
    assert asked("/alerts", recorded(mine, again))[0] == 200, "repeat_interval, when it is long over"
    world.look(3)
    assert list(world.runs()) == [run_name("digits", "uid-1", 1)] and not waiting(world)
    assert asked("/alerts", recorded({**mine, "startsAt": "1970-01-02T03:00:00.000000001Z"}))[1]["taken"] == 1
    world.look(2)
    assert len(world.runs()) == 2, "an episode of its own"


def test_what_nobody_wants_is_ignored(world: World, asked: Any) -> None:
    unwanted = [alert("Other"), alert(model="other"), alert(namespace="elsewhere"), alert(monitor="other")]
    assert asked("/alerts", webhook(*unwanted)) == (200, {"taken": 0, "ignored": 4})
    assert asked("/alerts", webhook(alert(status="resolved"))) == (200, {"taken": 0, "ignored": 0})
    assert not waiting(world)


def test_many_that_wait_are_answered_by_one(world: World, asked: Any) -> None:
    found = [alert(starts=f"1970-01-01T02:{n:02d}:00Z") for n in range(60)]
    assert asked("/alerts", webhook(*found))[1]["taken"] == 60
    assert len(waiting(world)) == MOST_ASKED
    world.look(3)
    assert len(world.runs()) == 1 and not waiting(world)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "\xff"])
def test_without_the_token_nothing_is_taken(world: World, asked: Any, token: str | None) -> None:
    assert asked("/alerts", webhook(alert()), token)[0] == 401
    assert not waiting(world)


def test_bodies_are_bounded_and_senders_told_to_come_again(world: World, asked: Any) -> None:
    assert asked("/alerts", b"x" * (listener.MOST_BYTES + 1))[0] == 413
    assert asked("/else", b"{}")[0] == 404
    status, told = asked("/alerts", b"{}")
    assert status == 400 and told["error"]["field"] == "body"

    def away(method: str, path: str) -> None:
        raise error(503)

    world.api.fault = away
    assert asked("/alerts", webhook(alert()))[0] == 503


def test_a_client_that_drips_is_cut_and_keeps_nobody_out(world: World, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SECONDS", 0.5)
    slow = [socket.create_connection(("127.0.0.1", asked.port)) for _ in range(listener.AT_ONCE)]
    begun = time.monotonic()
    for one in slow:
        one.sendall(b"POST /alerts HTTP/1.1\r\n")
    ended: list[float] = []

    def drip(one: socket.socket) -> None:
        try:
            while one.send(b"x") and time.monotonic() - begun < 5:
                time.sleep(0.1)
        except OSError:
            ended.append(time.monotonic() - begun)

    threads = [threading.Thread(target=drip, args=(one,)) for one in slow[:4]]
    for t in threads:
        t.start()
    for t in threads:
        t.join(10)
    assert len(ended) == 4 and max(ended) < 3
    time.sleep(0.2)
    assert asked("/alerts", webhook(alert()))[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"\xff", "body"),
        (b"[" * 100_000, "body"),
        (b'{"version": "3", "alerts": []}', "body"),
        (b'{"version": "4", "alerts": [1]}', "alerts[0].labels"),
        (webhook(alert(starts="yesterday")), "alerts[0].startsAt"),
        (webhook(*[alert()] * 501), "alerts"),
    ],
)
def test_what_is_no_webhook_is_refused_by_name(body: bytes, field: str) -> None:
    with pytest.raises(BadRequest) as e:
        alerts(body, "ns", 1e6)
    assert e.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "event.specversion"),
        ({"subject": ""}, "event.subject"),
        ({"id": 7}, "event.id"),
        ({"time": "noon"}, "event.time"),
    ],
)
def test_what_is_no_event_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as e:
        cloud_events(json.dumps({**EVENT, **change}).encode(), {"content-type": "application/cloudevents+json"}, "ns", 1e6)
    assert e.value.field == field


def test_a_clock_that_is_ahead_makes_nothing_new() -> None:
    found = alerts(webhook(alert(starts="2999-01-01T00:00:00Z")), "ns", 5000.0)
    assert found[0].at == 5000.0
    other = cloud_events(
        json.dumps({**EVENT, "subject": "team/digits"}).encode(), {"content-type": "application/cloudevents+json"}, "ns", 9e3
    )
    assert (other[0].namespace, other[0].monitor, other[0].at) == ("team", "digits", 7200.0)


def test_a_token_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    inbox: Any = None
    with pytest.raises(SluiceError, match="cannot be read"):
        Listener("127.0.0.1", 0, inbox, tmp_path / "none", "ns")
    (tmp_path / "short").write_text("abc")
    with pytest.raises(SluiceError, match="fewer than 16 bytes"):
        Listener("127.0.0.1", 0, inbox, tmp_path / "short", "ns")
