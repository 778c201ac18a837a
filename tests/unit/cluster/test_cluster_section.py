"""`cluster:` in the project file: bounded by default, merged step by step, strict."""

from __future__ import annotations

from typing import Any

import pytest

from sluice import project
from sluice.core.errors import ProjectError
from sluice.kfp.config import ClusterConfig, cores, duration_seconds, memory_bytes
from sluice.steps.step import NAMES as STEPS


def parsed(cluster: str) -> ClusterConfig:
    text = "{name: mine, task: image, data: {source: 'sklearn://digits'}, cluster: %s}" % cluster  # noqa: UP031
    return project.parse(project.read_text(text, "test")).cluster


def test_every_step_is_bounded_when_nothing_is_said() -> None:
    for step in STEPS:
        found = ClusterConfig().of(step)
        limits = found.resources.limits
        assert limits.cpu and limits.memory and found.timeout
        assert cores(limits.cpu) <= 4 and memory_bytes(limits.memory) <= 8 * 2**30 and duration_seconds(found.timeout) <= 86400


def test_a_step_overrides_the_defaults_key_by_key() -> None:
    found = parsed(
        "{defaults: {env: {A: a, B: b}, timeout: 1h, resources: {limits: {cpu: 1}}, tolerations: [{key: x}]},"
        " steps: {train: {env: {B: c}, resources: {limits: {memory: 9Gi}}, tolerations: []}}}"
    )
    train, register = found.of("train"), found.of("register")
    assert train.env == {"A": "a", "B": "c"} and register.env == {"A": "a", "B": "b"}
    assert (train.resources.limits.cpu, train.resources.limits.memory) == ("1", "9Gi")
    assert train.timeout == register.timeout == "1h"
    assert train.tolerations == [] and register.tolerations[0].key == "x"


def test_a_request_or_a_limit_given_alone_moves_the_other() -> None:
    assert parsed("{defaults: {resources: {limits: {cpu: 100m}}}}").of("train").resources.requests.cpu == "100m"
    assert parsed("{steps: {train: {resources: {requests: {memory: 90Gi}}}}}").of("train").resources.limits.memory == "90Gi"


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("{steps: {trian: {}}}", "did you mean 'train'"),
        ("{steps: {xyz: {}}}", "there is validate_data"),
        ("{defaults: {timeot: 3h}}", "did you mean 'timeout'"),
        ("{defualts: {}}", "did you mean 'defaults'"),
        ("{defaults: {resources: {limits: {cpu: 2x}}}}", "no CPU quantity"),
        ("{defaults: {resources: {limits: {cpu: 0}}}}", "above 0"),
        ("{defaults: {resources: {limits: {memory: 4gb}}}}", "no memory quantity"),
        ("{defaults: {resources: {limits: {memory: 1.5Gi}}}}", "no memory quantity"),
        ("{defaults: {resources: {requests: {cpu: 2}, limits: {cpu: 1}}}}", "requests.cpu 2 is above limits.cpu 1"),
        ("{defaults: {resources: {accelerator: {type: gpu}}}}", "pattern"),
        ("{defaults: {resources: {accelerator: {count: 0}}}}", "greater than or equal to 1"),
        ("{defaults: {timeout: 90}}", "no duration"),
        ("{defaults: {timeout: 0h}}", "no duration"),
        ("{defaults: {retries: {count: 99}}}", "less than or equal to 10"),
        ("{defaults: {secrets: [{name: s}]}}", "either env"),
        ("{defaults: {secrets: [{name: s, mount: /a, env: {k: V}}]}}", "either env"),
        ("{defaults: {secrets: [{name: S_, mount: /a}]}}", "pattern"),
        ("{defaults: {secrets: [{name: s, env: {k: 1V}}]}}", "no name of an environment variable"),
        ("{defaults: {env: {KFP_POD_NAME: x}}}", "platform's own"),
        ("{defaults: {volumes: [{claim: c, mount: relative}]}}", "pattern"),
        ("{defaults: {tolerations: [{}]}}", "name a key"),
        ("{defaults: {tolerations: [{key: a, operator: Exists, value: b}]}}", "takes no value"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(cluster: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message) as caught:
        parsed(cluster)
    assert "cluster" in str(caught.value.field)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "cluster", ["{defaults: {timeout: 3h}}", "{steps: {train: {resources: {limits: {cpu: 7}}}}}", "{service_account: x}"]
)
def test_where_steps_run_does_not_change_what_the_model_is(cluster: str) -> None:
    raw: dict[str, Any] = {"name": "mine", "task": "image", "data": {"source": "sklearn://digits"}}
    there = project.parse({**raw, "cluster": project.read_text(cluster, "t")})
    assert there.digest == project.parse(raw).digest


@pytest.mark.parametrize(
    "cluster",
    [
        "{defaults: {env: {TORCH: x}}}",
        "{steps: {train: {env: {A: b}}}}",
        "{defaults: {secrets: [{name: s, env: {k: TOKEN}}]}}",
        "{defaults: {volumes: [{claim: weights, mount: /weights}]}}",
        "{defaults: {resources: {accelerator: {count: 1}}}}",
        "{cache_key: again}",
    ],
)
def test_what_a_step_runs_with_changes_the_key_of_its_cached_result(cluster: str) -> None:
    assert parsed(cluster).environment("train") != ClusterConfig().environment("train")
