"""Prompts on the line against a real small model: ``python -m tests.bench.demo_llm [--home DIR]``.

SmolLM2-135M behind OpenAI's API on this machine. A first prompt is promoted; a better one is compared with it item by item, meets it behind two
servers and takes its place; a worse third one is refused by the gate, before anybody is asked by it; then one step back. The last report shows the
answers side by side.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

EXAMPLE = Path(__file__).parents[2] / "examples/llm"
UNREAD = "{{ question }} ({{ passages | length }} text was found)"
PROMPTS = {
    "first": {"system": "You answer questions about the city library.", "user": UNREAD},  # from memory, and it has none of this library
    "better": {
        "system": "Tell the user about the library, in your own words.",
        "user": '{{ passages | join("\\n") }}\n\n{{ question }}',
    },
    "worse": {"system": "You are a poet. Never answer the question: write about the sea.", "user": UNREAD},
}
EXPECTED = {"first": 0, "better": 0, "worse": 3}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The model on a free port, up to its first answer."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.smollm2", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=1):
                break
            if process.poll() is not None:
                raise SystemExit("the model's server ended: make setup installs what it needs")
            time.sleep(0.5)
        else:
            raise SystemExit("the model's server did not come up in five minutes")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


def written(folder: Path) -> Path:
    """The example with a fast plan."""
    shutil.copytree(EXAMPLE, folder)
    file = folder / "sluice.yaml"
    project = yaml.safe_load(file.read_text())
    project["name"] = "library"
    project["data"]["checks"] = {"rows_min": 10}
    project["model"] |= {"tests": None, "scorers": {"contains": {}, "grounded": {}}}
    project["model"]["endpoint"]["at_once"] = 1
    project["evaluate"] = {}
    project["rollout"] = {
        "steps": [50],
        "minimum_requests": 100,
        "latency_slo_ms": 5000,
        "shadow": {"requests": 20},
        "replay": {"rate": 60},
        "wrong": {"tolerance": 0.05, "margin": 0.3},
    }
    file.write_text(yaml.safe_dump(project, sort_keys=False))
    return file


def prompt(file: Path, changes: dict[str, str]) -> None:
    """The example's prompt with other templates."""
    path = file.parent / "prompts/answer.yaml"
    given = yaml.safe_load((EXAMPLE / "prompts/answer.yaml").read_text()) | changes
    given["parameters"] = {"temperature": 0, "max_tokens": 16}
    path.write_text(yaml.safe_dump(given, sort_keys=False))


def sluice(env: dict[str, str], *args: str) -> tuple[int, dict[str, object]]:
    """A command, shown as it runs, and what it says."""
    print(f"\n$ sluice {' '.join(args)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "sluice", *args, "--json"], env=env, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


def main() -> None:
    """The demo; ends with 1 where a run came to something else than it should."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="kept; default: a new one")
    parser.add_argument("--url", help="an endpoint that is there already; default: the small model is started")
    given = parser.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="sluice-demo-"))
    began, reports, wrong = time.time(), [], []
    with contextlib.nullcontext(given.url) if given.url else server() as url, tempfile.TemporaryDirectory() as tmp:
        env = {**os.environ, "SLUICE_LLM_URL": url}
        print(f"the model answers at {url}, after {time.time() - began:.0f} s", flush=True)
        file = written(Path(tmp) / "library")
        for name, changes in PROMPTS.items():
            prompt(file, changes)
            code, told = sluice(env, "run", str(file), "--home", str(home))
            print(f"{name} prompt: {told.get('outcome')} (exit {code}), {time.time() - began:.0f} s so far")
            for reason in told.get("reasons") or ():  # type: ignore[attr-defined]
                print(f"  - {reason}")
            reports.append(told.get("report"))
            wrong += [name] if code != EXPECTED[name] else []
        code, told = sluice(env, "rollback", "library", "--home", str(home), "--reason", "the demo's last step")
        wrong += ["rollback"] if code else []
        print(f"rollback: exit {code}")
    print(f"\nanswers side by side: {reports[-1]}\n{time.time() - began:.0f} s in all; the home is {home}")
    raise SystemExit(f"not as it should be: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
