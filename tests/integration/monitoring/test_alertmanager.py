"""A real Alertmanager whose webhook is the controller's: one episode, grouped, repeated and resolved, starts one run.

Debian's reads its templates below /usr/share and nowhere else, so that it is asked where it is installed: ``apt-get install prometheus-alertmanager``.
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.controller.monitors.listener import Listener
from serving.controller.monitors.sources import Inbox
from sluice.core.processes import free_port, spawn, stop, wait_until
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from sluice.monitor.retrain import run_name
from tests.tools.long import long
from tests.unit.monitors.conftest import RUN, World
from tests.unit.rollouts.memory_api import error

TOKEN = "0123456789abcdef"
CONFIG = """
route: {{receiver: retrain, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 2s}}
receivers:
  - name: retrain
    webhook_configs:
      - url: http://127.0.0.1:{port}/alerts
        send_resolved: true
        http_config: {{authorization: {{type: Bearer, credentials_file: {token}}}}}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path / "store")
    found.put(retrain={"alerts": ["SluiceModelDrifted"], "coolDownHours": 0, "perDay": 48, "run": RUN})
    found.now = time.time()
    found.look()
    return found


@pytest.fixture
def received(world: World, tmp_path: Path) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """What Alertmanager sent, and where it is."""
    program, token, bodies = shutil.which("prometheus-alertmanager"), tmp_path / "token", []
    if program is None:
        pytest.skip("no Alertmanager is installed: apt-get install prometheus-alertmanager")
    token.write_text(TOKEN)

    class Counted(Inbox):
        def take(self, requests: Any) -> dict[str, int]:
            asked = list(requests)
            told = super().take(asked)
            bodies.append({"requests": len(asked), **told})
            return told

    inbox = Counted(Objects(Kube(client=world.api, pauses=())), ["ns"])
    server = Listener("127.0.0.1", 0, inbox, token, "ns", clock=time.time)
    server.start()
    (tmp_path / "config.yml").write_text(CONFIG.format(port=server.server_port, token=token))
    port, log = free_port(), tmp_path / "log"
    flags = [f"--config.file={tmp_path}/config.yml", f"--storage.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    process = spawn([program, *flags, "--cluster.listen-address="], log=log)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return bool(urllib.request.urlopen(f"{url}/-/ready", timeout=2).status == 200)
        except OSError:
            return False

    try:
        wait_until(ready, what="Alertmanager", seconds=60, every=0.2, process=process, log=log)
        yield bodies, url
    finally:
        stop(process)
        server.shutdown()
        server.server_close()


def tell(url: str, *alerts: dict[str, Any]) -> None:
    """As Prometheus does."""
    request = urllib.request.Request(f"{url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"})
    assert urllib.request.urlopen(request, timeout=10).status == 200


@long
def test_an_episode_that_is_repeated_and_resolved_starts_one_run_and_the_next_another(world: World, received: Any) -> None:
    bodies, url = received
    labels = {"alertname": "SluiceModelDrifted", "namespace": "ns", "model": "digits"}

    def alert(began: datetime, **more: Any) -> dict[str, Any]:
        return {"labels": labels, "annotations": {"summary": "digits drifted"}, "startsAt": began.isoformat(), **more}

    def went(count: int) -> None:
        wait_until(lambda: len(bodies) >= count, what=f"{count} webhooks", seconds=60, every=0.2)

    began = datetime.now(UTC)
    world.api.fault = lambda method, path: (_ for _ in ()).throw(error(503))
    tell(url, alert(began), {**alert(began), "labels": {**labels, "model": "faces"}})
    time.sleep(2)
    assert bodies == [], "refused with 503, and tried again"
    world.api.fault = lambda method, path: None
    went(1)
    assert bodies[0] == {"requests": 2, "taken": 1, "ignored": 1}
    world.look(2)
    assert list(world.runs()) == [run_name("digits", "uid-1", 1)]
    tell(url, alert(began))
    went(3)
    world.look(2)
    world.end(run_name("digits", "uid-1", 1), "Succeeded", "Promoted")
    seen = len(bodies)
    tell(
        url,
        alert(began, endsAt=datetime.now(UTC).isoformat()),
        {**alert(began, endsAt=datetime.now(UTC).isoformat()), "labels": {**labels, "model": "faces"}},
    )
    wait_until(lambda: any(b["requests"] == 0 for b in bodies[seen:]), what="that it is over", seconds=60, every=0.2)
    world.now = time.time()
    world.look(3)
    assert len(world.runs()) == 1
    seen = len(bodies)
    tell(url, alert(datetime.now(UTC)))
    went(seen + 1)
    world.now = time.time() + 1
    world.look(3)
    assert len(world.runs()) == 2, "an episode of its own"
