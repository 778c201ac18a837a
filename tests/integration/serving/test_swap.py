"""Models changed under load: nothing dropped, every answer from exactly one version, broken packages refused."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving.server import Server, eventually, serving
from tests.unit.serving import builders


class Load(threading.Thread):
    """Asks over one connection until told to stop; keeps what went wrong and how many answers each version gave."""

    def __init__(self, server: Server, by_digest: dict[str, float]):
        super().__init__(daemon=True)
        self.server, self.by_digest = server, by_digest
        self.failed: list[str] = []
        self.seen: dict[str, int] = {}
        self.halt = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        while not self.halt.is_set():
            connection.request("POST", "/v1/models/constant:predict", body=b'{"instances":[1.0,2.0]}')
            got = connection.getresponse()
            body = got.read()
            digest = got.getheader("x-sluice-version", "")
            values = {p["value"] for p in json.loads(body).get("predictions", [])} if got.status == 200 else set()
            if got.status != 200 or values != {self.by_digest.get(digest)}:
                self.failed.append(f"{got.status} {digest[:12]} {body[:200]!r}")
            self.seen[digest] = self.seen.get(digest, 0) + 1
        connection.close()


def change(server: Server, path: Path, digest: str | None = None, name: str = "constant") -> tuple[int, dict[str, Any]]:
    parameters = {"uri": str(path), **({"digest": digest} if digest else {})}
    status, _, body = server.request("POST", f"/v2/repository/models/{name}/load", {"parameters": parameters})
    return status, json.loads(body)


@pytest.fixture
def versions(tmp_path: Path) -> dict[str, tuple[Path, float]]:
    """digest -> (path, the value that version says)."""
    made = [builders.constant(tmp_path / f"v{i}", float(i)) for i in range(3)]
    return {p.digest: (p.root, float(i)) for i, p in enumerate(made)}


def test_twenty_swaps_under_load_fail_no_request(versions: dict[str, tuple[Path, float]], tmp_path: Path) -> None:
    paths = list(versions.items())
    with serving(tmp_path / "log", paths[0][1][0], "--workers", "2", "--allow-load", tmp_path) as server:
        clients = [Load(server, {d: v for d, (_, v) in versions.items()}) for _ in range(4)]
        for c in clients:
            c.start()
        for i in range(20):
            digest, (path, _) = paths[(i + 1) % 3]
            status, answer = change(server, path, digest)
            assert (status, answer.get("version")) == (200, digest[:12])
        # The last version is what both workers say from now on.
        for _ in range(20):
            assert server.predict("constant", 1.0)[0]["value"] == paths[20 % 3][1][1]
        eventually(lambda: sum(sum(c.seen.values()) for c in clients) >= 2000, 60)
        for c in clients:
            c.halt.set()
        for c in clients:
            c.join(30)
        assert [f for c in clients for f in c.failed] == []
        assert set().union(*(c.seen for c in clients)) == set(versions)
        assert server.metric("sluice_model_loads_total", outcome="loaded") == 20


def damage(path: Path, how: str) -> None:
    model = path / "model.onnx"
    if how == "truncated":
        model.write_bytes(model.read_bytes()[:-20])
    elif how == "tampered":
        raw = bytearray(model.read_bytes())
        raw[len(raw) // 2] ^= 1
        model.write_bytes(bytes(raw))
    elif how == "extra file":
        (path / "evil.pkl").write_bytes(b"x")
    elif how == "no manifest":
        (path / "model.json").unlink()
        model.unlink()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("truncated", "bytes, model.json says"),
        ("tampered", "sha256"),
        ("extra file", "does not list"),
        ("no manifest", "no package"),
        ("digest", "not the one asked for"),
    ],
)
def test_a_broken_package_is_refused_with_the_reason_and_the_old_one_serves(how: str, says: str, tmp_path: Path) -> None:
    old, new = builders.constant(tmp_path / "old", 1.0), builders.constant(tmp_path / "new", 2.0)
    damage(new.root, how)
    with serving(tmp_path / "log", old.root, "--workers", "1", "--allow-load", tmp_path) as server:
        status, answer = change(server, new.root, "0" * 64 if how == "digest" else None)
        assert status == 422 and says in answer["error"]
        assert server.predict("constant", 0.0) == [{"value": 1.0}]
        assert server.metric("sluice_model_loads_total", outcome="refused") == 1


def test_models_are_loaded_only_from_where_it_is_allowed(tmp_path: Path) -> None:
    inside, outside = builders.constant(tmp_path / "in" / "a", 1.0), builders.constant(tmp_path / "out", 2.0)
    with serving(tmp_path / "log", inside.root, "--workers", "1", "--allow-load", tmp_path / "in") as server:
        for path in (outside.root, tmp_path / "in" / ".." / "out", Path(f"{tmp_path}/in2")):
            assert change(server, path)[0] == 403
        assert change(server, inside.root, name="second")[0] == 200
        assert server.get("/v2/models")["models"] == ["constant", "second"]
        status, _, _ = server.request("POST", "/v2/repository/models/second/unload", b"{}")
        assert status == 200 and server.get("/v2/models")["models"] == ["constant"]
    with serving(tmp_path / "log2", inside.root, "--workers", "1") as closed:
        assert change(closed, inside.root)[0] == 403


def test_a_pointer_file_names_what_is_served(tmp_path: Path) -> None:
    one, two = builders.constant(tmp_path / "one", 1.0), builders.constant(tmp_path / "two", 2.0)
    pointer = tmp_path / "current"
    with serving(tmp_path / "log", one.root, "--workers", "2", "--pointer", pointer) as server:
        pointer.write_text(f"{two.root} {two.digest}\n")
        eventually(lambda: {server.predict("constant", 0.0)[0]["value"] for _ in range(10)} == {2.0})
        pointer.write_text(f"{one.root} {'f' * 64}\n")
        eventually(lambda: server.metric("sluice_model_loads_total", outcome="refused") == 1)
        assert server.predict("constant", 0.0) == [{"value": 2.0}]


def test_a_worker_started_after_a_swap_serves_the_new_version(tmp_path: Path) -> None:
    one, two = builders.constant(tmp_path / "one", 1.0), builders.constant(tmp_path / "two", 2.0)
    with serving(tmp_path / "log", one.root, "--workers", "1", "--allow-load", tmp_path) as server:
        assert change(server, two.root)[0] == 200
        shutil.rmtree(one.root)
        server.workers()[0].kill()
        eventually(lambda: _answers(server) == 2.0)


def _answers(server: Server) -> float | None:
    try:
        return float(server.predict("constant", 0.0)[0]["value"])
    except OSError:
        return None
