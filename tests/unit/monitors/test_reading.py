"""A real log of Parquet parts, read look by look against a package's profile."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.controller.monitors.gauges import Gauges
from serving.controller.monitors.reading import LogReader
from serving.controller.monitors.reference import NoReference, profile_of
from serving.controller.monitors.resource import Monitor, monitor
from serving.controller.monitors.seen import Watched
from sluice.monitor.reference import profile_of as profile
from sluice.monitor.retrain import run_name
from tests.unit.monitors.conftest import RUN, World

START = datetime.datetime(2026, 11, 30, 6, 0, tzinfo=datetime.UTC)


class Service:
    """A package with a profile, and servers that write a log of what they answered."""

    def __init__(self, folder: Path) -> None:
        self.dice, self.written, self.folder = np.random.default_rng(5), 0, folder
        table = pa.table({"age": self.dice.normal(40, 10, 4000), "kind": self.dice.choice(["a", "b"], 4000)})
        listed = orjson.dumps(profile(table, {"age": "numeric", "kind": "categorical"}, ["yes", "no"] * 2000))
        manifest = orjson.dumps({"files": {"profile.json": {"sha256": hashlib.sha256(listed).hexdigest(), "size": len(listed)}}})
        self.package = folder / "package"
        self.package.mkdir()
        (self.package / "profile.json").write_bytes(listed)
        (self.package / "model.json").write_bytes(manifest)
        self.digest = hashlib.sha256(manifest).hexdigest()

    def write(self, rows: int, shift: float = 0.0) -> None:
        """A part of the log."""
        at = [START + datetime.timedelta(seconds=self.written + i) for i in range(rows)]
        ids = [f"r{self.written + i}" for i in range(rows)]
        features = pa.StructArray.from_arrays(
            [pa.array(self.dice.normal(40 + shift, 10, rows)), pa.array(self.dice.choice(["a", "b"], rows))], ["age", "kind"]
        )
        answers = pa.array(self.dice.choice(["yes", "no"], rows))
        columns = {"time": pa.array(at, pa.timestamp("us", tz="UTC")), "request_id": ids, "prediction": answers, "features": features}
        self._part(f"predictions/model=fraud/version={self.digest[:12]}", at[0], pa.table(columns))
        self.written += rows

    def label(self, first: int, rows: int) -> None:
        """Labels of answers, by request id."""
        at = [START + datetime.timedelta(hours=2, seconds=i) for i in range(rows)]
        ids = [f"r{first + i}" for i in range(rows)]
        columns: dict[str, Any] = {"time": pa.array(at, pa.timestamp("us", tz="UTC")), "request_id": ids, "row": [0] * rows}
        self._part("feedback/model=fraud", at[0], pa.table({**columns, "label": ["yes"] * rows}))

    def _part(self, where: str, at: datetime.datetime, table: pa.Table) -> None:
        folder = self.folder / "log" / where
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"{at:%Y%m%dT%H%M%S}-host-{len(list(folder.iterdir())):06d}.parquet")

    def item(self, **spec: Any) -> Monitor:
        whole = {"model": "fraud", "log": str(self.folder / "log"), "package": {"uri": str(self.package), "digest": self.digest}, **spec}
        return monitor({"metadata": {"name": "fraud", "namespace": "ns", "uid": "u"}, "spec": whole})


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_it_goes_on_where_it_stopped_and_finds_the_feature_that_moved(service: Service) -> None:
    reader, item = LogReader(), service.item()
    model = Watched(str(service.package), service.digest)
    memory, windows, alarms = None, [], []
    for shift in (0, 0, 0, 9, 9, 9):
        service.write(700, shift)
        seen = reader(item, model, memory)
        assert not seen.more and seen.anew is (memory is None)
        memory, windows = seen.memory, [*windows, *(e.window for e in seen.events if e.what == "drift")]
        alarms += seen.alarms
    assert windows == list(range(8)) and seen.rows == 4200 and seen.windows == 8
    assert seen.feature == "age" and seen.drift is not None and seen.drift > 0.25 and seen.scores["kind"][1] < 0.1
    assert len(alarms) == 1 and "age" in alarms[0][1] and "age" in seen.drifted
    assert seen.newest == (START + datetime.timedelta(seconds=4199)).timestamp()
    # A reader that remembers nothing itself goes on the same, and nothing new changes nothing.
    again = LogReader()(item, model, memory)
    assert again.memory == memory and again.scores == seen.scores and again.drifted == seen.drifted
    assert [e.what for e in again.events] == ["rows"]


def test_a_look_is_bounded_and_the_next_goes_on(service: Service) -> None:
    for _ in range(5):
        service.write(1000)
    reader, item = LogReader(), dataclasses.replace(service.item(), most=1500)
    model, memory, looks = Watched(str(service.package), service.digest), None, 0
    while True:
        seen = reader(item, model, memory)
        memory, looks = seen.memory, looks + 1
        if not seen.more:
            break
    assert looks == 3 and seen.rows == 5000 and seen.windows == 10


def test_other_settings_count_windows_anew_and_read_nothing_again(service: Service) -> None:
    service.write(1200)
    model = Watched(str(service.package), service.digest)
    seen = LogReader()(service.item(), model, None)
    service.write(800)
    other = LogReader()(service.item(window={"rows": 400}), model, seen.memory)
    assert other.anew and other.rows == 2000 and [e.window for e in other.events if e.what == "drift"] == [0, 1]


def test_labels_that_are_told_again_are_counted_once(service: Service) -> None:
    service.write(600)
    reader, item, model = LogReader(), service.item(), Watched(str(service.package), service.digest)
    service.label(0, 300)
    seen = reader(item, model, None)
    service.label(100, 300)
    seen = reader(item, model, seen.memory)
    assert abs(seen.labelled - 400) <= 12 and seen.newest_label == (START + datetime.timedelta(hours=2, seconds=299)).timestamp()


def test_keys_of_the_store_that_the_controller_lacks_are_told_with_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoReference, match="no credentials for S3") as e:
        profile_of(Watched("s3://mlpipeline/sluice/sha256/x", "x"))
    assert "Secret sluice-store" in str(e.value.fix) and "rollout restart deployment/sluice-controller" in str(e.value.fix)


def test_a_package_that_is_another_or_has_no_profile_is_told(service: Service) -> None:
    assert profile_of(Watched(service.package.as_uri(), service.digest))["rows"] == 4000
    for change, told in (
        ({"digest": "0" * 64}, "not the package of this digest"),
        ({"uri": "pvc://claim/sha256/x"}, "where the controller cannot read"),
        ({"uri": str(service.folder / "none")}, "cannot be read"),
    ):
        with pytest.raises(NoReference, match=told):
            profile_of(dataclasses.replace(Watched(str(service.package), service.digest), **change))
    (service.package / "profile.json").write_bytes(b"{}")
    with pytest.raises(NoReference, match="not what the package lists"):
        profile_of(Watched(str(service.package), service.digest))


def test_the_whole_line_from_a_log_that_moves_to_one_run(service: Service, world: World) -> None:
    world.controller.reader, world.gauges = LogReader(), Gauges()
    spec = {"model": "fraud", "log": str(service.folder / "log"), "package": {"uri": str(service.package), "digest": service.digest}}
    world.put(**spec, retrain={"drift": {"windows": 3}, "run": RUN})
    for shift in (0, 0, 9, 9, 9, 9):
        service.write(500, shift)
        world.look(2)
    assert list(world.runs()) == [run_name("digits", "uid-1", 1)]
    assert "in windows 2 to 4" in world.status["message"] and world.condition("Drifted")["status"] == "True"
    assert "age" in world.status["alarm"] and world.status["feature"] == "age"
