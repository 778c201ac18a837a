"""A stand-in for the model server inside a pod; standard library only. Its behaviour is in $BEHAVIOUR:
``test://errors=0.05&slow=0.2&delay=0.5&crash=500&never=1&tired=500&exit=3&eat=64``. A POST to a path
that ends with ``/feedback`` tells a business outcome, counted under the real server's names; users are grouped by its own ``users.py``.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
import urllib.parse
from collections import Counter

import users

BEHAVIOUR = {k: float(v[0]) for k, v in urllib.parse.parse_qs(os.environ["BEHAVIOUR"].removeprefix("test://")).items()}
VERSION, SLO = os.environ["DIGEST"][:12], 0.2
WHO = f'model="{os.environ.get("NAME", "m")}",version="{VERSION}"'
codes, labels = Counter(), Counter()
timed = Counter()
outcomes = Counter()
asked, failed = Counter(), Counter()
ballast = []


async def predict(body):
    begun = time.monotonic()
    n = json.loads(body)["instances"][0]
    answered = sum(codes.values()) + 1
    if answered == BEHAVIOUR.get("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "eat" in BEHAVIOUR and answered > 30:
        ballast.append(bytearray(os.urandom(1 << 20)) * int(BEHAVIOUR["eat"]))
    if random.random() < BEHAVIOUR.get("slow", 0):
        await asyncio.sleep(BEHAVIOUR.get("delay", 0.4))
    if random.random() < BEHAVIOUR.get("errors", 0):
        code, answer = 500, b'{"error": "made up"}'
    else:
        label = "abc"[n % 3]
        labels[label] += 1
        code, answer = 200, json.dumps({"predictions": [{"label": label, "probability": 0.9}]}).encode()
    codes[str(code)] += 1
    timed["slow" if time.monotonic() - begun > SLO else "fast"] += 1
    return code, answer


def feedback(body, group):
    value = json.loads(body)["outcome"]
    outcomes.update({("total", group): 1, ("sum", group): value, ("squares", None): value * value})
    return 202, b'{"accepted": 1}'


def ready():
    return "never" not in BEHAVIOUR and sum(codes.values()) < BEHAVIOUR.get("tired", float("inf"))


def by(group):
    return "" if group is None else f',group="{group}"'


def metrics():
    lines = [f'sluice_inference_requests_total{{{WHO},code="{c}"}} {n}' for c, n in codes.items()]
    lines += [f'sluice_predictions_total{{{WHO},label="{c}"}} {n}' for c, n in labels.items()]
    names = {"total": "outcomes_total", "sum": "outcome_sum", "squares": "outcome_squares_sum"}
    lines += [f"sluice_feedback_{names[k]}{{{WHO}{by(g)}}} {v}" for (k, g), v in outcomes.items()]
    lines += [f"sluice_user_requests_total{{{WHO}{by(g)}}} {v}" for g, v in asked.items()]
    lines += [f"sluice_user_errors_total{{{WHO}{by(g)}}} {v}" for g, v in failed.items()]
    total = timed["fast"] + timed["slow"]
    lines += [
        f'sluice_inference_duration_seconds_bucket{{{WHO},le="0.2"}} {timed["fast"]}',
        f'sluice_inference_duration_seconds_bucket{{{WHO},le="+Inf"}} {total}',
        f"sluice_inference_duration_seconds_count{{{WHO}}} {total}",
        f'sluice_model_info{{{WHO},digest="{os.environ["DIGEST"]}"}} 1',
    ]
    return "\n".join(lines).encode() + b"\n"


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = next((int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
            body = await reader.readexactly(length)
            path = head.split(" ")[1]
            given = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            sent = {k.lower().encode(): v.encode("latin-1") for k, v in given.items()}
            group, cookie = users.known(sent.get(b"x-sluice-user"), sent.get(b"cookie")), b""
            kind = "application/octet-stream" if path.endswith(".bin") else "application/json"
            if path == "/metrics":
                code, answer, kind = 200, metrics(), "text/plain; version=0.0.4"
            elif body:
                if path.endswith("/feedback"):
                    code, answer = feedback(body, group)
                else:
                    if group is None and (group := users.drawn(sent)) is not None:
                        cookie = users.cookie(group)
                    code, answer = await predict(body)
                    if group is not None:
                        asked[group] += 1
                        failed[group] += code >= 400
            else:
                code, answer = (200 if ready() else 503), b"{}"
            writer.write(
                f"HTTP/1.1 {code} X\r\ncontent-length: {len(answer)}\r\nx-sluice-version: {VERSION}\r\ncontent-type: {kind}\r\n".encode()
                + cookie
                + b"\r\n"
                + answer
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    if "exit" in BEHAVIOUR:
        print("cannot load the graph", flush=True)
        sys.exit(int(BEHAVIOUR["exit"]))
    halt = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, halt.set)
    server = await asyncio.start_server(serve, "0.0.0.0", 8080, limit=1 << 20)
    await halt.wait()
    # Endpoints are told while this still answers: a pod that closes at once drops what is on its way.
    await asyncio.sleep(5)
    server.close()


asyncio.run(main())
