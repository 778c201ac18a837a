"""Labels joined in the controller: quality in the status, gauges, a condition and an Event, and a retraining when it falls under the floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serving.controller.monitors.reading import LogReader
from serving.controller.monitors.resource import monitor
from serving.controller.monitors.seen import Watched
from sluice.core.datatypes import TensorSpec
from sluice.monitor.config import Retrain, Worse
from sluice.monitor.retrain import Event, State, decide, run_name
from sluice.package import package as packages
from tests.support import logged
from tests.support.world import KINDS, LABELS
from tests.support.world import World as Service
from tests.unit.monitors.conftest import RUN, World

FIRST = run_name("digits", "uid-1", 1)


class Fraud:
    """A package, its servers' log, and labels that come an hour late."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.world, self.at = folder / "package", folder / "log", Service(3), 0
        self.folder.mkdir()
        (self.folder / "model.onnx").write_bytes(b"none")
        (self.folder / "profile.json").write_bytes(orjson.dumps(self.world.profile(2000)))
        self.package = packages.write(
            self.folder,
            name="fraud",
            task="tabular",
            objective="classification",
            inputs=[TensorSpec("x", "FP32", (-1, 6))],
            outputs=[TensorSpec("probabilities", "FP32", (-1, 2))],
            labels=LABELS,
            preprocess={"kind": "none"},
            precision="fp32",
            metrics={"accuracy": 0.9},
            provenance={},
            fields=KINDS,
        )

    def serve(self, rows: int, wrong: float = 0.0, told: bool = True) -> None:
        """Predictions and their labels, of which a share is turned over."""
        x = self.world.rows(rows)
        y = self.world.truth(x)
        y = np.where(self.world.rng.random(rows) < wrong, 1 - y, y)
        self.at = self.world.log(self.log, x, y if told else None, at=self.at)

    def spec(self, **more: Any) -> dict[str, Any]:
        where = {"model": "m", "log": str(self.log), "package": {"uri": str(self.folder), "digest": self.package.digest}}
        return {**where, "window": {"rows": 300}, "quality": {"floor": 0.75}, **more}


@pytest.fixture
def fraud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fraud:
    found = Fraud(tmp_path)
    monkeypatch.setattr(logged, "VERSION", found.package.digest[:12])
    monkeypatch.setattr(logged.predictions, "__kwdefaults__", {**logged.predictions.__kwdefaults__, "version": found.package.digest[:12]})
    return found


def test_quality_under_the_floor_is_told_everywhere_and_trains_again_once(fraud: Fraud, world: World) -> None:
    world.controller.reader, said, tell = LogReader(lambda: world.now), [], world.controller.tell
    world.controller.tell = lambda raw, kind, reason, text: (said.append(reason), tell(raw, kind, reason, text))[1]  # type: ignore[method-assign]
    world.put(**fraud.spec(retrain={"quality": {"floor": 0.7, "windows": 2}, "run": RUN}))
    world.now = 1_793_600_000.0
    fraud.serve(600, told=False)
    world.look(2)
    assert world.condition("Degraded")["reason"] == "FewLabels" and world.status["quality"] == ""
    fraud.serve(400)
    world.look(2)
    assert world.condition("ErrorsRose")["status"] == "False"
    assert (
        world.condition("Degraded")["status"] == "False" and "% of the predictions are labelled" in world.condition("Degraded")["message"]
    )
    assert world.status["quality"].startswith("accuracy 0.9") and not world.runs() and world.status["labelled"] > 380
    for _ in range(3):
        fraud.serve(300, wrong=0.5)
        world.now += 3600
        world.look(2)
    told = world.condition("Degraded")
    assert told["status"] == "True" and "of the last 100 labelled rows" in told["message"] and "under the floor of 0.75" in told["message"]
    assert list(world.runs()) == [FIRST] and "quality is 0." in world.status["message"]
    assert said.count("Degraded") == 1 and said.count("ErrorsRose") == 1
    assert world.condition("ErrorsRose")["status"] == "True" and "wrong more often since 2026-" in world.condition("ErrorsRose")["message"]
    shown = {(x.name, x.labels.get("metric")): x.value for f in world.gauges.collect() for x in f.samples}
    assert (
        shown["sluice_monitor_degraded", None] == shown["sluice_monitor_errors_rose", None] == 1
        and shown["sluice_model_quality_floor", None] == 0.75
    )
    assert 0.3 < shown["sluice_model_quality", "accuracy"] < 0.7 and shown["sluice_model_quality_rows", None] == 100
    # A controller that remembers nothing, and labels told again: the same, and no other run.
    world.start()
    world.controller.reader = LogReader(lambda: world.now)
    status = {k: v for k, v in world.status.items() if k not in ("memory", "made", "retraining", "conditions")}
    for part in sorted(fraud.log.rglob("feedback/**/*.parquet")):
        part.with_name(f"20261102T000000-again-{part.name}").write_bytes(part.read_bytes())
    world.now += 7200
    world.look(2)
    assert {k: world.status[k] for k in status} == status and list(world.runs()) == [FIRST]


