"""The ModelMonitor that the rollout step makes: what the project sets, what the controller reads of it, and what a person keeps."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.controller.kube import connect
from serving.controller.monitors.resource import monitor
from sluice.core.errors import ProjectError
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from sluice.monitor.config import MonitorConfig
from sluice.rollouts.handover import Resource
from sluice.rollouts.manifest import Target, manifest, target
from sluice.rollouts.manifest import model as named
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.watched import asked, desired, said, watch

_spec = importlib.util.spec_from_file_location("watched_memory_api", Path(__file__).with_name("memory_api.py"))
assert _spec and _spec.loader
memory = importlib.util.module_from_spec(_spec)
sys.modules["watched_memory_api"] = memory
_spec.loader.exec_module(memory)

ROOT = Path(__file__).parents[3]
CRD = yaml.safe_load((ROOT / "manifests/crds/modelmonitor.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
AT = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelmonitors/m"
WHERE = Target("ns", log="s3://logs/sluice", log_env={"AWS_REGION": "eu"})
CONFIG = MonitorConfig(
    window={"rows": None, "seconds": 3600.0},
    drift={"false_alarms": 0.1, "columns": {"mean_radius": {"threshold": 0.4}, "x": {"watch": False}}},
    retrain={"schedule": "0 2 * * *", "time_zone": "Europe/Berlin", "drift": {"windows": 2}, "quality": None},
)


def leaves(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {at: value}
    return {p: v for k, inner in value.items() for p, v in leaves(inner, (*at, k)).items()}


def tree(paths: Any, of: Any = None) -> dict[str, Any]:
    """Leaves as a tree; with `of` each is that and its keys are spelled as in managedFields."""
    made: dict[str, Any] = {}
    for path in paths:
        at = made
        for key in path[:-1]:
            at = at.setdefault(key if of is None else f"f:{key}", {})
        at[path[-1] if of is None else f"f:{path[-1]}"] = paths[path] if of is None else of
    return made


class Applying(memory.MemoryApi):  # type: ignore[misc, name-defined]
    """Server-side apply as an API server does it, of specs: who owns a field, what is taken away, and who is in the way."""

    def serve(self, path: str, method: str, query: dict[str, str], body: Any, content: str) -> Any:
        if content != "application/apply-patch+yaml":
            return super().serve(path, method, query, body, content)
        old = self.objects.get(path)
        there, mine = leaves((old or {}).get("spec") or {}), leaves(body["spec"])
        owners = copy.deepcopy((old or {}).get("owners") or {})
        ours = owners.pop(query["fieldManager"], [])
        others = {p for held in owners.values() for p in held}
        if query["force"] == "false" and (taken := [".".join(p) for p in mine if p in others and there.get(p) != mine[p]]):
            e = memory.error(409)
            e.body = f'{{"message": "conflicts: .spec.{taken[0]}"}}'
            raise e
        whole = {p: v for p, v in there.items() if p in others or p not in ours} | mine
        fields = [
            {"manager": m, "operation": "Apply", "fieldsV1": {"f:spec": tree(held, {})}}
            for m, held in {**owners, query["fieldManager"]: list(mine)}.items()
        ]
        made = {**body, "spec": tree(whole), "owners": {**owners, query["fieldManager"]: list(mine)}}
        made["metadata"] = {**((old or {}).get("metadata") or {}), **body["metadata"], "managedFields": fields}
        return self.put(path, made)

    def by_hand(self, **spec: Any) -> None:
        """A person applies."""
        kube = Objects(Kube(client=self), manager="anna")
        kube.apply({"kind": "ModelMonitor", "metadata": {"name": "m", "namespace": "ns"}, "spec": spec})


@pytest.fixture
def api() -> Applying:
    made = Applying()
    first = manifest("m", "1" * 64, "s3://b/x", RolloutSpec(), WHERE, logged=True)
    Objects(Kube(client=made)).create("ModelRollout", "ns", first)
    return made


def told(api: Applying, config: MonitorConfig = CONFIG, project: str = "name: m", where: Target = WHERE) -> tuple[str, ...]:
    return watch("m", config, project, where, objects=Objects(Kube(client=api)))


def test_the_controller_reads_what_the_project_sets_and_its_own_defaults_for_the_rest(api: Applying) -> None:
    assert told(api) == ()
    raw = connect(api).get("ModelMonitor", "ns", "m")
    assert raw is not None
    jsonschema.Draft4Validator(SCHEMA).validate({k: v for k, v in raw["spec"].items() if k != "window"})  # it knows no `nullable`
    assert raw["spec"]["window"] == {"rows": None, "seconds": 3600.0}
    read = monitor(raw)
    assert (read.model, read.rollout, read.log) == ("m", "m", "s3://logs/sluice")
    assert read.watch.drift == CONFIG.drift and read.watch.window == CONFIG.window
    assert read.policy == CONFIG.retrain and read.run == {"project": {"inline": "name: m"}}
    assert set(raw["spec"]["drift"]) == {"falseAlarms", "columns"}, "what is left open is the controller's"


def test_every_section_has_a_place_in_the_resource() -> None:
    """A setting added to `monitor:` must not be lost on the way."""
    whole = MonitorConfig.model_validate(
        MonitorConfig(
            window={"seconds": 60.0},
            drift={"threshold": 0.3},
            quality={"metric": "accuracy", "floor": 0.8},
            retrain={"schedule": "0 2 * * *", "drift": {}, "quality": {"floor": 0.7}, "new_rows": 10},
        ).model_dump()
    )
    spec = {"model": "m", "rollout": "m", "log": "s3://b/l", **said(whole)}
    for section in MonitorConfig.model_fields:
        assert set(spec[section]) == set(SCHEMA["properties"][section]["properties"]) - {"alerts", "events", "run"}


def test_it_is_asked_for_by_the_project_or_the_environment_and_never_without_a_place() -> None:
    nothing = MonitorConfig()
    assert asked(CONFIG, WHERE) and not asked(nothing, WHERE) and not asked(CONFIG, Target("ns"))
    assert not asked(MonitorConfig(window={}), WHERE), "a section that sets nothing"
    assert asked(nothing, Target("ns", log="s3://b", watch_all=True)) and not asked(nothing, Target("ns", watch_all=True))


def test_what_the_project_no_longer_sets_goes_and_what_a_person_added_stays(api: Applying) -> None:
    told(api)
    api.by_hand(intervalSeconds=60, retrain={"perDay": 4, "alerts": ["SluiceModelDrifted"]})
    assert told(api, MonitorConfig(drift={"persistence": 3}), where=Target("ns", log="s3://logs/moved")) == ()
    assert api.objects[AT]["spec"] == {
        "model": "m",
        "rollout": "m",
        "log": "s3://logs/moved",
        "intervalSeconds": 60,
        "drift": {"persistence": 3},
        "retrain": {"perDay": 4, "alerts": ["SluiceModelDrifted"]},
    }


def test_a_monitor_that_a_person_made_keeps_what_it_watches_and_runs(api: Applying) -> None:
    mine = {
        "model": "m",
        "package": {"uri": "s3://p/x", "digest": "1" * 64},
        "log": "s3://own/log",
        "retrain": {"run": {"pipeline": {"name": "p"}}},
    }
    api.by_hand(**copy.deepcopy(mine))
    for _ in range(2):  # the second time some of it is ours
        assert told(api) == ()
        spec = api.objects[AT]["spec"]
        assert (spec["log"], spec["package"], "rollout" in spec) == ("s3://own/log", mine["package"], False)
        assert spec["retrain"]["run"] == {"pipeline": {"name": "p"}} and spec["retrain"]["schedule"] == "0 2 * * *"


def test_where_project_and_person_disagree_nothing_changes_and_the_field_is_named(api: Applying) -> None:
    api.by_hand(model="m", rollout="m", log="s3://own/log", drift={"falseAlarms": 5})
    before = copy.deepcopy(api.objects[AT])
    (caution,) = told(api)
    assert "ns/m" in caution and ".spec.drift.falseAlarms" in caution and "somebody set" in caution
    assert api.objects[AT] == before


@pytest.mark.parametrize(("status", "word"), [(403, "sluice-pipeline"), (404, "manifests/crds"), (422, "422"), (503, "503")])
def test_a_refusal_is_told_and_not_raised(api: Applying, status: int, word: str) -> None:
    def fault(method: str, path: str) -> None:
        if method == "PATCH":
            raise memory.error(status)

    api.fault = fault
    (caution,) = told(api)
    assert word in caution and AT not in api.objects


def test_a_project_too_long_for_the_resource_is_watched_and_not_trained_again(api: Applying) -> None:
    (caution,) = told(api, project="#" * 65_537)
    assert "monitor.retrain" in caution and "retrain" not in api.objects[AT]["spec"]


def test_the_first_rollout_has_its_servers_log_and_one_without_is_told() -> None:
    plain = manifest("m", "1" * 64, "s3://b/x", RolloutSpec(), WHERE)["spec"]["serving"]["predictor"]["model"]
    assert plain == {"args": ["--digest=$(DIGEST)", "--name=$(NAME)"]}
    logs = manifest("m", "1" * 64, "s3://b/x", RolloutSpec(), WHERE, logged=True)["spec"]["serving"]["predictor"]["model"]
    assert logs["args"] == [*plain["args"], "--log=s3://logs/sluice"]
    assert logs["env"] == [{"name": "AWS_REGION", "value": "eu"}]
    assert logs["envFrom"] == [{"secretRef": {"name": "sluice-store", "optional": True}}]
    api = Applying()
    kube = Objects(Kube(client=api))
    kube.create("ModelRollout", "ns", manifest("m", "1" * 64, "s3://b/x", RolloutSpec(), WHERE))
    later = manifest("m", "2" * 64, "s3://b/y", RolloutSpec(), WHERE, logged=True)
    Resource(kube, "ns", "m").put(later, named("m", "2" * 64, "s3://b/y"), RolloutSpec())
    (caution,) = told(api)
    assert "--log=s3://logs/sluice" in caution and "ServingRuntime" in caution
    assert api.objects[AT]["spec"]["log"] == "s3://logs/sluice"


def test_the_place_of_the_logs_is_read_from_the_step() -> None:
    env = {"SLUICE_NAMESPACE": "ns", "SLUICE_LOG": "s3://b/log/", "SLUICE_LOG_SECRET": "keys", "SLUICE_MONITOR": "True", "AWS_REGION": "eu"}
    assert target(env) == Target("ns", log="s3://b/log", log_secret="keys", log_env={"AWS_REGION": "eu"}, watch_all=True)
    assert target({**env, "SLUICE_LOG": ""}) == Target("ns", log_secret="keys")
    for name, value in (("SLUICE_LOG", "/var/log"), ("SLUICE_LOG", "s3://B_/x"), ("SLUICE_MONITOR", "perhaps")):
        with pytest.raises(ProjectError) as e:
            target({**env, name: value})
        assert (e.value.field, e.value.value) == (name, value)


def test_another_managers_run_is_not_taken_for_ours() -> None:
    there = {
        "metadata": {"managedFields": [{"manager": "sluice", "operation": "Update", "fieldsV1": {"f:spec": {"f:log": {}}}}]},
        "spec": {},
    }
    made, _ = desired("m", CONFIG, "name: m", WHERE, there)
    assert "log" not in made["spec"] and "labels" not in made["metadata"]


def test_a_detector_that_the_controller_lacks_is_left_out_and_said() -> None:
    config = MonitorConfig.model_validate({"quality": {"detector": "adwin", "apart": 2000}})
    made, short = desired("m", config, "name: m", WHERE)
    assert made["spec"]["quality"] == {"apart": 2000} and "monitor.quality.detector" in short and "page_hinkley" in short
    assert monitor({**made, "metadata": {**made["metadata"], "uid": "u"}}).watch.quality.apart == 2000
    _, short = desired(
        "m", MonitorConfig.model_validate({"quality": {"detector": "adwin"}, "retrain": {"schedule": "0 2 * * *"}}), "x" * 70_000, WHERE
    )
    assert "page_hinkley" in short and "monitor.retrain" in short
