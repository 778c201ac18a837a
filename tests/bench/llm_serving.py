"""A served prompt: what the server adds to its endpoint's latency, and 10,000 requests with every fault played.

``python -m tests.bench.llm_serving [--requests 10000]`` prints JSON lines. The endpoint is played (`tests.support.endpoint`) by a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sluice.llm.http1 import Client, Malformed, Origin
from tests.integration.serving.server import Server, serving
from tests.support.endpoint import Scripted
from tests.support.prompts import prompt_package

#: Of a hundred requests so many meet each fault.
FAULTS = {
    "slow": 5,
    "hang": 3,
    "429": 4,
    "429 wait": 1,
    "500": 5,
    "503": 2,
    "400": 2,
    "cut head": 4,
    "cut body": 4,
    "bad json": 4,
    "no choice": 2,
    "not http": 2,
    "no usage": 2,
}
_PLAYS = [play for play, share in FAULTS.items() for _ in range(share)]
_CLIENTS, _SECONDS, _GRACE = 64, 1.5, 0.5
_TEXT = "Where is the order that I placed on Monday, and when will it come? " * 4


def fault_of(body: dict[str, Any], n: int) -> str:
    """What a question's number and its attempt decide: the same question may fare better the next time."""
    draw = random.Random(f"{body['messages'][-1]['content']} {n}").randrange(100)
    return _PLAYS[draw] if draw < len(_PLAYS) else "ok"


def steady(body: dict[str, Any], n: int) -> str:
    return "slow"


@contextlib.contextmanager
def endpoint(script: Any, **settings: Any) -> Iterator[tuple[str, Any]]:
    """The played endpoint in a process of its own: its URL, and a function that asks what it played."""
    here, there = multiprocessing.get_context("fork").Pipe()

    def play() -> None:
        with Scripted(script, **settings).serving() as played:
            there.send(played.url)
            while there.recv():
                there.send({"billed": played.billed, "played": dict(played.played), "most": max(played.asked.values(), default=0)})

    process = multiprocessing.get_context("fork").Process(target=play, daemon=True)
    process.start()

    def told() -> Any:
        here.send(True)
        return here.recv()

    try:
        yield here.recv(), told
    finally:
        here.send(False)
        process.join(5)
        process.kill()