def test_errors_that_rose_train_again_once_and_after_a_refusal_where_newer_labels_say_so(fraud: Fraud, world: World) -> None:
    world.controller.reader = LogReader(lambda: world.now)
    world.put(**fraud.spec(quality={}, retrain={"errors": True, "run": RUN}))
    world.now = 1_793_600_000.0
    fraud.serve(1000)
    world.look(2)
    assert world.condition("ErrorsRose")["reason"] == "NoAlarm" and not world.runs()
    for _ in range(2):
        fraud.serve(400, wrong=0.5)
        world.now += 3600
        world.look(3)
    assert world.condition("ErrorsRose")["status"] == "True" and list(world.runs()) == [FIRST]
    assert "wrong more often since 2026-" in world.status["message"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 0)])
def test_whether_errors_rose_is_as_it_was_told_last_and_a_refusal_backs_off(order: tuple[int, ...]) -> None:
    policy, said = Retrain(errors=True), "answers are wrong more often"
    told = [Event("errors", 10.0), Event("errors", 20.0, value=1.0, why=said), Event("errors", 15.0, value=0.0)]
    events = [told[i] for i in order]
    state, action = decide(policy, State("n", "u"), events, 30.0)
    assert (action.what, action.reason, action.why) == ("start", "errors", said) and State.from_dict(state.to_dict()) == state
    assert decide(Retrain(), State("n", "u"), events, 30.0)[1].what == "none"
    again, action = decide(policy, state, events, 31.0)
    assert action.what == "follow" and again.number == 1
    assert state.run is not None
    state, action = decide(policy, state, [Event("ended", 40.0, id=state.run.name, by="refused", why="bar"), *events], 40.0)
    assert action.what == "none", "what was seen before it ended asks for no other"
    newer = [Event("errors", 50.0, value=1.0, why=said)]
    state, action = decide(policy, state, newer, 60.0)
    assert action.what == "held" and "refused: bar" in action.held and action.until == 40.0 + 24 * 3600
    assert decide(policy, state, [Event("errors", 70.0)], 2e5)[1].what == "none", "they are right as often as before"
    assert decide(policy, state, [], 2e5)[1].what == "start"


def test_a_look_at_labels_waits_for_ten_times_what_the_last_took(fraud: Fraud) -> None:
    now = [1_793_600_000.0]
    reader, model = LogReader(lambda: now[0]), Watched(str(fraud.folder), fraud.package.digest)
    item = monitor({"metadata": {"name": "fraud", "namespace": "ns", "uid": "u"}, "spec": fraud.spec()})
    fraud.serve(400)
    one = reader(item, model, None)
    fraud.serve(400)
    two = reader(item, model, one.memory)
    assert one.quality is not None and two.quality == one.quality and two.labelled > one.labelled
    now[0] += 3600
    three = reader(item, model, two.memory)
    assert three.quality is not None and three.quality.value != one.quality.value
    assert reader(item, model, three.memory).memory == three.memory, "nothing new is nothing read"


def test_a_metric_that_there_is_not_is_told_and_drift_is_watched_all_the_same(fraud: Fraud, world: World) -> None:
    world.controller.reader = LogReader(lambda: world.now)
    world.put(**fraud.spec(quality={"metric": "acuracy"}))
    fraud.serve(400)
    world.look(2)
    told = world.condition("Degraded")
    assert (told["status"], told["reason"]) == ("Unknown", "CannotBeJudged") and "acuracy" in told["message"]
    assert world.status["rows"] == 400 and world.condition("Synced")["status"] == "True"


@pytest.mark.parametrize(("lower", "value", "asks"), [(False, 0.6, True), (False, 0.8, False), (True, 0.6, False), (True, 0.8, True)])
def test_a_floor_of_a_metric_of_which_less_is_better_is_a_bound(lower: bool, value: float, asks: bool) -> None:
    state, action = decide(
        Retrain(quality=Worse(floor=0.7)), State("n", "u"), [Event("quality", 5.0, value=value, rows=300, lower=lower)], 10.0
    )
    assert (action.what == "start") is asks and State.from_dict(state.to_dict()) == state
