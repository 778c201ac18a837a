"""A real S3 server (moto's) that is stopped for an hour, by a played clock, and started again: what monitors read, what servers log, and logs asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.controller.monitors.reading import LogReader
from serving.runtime.logs import prediction_log_writer as writer
from serving.runtime.logs.prediction_log_writer import Recorder
from serving.runtime.metrics import Page
from sluice.cli import main
from tests.tools.long import long
from tests.unit.monitors.conftest import RUN, World
from tests.unit.monitors.test_reading import Service

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto.server")
LOG = "s3://logs/prefix"


class Store:
    """The server; what is in it outlives a stop, as on a disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port = 0
        self.start()
        for key, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(key, value)
        boto3.client("s3").create_bucket(Bucket="logs")
        self.sent: set[Path] = set()

    def start(self) -> None:
        self.server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()

    def stop(self) -> None:
        self.server.stop()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()

    def take(self, root: Path) -> None:
        """Upload what is new below a folder."""
        for path in sorted(p for p in root.rglob("*.parquet") if p not in self.sent):
            boto3.client("s3").upload_file(str(path), "logs", f"prefix/{path.relative_to(root)}")
            self.sent.add(path)

    @property
    def names(self) -> list[str]:
        return [o["Key"] for o in boto3.client("s3").list_objects_v2(Bucket="logs").get("Contents", [])]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    found = Store(monkeypatch)
    yield found
    found.server.stop()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "kept")


@long
def test_a_monitor_says_so_keeps_its_schedule_and_catches_up_to_what_it_would_have_seen(store: Store, tmp_path: Path, world: World) -> None:
    service = Service(tmp_path)
    package = {"uri": str(service.package), "digest": service.digest}
    spec: dict[str, Any] = {"model": "fraud", "log": LOG, "package": package, "window": {"rows": 200}}
    world.controller.reader = LogReader(lambda: world.now)
    world.put(**spec, retrain={"schedule": "*/30 * * * *", "run": RUN})
    service.write(700)
    store.take(tmp_path / "log")
    world.look(2)
    assert world.status["rows"] == 700 and world.status["windows"] == 3
    store.stop()
    gone, looks = world.now, 0
    while world.now < gone + 3600:
        world.look()
        looks += 1
    assert world.condition("Synced")["status"] == "False" and world.status["rows"] == 700 and 10 < looks < 30
    assert len(world.runs()) == 1, "the schedule goes on"
    service.write(900)
    service.write(900, shift=20)
    store.start()
    store.take(tmp_path / "log")
    world.look(3)
    assert world.condition("Synced")["status"] == "True" and (world.status["rows"], world.status["windows"]) == (2500, 12)
    assert world.condition("Drifted")["status"] == "True" and "age has moved" in world.condition("Drifted")["message"]
    # Another monitor, which never was without its store, has seen the same.
    world.put("other", **spec)
    world.look(3, "other")
    for key in ("rows", "windows", "drift", "feature", "readTo", "alarm", "lastAlarm"):
        assert world.get("other")["status"][key] == world.status[key], key


@long
def test_what_servers_log_while_it_is_away_is_there_when_it_is_back_and_can_be_asked(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    writer._place.cache_clear()
    recorder, now = Recorder(socket.socket(socket.AF_UNIX), LOG, 30.0, Page()), [0.0]
    assert recorder._shipping is not None
    recorder._shipping._clock = lambda: now[0]

    def answer(i: int) -> None:
        head = {"what": "prediction", "time": 1_793_500_000_000_000 + i, "model": "fraud", "version": "a" * 12, "request_id": f"r{i}"}
        more = {"kind": "tabular", "labels": ["no", "yes"], "prediction": ["yes"], "probability": [0.9], "probabilities": [[0.1, 0.9]]}
        recorder._take({**head, **more, "tensors": [""]}, b"", 100)
        if i % 10 == 9:
            recorder._write(recorder._parts.popitem()[1])
            now[0] += 360

    for i in range(20):
        answer(i)
    while recorder._shipping.step() is not None:
        pass
    assert len(store.names) == 2
    store.stop()
    for i in range(20, 120):
        answer(i)
    assert all((recorder._shipping.step() or 0) > 0 for _ in range(2))
    store.start()
    while recorder._shipping.step() is not None:
        pass
    recorder._listening.close()
    assert len(store.names) == 12
    access = [
        {"time": f"2026-11-01T00:00:{i % 60:02d}Z", "path": "/v1", "status": 500 if i < 5 else 200, "ms": 20.0, "model": "fraud"}
        for i in range(50)
    ]
    body = b"\n".join(orjson.dumps(line) for line in access)
    boto3.client("s3").put_object(Bucket="logs", Key="prefix/access.jsonl", Body=body)
    assert main(["logs", "analyze", LOG, "--json", "--most-errors", "0.05"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert sum(v["rows"] for v in told["predictions"]["by_version"]) == 120 and told["access"]["requests"] == 50
    assert main(["logs", "analyze", "s3://logs/none"]) == 2
    store.stop()
    assert main(["logs", "analyze", LOG]) == 2 and "LOG" in capsys.readouterr().err
    store.start()
