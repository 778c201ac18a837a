"""A/B on a real gateway: users stick to an arm, their outcomes come in by feedback, and the winner takes over by itself."""

from __future__ import annotations

import http.client
import importlib.util
import json
import math
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest, NAMESPACE = helpers.manifest, helpers.digest, helpers.NAMESPACE
wait_until = helpers.wait_until

#: How often a user buys, by the model that answered.
BUYS = {digest("plain")[:12]: 0.1, digest("persuasive")[:12]: 0.35}


class Users:
    """People who ask again and again with the cookies they were given, and say after each answer whether they bought.

    Each is of a kind: in half of the visits a user does what that kind does, so two visits of one correlate by a quarter.
    """

    def __init__(self, gateway: tuple[str, int], host: str, threads: int = 4):
        self.gateway, self.host = gateway, host
        self.halt = threading.Event()
        self.guard = threading.Lock()
        self.users: Counter[str] = Counter()
        self.visits: Counter[str] = Counter()
        self.moved: list[float] = []
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, seed: int) -> None:
        dice = random.Random(seed)
        connection = http.client.HTTPConnection(*self.gateway, timeout=10)
        while not self.halt.is_set():
            cookie, first, kind = "", "", dice.random()
            for _ in range(6):
                arm, given = self.ask(connection, "/v1/models/m:predict", {"instances": [1]}, cookie)
                if not arm:
                    continue
                self.ask(
                    connection,
                    "/v2/models/m/feedback",
                    {"outcome": float((kind if dice.random() < 0.5 else dice.random()) < BUYS[arm])},
                    cookie or given,
                )
                with self.guard:
                    self.visits[arm] += 1
                    self.users[arm] += not first
                    if first and arm != first:
                        self.moved.append(time.monotonic())
                first, cookie = first or arm, cookie or given
                time.sleep(0.01)

    def ask(self, connection: http.client.HTTPConnection, path: str, body: Any, cookie: str) -> tuple[str, str]:
        """(the version that answered, the cookies it gave); empty when the request failed, which is counted."""
        try:
            connection.request("POST", path, json.dumps(body), {"host": self.host, **({"cookie": cookie} if cookie else {})})
            got = connection.getresponse()
            said = got.read(300)
            got.read()
            if got.status < 400:
                return got.getheader("x-sluice-version", ""), "; ".join(
                    c.partition(";")[0] for c in got.headers.get_all("set-cookie") or []
                )
            why = f"{got.status} {said!r}"
        except (OSError, http.client.HTTPException) as e:
            why = repr(e)
            connection.close()
        with self.guard:
            self.failed.append(f"{time.strftime('%H:%M:%S')} {path} with {cookie or 'no cookie'}: {why}")
        return "", ""

    def stop(self) -> None:
        self.halt.set()
        for t in self.threads:
            t.join(20)


def test_half_the_users_each_stick_and_the_model_that_sells_more_takes_over(
    operator: Any, api: Any, named: str, gateway: tuple[str, int], prometheus: str
):
    plan: dict[str, Any] = {
        "strategy": {
            "kind": "AB",
            "steps": [50],
            "minimumRequests": 300,
            "stepDeadlineSeconds": 400,
            "troubleSeconds": 2,
            "settleSeconds": 6,
        },
        "analysis": {"prometheus": {"url": prometheus}, "business": {"minimumOutcomes": 200}},
        "traffic": {"sticky": "Cookie"},
    }
    api.apply(manifest(named, "plain", **plan))
    api.until(named, "Succeeded", version="plain")
    wait_until(lambda: helpers.scraped(prometheus, digest("plain")), what="the first scrape", seconds=180, every=2)
    users = Users(gateway, f"{named}.example.com")
    try:
        wait_until(lambda: users.visits.total() > 50, what="visits", seconds=60)
        users.failed.clear()
        api.apply(manifest(named, "persuasive", **plan))
        wait_until(
            lambda: api.status(named).get("stage") == "collect" and api.phase(named) == "Step", what="the split", seconds=240, every=0.5
        )
        # On a busy machine the gateway hears of the split some seconds later: users are counted from when it has.
        begun = users.users[digest("persuasive")[:12]]
        wait_until(lambda: users.users[digest("persuasive")[:12]] > begun + 3, what="users of both arms", seconds=120, every=0.2)
        with users.guard:
            users.users.clear()
            users.moved.clear()
        split, last = {}, [0.0]

        def over() -> bool:
            with users.guard:
                now, counts = time.monotonic(), dict(users.users)
            if api.phase(named) != "Step":
                return True
            split.update(counts)
            last[0] = now
            return False

        wait_until(over, what="the winner", seconds=420, every=0.2)
        status = api.until(named, "Succeeded", version="persuasive")
    finally:
        users.stop()
    assert status["stable"] == digest("persuasive")[:12]
    verdict = next(h for h in reversed(status["history"]) if h["kind"] == "verdict" and h["message"].startswith("pass"))
    shown = next(c for c in verdict["checks"] if c["metric"] == "business")
    assert 0 < shown["low"] < 0.25 < shown["high"], shown
    # Through gateway, cookies and scrapes each outcome is of a known user, and their groups show how alike one user's visits are.
    assert shown["unit"] == "users" and min(shown["groups"]) >= 20 and min(shown["known"]) >= 0.98 and max(shown["dispersion"]) > 1.2, shown
    n, k = sum(split.values()), split[digest("persuasive")[:12]]
    assert abs(k - n / 2) <= 3 * math.sqrt(n / 4), split
    moved = [t for t in users.moved if t < last[0]]
    told = [f"{h['time']} {h['message']}" for h in status["history"]]
    assert not users.failed and not moved, "\n".join([*users.failed[:20], f"{len(users.failed)} failed, {len(moved)} moved", *told])
    print(
        f"\n{n} users, {k} of them in the candidate's arm, none moved; {users.visits.total():,} visits, {len(users.failed)} failed\n{shown['reason']}"
    )
