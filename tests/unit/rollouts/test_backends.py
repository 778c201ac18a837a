"""Back-ends by name, and what each says it can do."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from serving.controller.rollouts import backends, resource
from sluice.core.errors import ProjectError, SluiceError
from sluice.rollouts.backend import BACKENDS, MIRROR, SPLIT, STICKY, Backend

ALL = [(BACKENDS, "Local"), *((backends.BACKENDS, name) for name in ("Gateway", "Serverless", "KServeCanary"))]
CALLS = [n for n, _ in inspect.getmembers(Backend, inspect.isfunction) if not n.startswith("_")]


def rollout(backend: str, **strategy: Any) -> dict[str, Any]:
    spec = {"model": {"digest": "1" * 64, "uri": "s3://b/x"}, "traffic": {"backend": backend}, "strategy": strategy}
    return {"spec": spec, "metadata": {"name": "m", "namespace": "ns", "uid": "u"}}


@pytest.mark.parametrize(("registry", "name"), ALL)
def test_each_answers_every_call_of_the_interface_and_says_what_it_can(registry: Any, name: str) -> None:
    found = registry.get(name)
    assert sorted(CALLS) == ["adopt", "launch", "leave", "observe", "retire", "route"]
    for call in CALLS:
        theirs, ours = inspect.signature(getattr(found, call)), inspect.signature(getattr(Backend, call))
        assert list(theirs.parameters) == list(ours.parameters), (name, call)
    assert found.can <= {MIRROR, STICKY, SPLIT} and SPLIT in found.can


def test_a_plan_asks_for_copies_only_where_the_back_end_makes_them() -> None:
    """Knative and KServe's own canary copy no requests: the shadow is left out, and `route` would refuse."""
    for name in ("Gateway", "Serverless", "KServeCanary"):
        plan = resource.read(rollout(name, shadow={"requests": 50})).plan
        kind = backends.BACKENDS.get(name)
        assert bool(plan.shadow.requests) is (MIRROR in kind.can), name
        if MIRROR not in kind.can:
            with pytest.raises(SluiceError, match=r"(copies|copy) no requests"):
                kind(None, None, None).route({"1" * 64: 100}, "2" * 64)


def test_a_name_nobody_brought_is_answered_with_the_nearest() -> None:
    with pytest.raises(ProjectError, match="did you mean 'Gateway'") as e:
        resource.read(rollout("Gatway"))
    assert e.value.field == "spec.traffic.backend" and e.value.value == "Gatway"


class Tape:
    """A back-end of somebody else's: it copies requests and splits none."""

    can = frozenset({MIRROR})


def test_one_of_somebody_elses_is_found_by_where_it_is() -> None:
    name = f"{__name__}:Tape"
    found = backends.BACKENDS.get(name)
    assert found.can == {MIRROR}
    assert resource.read(rollout(name, shadow={"requests": 50})).plan.shadow.requests == 50
