"""The route of users who stay with a model: cookies of both arms, places that a rollout keeps."""

from __future__ import annotations

import itertools
import re
from typing import Any

from serving.controller.kube import connect
from serving.controller.rollouts import resource
from serving.controller.rollouts.evidence import Pods
from serving.runtime.users import STICKY as STICKY_HEADER
from tests.unit.rollouts.test_controller import ONE, PATH, THREE, TWO, Cluster, no_pauses, second

__all__ = ["no_pauses"]

STICKY = {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m", "sticky": "Cookie"}


def cookies(rules: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The cookies that the weighted rule gives, and the patterns that the others ask for."""
    given = [h["value"].split(";")[0] for r in rules[0]["backendRefs"] for h in r["filters"][0]["responseHeaderModifier"].get("add", [])]
    return given, [r["matches"][0]["headers"][0]["value"] for r in rules[1:]]


def test_users_cookies_name_both_arms_and_lead_back_to_their_own():
    c = Cluster()
    second(c, traffic=STICKY)
    from serving.controller.rollouts.backends.gateway import Gateway

    route = Gateway(connect(c.api), resource.read(c.api.objects[PATH]), Pods(connect(c.api))).http_route(
        {ONE: 50, TWO: 50}, None, owned=True
    )
    given, asked = cookies(route["spec"]["rules"])
    assert given == [f"sluice-arm={ONE[:12]}-{TWO[:12]}", f"sluice-arm={TWO[:12]}-{ONE[:12]}"]
    for i, cookie in enumerate(given):
        for sent in (cookie, f"a=1; {cookie}", f"{cookie}; b=2"):
            assert [bool(re.fullmatch(pattern, sent)) for pattern in asked] == [i == 0, i == 1]
        assert not re.fullmatch(asked[i], "x" + cookie) and not re.fullmatch(asked[i], cookie + "0")


def test_sticky_route_keeps_its_places_through_whole_rollouts():
    # Envoy's clusters are named by these places; one that comes or goes fails the requests of a moment.
    seen: list[list[tuple[str, int]]] = []

    def note(method: str, path: str) -> None:
        if method == "PATCH" and "/httproutes/" in path:
            rules = c.api.objects[path]["spec"]["rules"]
            assert [len(r["backendRefs"]) for r in rules] == [2, 1, 1]
            assert all(r["filters"] and r["weight"] > 0 for rule in rules for r in rule["backendRefs"])
            # The model server is told on every rule that users stay, and puts them into groups.
            told = [
                f["requestHeaderModifier"]["set"][0]["name"]
                for rule in rules
                for f in rule["filters"]
                if f["type"] == "RequestHeaderModifier"
            ]
            assert told == [STICKY_HEADER.decode()] * 3
            seen.append([(r["name"], r["weight"]) for r in rules[0]["backendRefs"]])
            if len({name for name, _ in seen[-1]}) == 1:
                assert cookies(rules)[0] == []

    c = Cluster()
    c.api.after = note
    c.api.behaviour[THREE[:12]] = {"errors": 0.2}
    for digest, end in ((TWO, "Succeeded"), (ONE, "Succeeded"), (THREE, "RolledBack")):
        c.apply(digest, traffic=STICKY, strategy={"shadow": {"requests": 0}, "steps": [20, 50]})
        c.look()
        c.until(end)
    one, two, three = (f"m-{d[:8]}-predictor" for d in (ONE, TWO, THREE))
    steps = [seen[0], *(after for before, after in itertools.pairwise(seen) if after != before)]
    assert steps == [
        [(two, 999), (two, 1)],
        [(two, 80), (one, 20)],
        [(two, 50), (one, 50)],
        [(two, 5), (one, 95)],
        [(one, 999), (one, 1)],
        [(one, 80), (three, 20)],
        [(one, 999), (one, 1)],
    ]


def test_route_of_another_shape_is_brought_up_to_date_before_the_next_rollout():
    c = Cluster()
    second(c, traffic={k: v for k, v in STICKY.items() if k != "sticky"})
    c.until("Succeeded")
    assert "filters" not in c.api.objects["/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/m"]["spec"]["rules"][0]
    c.apply(TWO, traffic=STICKY)
    for _ in range(3):
        c.look()
    rules = c.api.objects["/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/m"]["spec"]["rules"]
    assert [len(r["backendRefs"]) for r in rules] == [2, 1, 1]
    assert c.status["phase"] == "Succeeded"