async def post(client: Client, body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    raw = json.dumps(body).encode()
    async with client.post("/chat/completions", {"content-type": "application/json", **(headers or {})}, raw, 10, 60) as answer:
        return answer.status, await answer.all(1 << 24)


async def measured(url: str, requests: int, clients: int, system: str) -> list[float]:
    """Milliseconds of each request, by so many clients that ask one after another."""
    client, taken = Client(Origin(url)), []
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []

    async def one(number: int) -> None:
        for i in range(requests // clients):
            body = {"model": "asked", "messages": [*messages, {"role": "user", "content": f"{number} {i} {_TEXT}"}]}
            begun = time.perf_counter()
            status, raw = await post(client, body)
            assert status == 200, raw
            taken.append(1e3 * (time.perf_counter() - begun))

    await asyncio.gather(*(one(n) for n in range(clients)))
    return taken


def added(root: Path, requests: int, clients: int = 8) -> dict[str, Any]:
    """What the server adds at so many clients, in turns so that both meet the same machine."""
    with endpoint(steady, slow=0.05) as (url, _):
        package = prompt_package(root / "asked", url, prompt={"user": "{{ question }}"})
        with serving(root / "log", package.root, "--workers", "1") as server:
            direct: list[float] = []
            through: list[float] = []
            asyncio.run(measured(f"{server.url}/v1", 10 * clients, clients, ""))
            begun = spent(server)
            for _ in range(5):
                direct += asyncio.run(measured(url, requests // 5, clients, "Be short."))
                through += asyncio.run(measured(f"{server.url}/v1", requests // 5, clients, ""))
            cpu = round(1e3 * (spent(server) - begun) / len(through), 2)
    told = {f"p{q}": [round(float(np.percentile(x, q)), 2) for x in (direct, through)] for q in (50, 95, 99)}
    more = {f"added_p{q}_ms": round(b - a, 2) for q, (a, b) in ((q, told[f"p{q}"]) for q in (50, 95, 99))}
    return {"what": "added", "clients": clients, "requests": len(through), "endpoint_and_server_ms": told, **more, "cpu_ms_a_request": cpu}


def spent(server: Server) -> float:
    """Seconds of CPU of its workers: what is left of the figure on a machine that does other things too."""
    return sum(t.user + t.system for t in (w.cpu_times() for w in server.workers()))


async def flood(server: Server, requests: int) -> dict[str, Any]:
    """Every fault, by `_CLIENTS` clients, half of the answers in pieces. What came back, and how late the latest was."""
    client, numbers, statuses, late = Client(Origin(f"{server.url}/v1")), iter(range(requests)), Counter[str](), 0.0
    wrong: list[str] = []

    async def one() -> None:
        nonlocal late
        for i in numbers:
            body = {"model": "asked", "messages": [{"role": "user", "content": f"<{i}>"}], "stream": i % 2 == 0}
            begun = time.perf_counter()
            try:
                status, raw = await post(client, body, {"x-sluice-deadline-ms": str(_SECONDS * 1e3), "x-request-id": f"q-{i}"})
                told = answer_of(raw) if status == 200 else None
            except (EOFError, Malformed):
                status, told = 0, None  # a stream that was cut behind its first piece
            late = max(late, time.perf_counter() - begun)
            statuses["cut stream" if status == 0 else str(status)] += 1
            if status == 200 and told != f"<{i}>":
                wrong.append(f"{i}: {told}")

    await asyncio.gather(*(one() for _ in range(_CLIENTS)))
    return {"statuses": dict(sorted(statuses.items())), "latest_s": round(late, 3), "wrong": wrong[:3]}


def answer_of(raw: bytes) -> str:
    """The text of an answer, whole or in events."""
    if not raw.startswith(b"data: "):
        return str(json.loads(raw)["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in raw.decode().split("\n\n") if line.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content", "") for c in events if c["choices"])


def faults(root: Path, requests: int, share: float = 0.9) -> dict[str, Any]:
    """`requests` with every fault played; the budget ends when about a `share` of them is through."""
    budget = int(requests * share * 18)
    with endpoint(fault_of, hangs=30.0, slow=0.2) as (url, told):
        package = prompt_package(
            root / "faults",
            url,
            prompt={"user": "{{ question }}", "system": "", "parameters": {"max_tokens": 16}},
            endpoint={"retries": 2},
            budget={"tokens": budget},
        )
        log = root / "predictions"
        with serving(root / "log-faults", package.root, "--workers", "2", "--log", log, "--log-seconds", "1", "--queue", "512") as server:
            begun = time.perf_counter()
            found = asyncio.run(flood(server, requests))
            seconds = round(time.perf_counter() - begun, 1)
            in_flight = server.metric("sluice_inference_in_flight")
            attempts = told()
            server.terminate()
    import pyarrow.parquet as pq

    kept = [
        i for p in log.rglob("*.parquet") for i in pq.read_table(p, columns=["request_id"], partitioning=None)["request_id"].to_pylist()
    ]
    return {
        "what": "faults",
        "requests": requests,
        "seconds": seconds,
        **found,
        "past_deadline": found["latest_s"] > _SECONDS + _GRACE,
        "answered_twice": len(kept) - len(set(kept)),
        "logged": len(kept),
        "in_flight": in_flight,
        "budget": budget,
        "billed": attempts["billed"],
        "exceeded": attempts["billed"] > budget,
        "played": attempts["played"],
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--requests", type=int, default=10_000)
    asked = options.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="llm-serving-") as folder:
        print(json.dumps(added(Path(folder), max(400, asked // 5))), flush=True)
        print(json.dumps(faults(Path(folder), asked)), flush=True)


if __name__ == "__main__":
    main()
