"""A PipelineRun that brings its project: which pipeline it runs in, and what the environment adds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.schedules.test_run_controller import KIND, the_run

PROJECT = "{name: digits, task: image, data: {source: 'sklearn://digits'}, model: {channels: 1, size: [8, 8]}, train: {epochs: 3}}"


def here(world: Any, **data: str) -> None:
    """The environment's ConfigMap."""
    world.api.put(
        "/api/v1/namespaces/ns/configmaps/sluice-cluster",
        {"kind": "ConfigMap", "metadata": {"name": "sluice-cluster", "namespace": "ns"}, "data": data},
    )


@pytest.mark.parametrize("kind", ["PipelineRun", "PipelineSchedule"])
def test_a_project_without_a_pipeline_of_its_name_runs_in_the_one_for_any_as_the_environments_account(world: Any, kind: str) -> None:
    spec: dict[str, Any] = {"project": {"inline": PROJECT}} | ({"schedule": "0 2 * * *"} if kind == "PipelineSchedule" else {})
    world.put(kind, spec)
    world.look(kind)
    assert (world.condition(kind, "Synced")["reason"], world.state.runs) == ("NotFound", {}), "the environment says nothing"
    here(world, pipeline="ns-training", cluster="{service_account: runner}")
    anys = world.state.add_pipeline("ns-training", "v1")
    world.look(kind)
    made = the_run(world) if kind == "PipelineRun" else next(iter(world.state.recurring.values()))
    assert (made["pipeline_version_reference"]["pipeline_id"], made["service_account"]) == (anys, "runner")
    assert "train: {epochs: 3}" in made["runtime_config"]["parameters"]["project"]


def test_a_pipeline_of_the_projects_name_and_a_named_account_go_before_the_environments(world: Any) -> None:
    here(world, pipeline="ns-training", cluster="{service_account: runner}")
    world.state.add_pipeline("ns-training", "v1")
    own = world.state.add_pipeline("digits", "v1")
    world.put(KIND, {"project": {"inline": PROJECT}, "serviceAccountName": "mine"})
    world.look(KIND)
    assert (the_run(world)["pipeline_version_reference"]["pipeline_id"], the_run(world)["service_account"]) == (own, "mine")
    world.put(KIND, {"pipeline": {"name": "digit"}, "project": {"inline": PROJECT}}, "typo")
    world.look(KIND, "typo")
    assert world.condition(KIND, "Synced", "typo")["reason"] == "NotFound", "one that is named is never another"


def test_an_environment_that_says_something_wrong_is_told_with_its_key(world: Any) -> None:
    here(world, cluster="{defaults: {timeout: soon}}")
    world.put(KIND, {"project": {"inline": PROJECT}})
    world.look(KIND)
    assert "ConfigMap ns/sluice-cluster: cluster.defaults.timeout" in world.condition(KIND, "Accepted")["message"]
