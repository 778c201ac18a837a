"""A model that its traffic leaves behind, live: ``python -m tests.bench.demo_drift [--report FILE]``.

A model of handwritten digits serves behind a real Envoy. Then people hold the page differently: digits arrive turned by a quarter, and some requests
are no digits at all. The monitor sees it in the prediction log, a retraining is decided, labels that came late join what was logged, the same pipeline
trains, judges and rolls out, and the new model takes the traffic. Nobody touches anything; a timeline is drawn.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console

from sluice import project as projects
from sluice.core import files
from sluice.core.home import Home
from sluice.core.processes import wait_until
from sluice.monitor import MonitorConfig, PredictionLog, diagnosis, diagnosis_report, report, timeline
from sluice.monitor.labelled_rows import write_rows
from sluice.monitor.quality import Judge
from sluice.monitor.retrain import Event, State, decide
from sluice.monitor.watch import Look, Watch
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.registry.references import locate
from sluice.report import svg
from sluice.report.page import document
from sluice.report.tables import table
from sluice.rollouts.local import LocalBackend
from sluice.rollouts.spec import RolloutSpec
from tests.integration.rollouts import digits

NAME = "digits"
PROJECT = """
name: digits
task: image
data: {source: "rows/*.parquet", columns: {image: image, label: label}, split: {test: 0.25, validation: 0.1, seed: 17}}
model: {architecture: cnn, channels: 1, size: [8, 8], width: 16, augment: false}
train: {epochs: 12, batch_size: 64, learning_rate: 3e-3, seed: 17}
evaluate: {metric: accuracy, minimum: 0.8}
export: {formats: [fp32]}
rollout: {steps: [50], minimum_requests: 200, shift: null}
monitor:
  window: {rows: 200, minimum: 100}
  drift: {baseline: 400}
  retrain: {drift: {threshold: 0.2, windows: 2}, cool_down_hours: 0}
"""
#: Requests a second; rows of them that are labelled, late by so many seconds; turned ones and such that are no digits once people changed.
RATE, LABELLED, LATE, TURNED, FOREIGN = 45.0, 0.7, 2.0, 0.75, 0.05
ENOUGH = 350


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class Traffic:
    """People: a few connections, each with the next digit; labels come behind, late."""

    def __init__(self, port: int, seed: int = 5):
        self.port, self.shifted, self.sent = port, False, 0
        self.seen: list[tuple[float, bool]] = []
        self.failed: list[str] = []
        self.labels: list[tuple[float, str, str]] = []
        self.feedback_to = 0
        self._rng, self._guard, self._halt = np.random.default_rng(seed), threading.Lock(), threading.Event()
        x, y = digits.rows()
        self._pictures, self._truth = x[-700:], y[-700:]
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(3)] + [
            threading.Thread(target=self._tell, daemon=True)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._halt.set()
        for thread in self._threads:
            thread.join(5)

    def accuracy(self, since: float, until: float | None = None) -> float | None:
        found = [ok for at, ok in list(self.seen) if at >= since and (until is None or at < until)]
        return float(np.mean(found)) if found else None

    def _next(self) -> tuple[bytes, str | None, str]:
        with self._guard:
            self.sent += 1
            i, u, v = int(self._rng.integers(len(self._truth))), self._rng.random(), self._rng.random()
            noise = self._rng.integers(0, 255, (8, 8)).astype(np.uint8)
            number = self.sent
        if self.shifted and u < FOREIGN:
            return png(noise), None, f"demo-{number}"
        turned = self.shifted and v < TURNED
        return png(np.rot90(self._pictures[i]).copy() if turned else self._pictures[i]), str(self._truth[i]), f"demo-{number}"

    def _ask(self) -> None:
        import base64

        pause, connection = len(self._threads[:-1]) / RATE, None
        while not self._halt.is_set():
            begun = time.monotonic()
            picture, truth, name = self._next()
            body = json.dumps({"instances": [{"b64": base64.b64encode(picture).decode()}]})
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", f"/v1/models/{NAME}:predict", body, {"content-type": "application/json", "x-request-id": name})
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != 200:
                    self.failed.append(f"status {answer.status}")
                elif truth is not None:
                    self.seen.append((time.time(), digits_said(said) == truth))
                    if hash(name) % 1000 < 1000 * LABELLED:
                        self.labels.append((time.time() + LATE, name, truth))
            except (OSError, http.client.HTTPException) as e:
                self.failed.append(f"{type(e).__name__}: {e}")
                connection = None
            self._halt.wait(max(0.0, pause - (time.monotonic() - begun)))

    def _tell(self) -> None:
        while not self._halt.wait(0.5):
            now = time.time()
            due = [entry for entry in self.labels if entry[0] <= now]
            if not due or not self.feedback_to:
                continue
            self.labels = [entry for entry in self.labels if entry[0] > now]
            body = json.dumps({"items": [{"request_id": name, "label": label} for _, name, label in due]})
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.feedback_to, timeout=5)
                connection.request("POST", f"/v2/models/{NAME}/feedback", body, {"content-type": "application/json"})
                connection.getresponse().read()
                connection.close()
            except (OSError, http.client.HTTPException) as e:
                self.failed.append(f"feedback: {e}")


def digits_said(body: bytes) -> str | None:
    from sluice.rollouts.load_generator import answer

    found = answer(body)
    return found if isinstance(found, str) else None


class Demo:
    """The story, and what happened when."""

    def __init__(self, root: Path, console: Console):
        self.root, self.console, self.begun = root, console, time.time()
        self.home, self.events = Home(root / "home"), []  # type: ignore[var-annotated]
        self.drift: list[tuple[float, float]] = []
        self.log = root / "log"
        self.log.mkdir()

    def say(self, text: str) -> None:
        at = time.time() - self.begun
        self.events.append((at, text))
        self.console.print(f"[dim]{at:6.1f} s[/]  {escape(text)}")

    def run(self) -> Package:
        """`sluice run` to a champion. Raises `RuntimeError` where it ends otherwise."""
        command = [
            sys.executable,
            "-m",
            "sluice",
            "run",
            str(self.root / "sluice.yaml"),
            "--home",
            str(self.home.root),
            "--quiet",
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        if done.returncode:
            raise RuntimeError(f"sluice run ended with {done.returncode}: {done.stdout[-1500:]} {done.stderr[-500:]}")
        told = json.loads(done.stdout)
        for step in told["steps"]:
            self.console.print(
                f"          {step['step']}: {step['decision']} {'; '.join(step['reasons'])[:110]}", style="dim", markup=False
            )
        return packages.read(locate(NAME, self.home))

    def watch(self, package: Package, config: MonitorConfig) -> Watch:
        profile = package.profile()
        assert profile is not None
        log = PredictionLog(self.log, NAME, version=package.digest)
        return Watch(profile, config, log, self.home.root / f"monitor/{NAME}-{package.digest[:12]}.json")

    def diagnose(self, package: Package, config: MonitorConfig) -> dict[str, Any]:
        """What `sluice diagnose` says of the log as it stands."""
        profile = package.profile()
        assert profile is not None
        events = timeline.of_home(self.home, NAME)
        events += [
            timeline.Event(int((self.begun + at) * 1e6), "alert", text[:200]) for at, text in self.events if text.startswith("alarm")
        ]
        return diagnosis.diagnose(
            profile, self.log, NAME, version=package.digest, config=config, judge=Judge.of(package), package=package, events=events
        )

    def look(self, watch: Watch) -> Look:
        found = watch.look()
        for verdict in found.verdicts:
            self.drift.append((time.time() - self.begun, verdict.score or 0.0))
        return found


def until(done: Callable[[], bool], what: str, seconds: float, every: float = 0.5) -> None:
    """Wait. Raises `TimeoutError`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        time.sleep(every)


def story(demo: Demo) -> dict[str, Any]:
    """From the first model to the second. Raises `TimeoutError`, `RuntimeError`."""
    x, y = digits.rows()
    (demo.root / "rows").mkdir()
    first = {"image": pa.array([png(i) for i in x[:1000]], pa.binary()), "label": pa.array([str(v) for v in y[:1000]])}
    pq.write_table(pa.table(first), demo.root / "rows" / "collected.parquet")
    (demo.root / "sluice.yaml").write_text(PROJECT)
    config = projects.load(demo.root / "sluice.yaml").monitor
    stable = demo.run()
    demo.say(f"a first model serves: {stable.digest[:12]}")
    server = [sys.executable, "-m", "serving.runtime", "--workers", "1", "--log", str(demo.log), "--log-seconds", "1"]
    backend = LocalBackend(demo.root / "serving", NAME, server, {stable.digest: stable.root}, RolloutSpec())
    backend.start()
    traffic = Traffic(backend.envoy.port)
    try:
        _serve(backend, stable.digest, {stable.digest: 100})
        traffic.feedback_to = backend.models[stable.digest].address[1]
        traffic.start()
        return _told(demo, backend, traffic, stable, config)
    finally:
        traffic.stop()
        backend.leave(None)


def _told(demo: Demo, backend: LocalBackend, traffic: Traffic, stable: Package, config: MonitorConfig) -> dict[str, Any]:
    watch, marks = demo.watch(stable, config), {}
    until(lambda: demo.look(watch).windows >= 4, "four quiet windows", 60)
    quiet = demo.look(watch)
    marks["before"] = traffic.accuracy(0)
    demo.say(f"{quiet.windows} windows, {report.headline(quiet.to_dict())}; {100 * (marks['before'] or 0):.1f} % right")
    marks["early_alarms"] = len(quiet.standing)
    traffic.shifted, shifted = True, time.time()
    demo.say("the traffic shifts: three quarters of the digits come turned, one in twenty requests is no digit")
    state, action, looks = State(NAME, "demo", since=0.0), None, quiet
    while action is None or action.what != "start":
        if time.time() - shifted > 90:
            raise TimeoutError("nothing was noticed within 90 s")
        time.sleep(0.5)
        looks = demo.look(watch)
        if looks.raised:
            demo.say(f"alarm: {'; '.join(looks.raised)}")
            marks.setdefault("alarm", time.time() - shifted)
        events = [Event("drift", time.time(), window=v.window, value=v.score or 0.0, rows=v.rows) for v in looks.verdicts]
        state, action = decide(config.retrain, state, events, time.time())
    marks["page"] = report.section(looks.to_dict()) if looks.last else ""
    demo.say(f"retraining is decided: {action.why or action.reason}")
    marks["worst"] = traffic.accuracy(shifted)
    collected: dict[str, Any] = {}

    def enough() -> bool:
        collected.update(write_rows(demo.log, NAME, demo.root / "labelled", "label", since=int(shifted * 1e6)))
        return int(collected["rows"]) >= ENOUGH

    until(enough, "labels", 60, every=2.0)
    diagnosed = demo.diagnose(stable, config)
    demo.say(f"diagnosis: {diagnosed['sentence']}")
    for file in Path(demo.root / "labelled").glob("*.parquet"):
        file.replace(demo.root / "rows" / f"labelled-{file.name}")
    demo.say(f"{collected['rows']} rows that were labelled since, late by {LATE:g} s, join the training rows by request id")
    made: list[Any] = []
    training = threading.Thread(target=lambda: made.append(_made(demo)))
    training.start()
    while training.is_alive():
        demo.look(watch)
        training.join(1.0)
    if isinstance(made[0], Exception):
        raise made[0]
    new = made[0]
    if new.digest == stable.digest:
        raise RuntimeError("the retrained model is the old one")
    demo.say(f"trained again, through the same gates and a canary of its own: {new.digest[:12]}")
    backend.packages[new.digest] = new.root
    _serve(backend, new.digest, {stable.digest: 75, new.digest: 25})
    time.sleep(3)
    backend.route({new.digest: 100}, None)
    switched = time.time()
    traffic.feedback_to = backend.models[new.digest].address[1]
    demo.say("it takes the live traffic")
    again = demo.watch(new, config)
    until(lambda: demo.look(again).windows >= 3, "three windows of the new model", 60)
    after = demo.look(again)
    marks |= {"after": traffic.accuracy(switched + 1), "standing": [a["text"] for a in after.standing]}
    demo.say(f"{100 * (marks['after'] or 0):.1f} % right again; {report.headline(after.to_dict())}")
    return {
        **marks,
        "sent": traffic.sent,
        "failed": len(traffic.failed),
        "why_failed": traffic.failed[:3],
        "seen": traffic.seen,
        "diagnosis": diagnosed,
    }


def _made(demo: Demo) -> Package | Exception:
    try:
        return demo.run()
    except Exception as e:
        return e


def _serve(backend: LocalBackend, digest: str, weights: dict[str, int]) -> None:
    backend.launch(digest)
    wait_until(
        lambda: backend.models[digest].look(revive=False).ready, what="the model's server", seconds=60, log=backend.models[digest].log
    )
    backend.route(weights, None)
    wait_until(lambda: backend.envoy.routed() is not None, what="Envoy's routes", seconds=20)


def page(demo: Demo, told: dict[str, Any], diagnosed: str = "") -> str:
    """The story on a page: accuracy and drift on one timeline.

    Args:
        diagnosed: where the diagnosis's own page is, as a link has it; "": nowhere.
    """
    end = demo.events[-1][0]
    start = max(min((at - demo.begun for at, _ in told["seen"]), default=0.0) - 2, 0.0)
    bins = np.arange(start, end, 2.0)
    accuracy = []
    for a in bins:
        found = [ok for at, ok in told["seen"] if a <= at - demo.begun < a + 2]
        if found:
            accuracy.append((a + 1, 100 * float(np.mean(found))))
    out = ""
    for title, points, top, unit in (
        ("Right answers", accuracy, 105.0, "% right"),
        ("Drift", demo.drift, max(y for _, y in demo.drift) * 1.1, "largest shift"),
    ):
        plot = svg.Plot((start, end), (0.0, top), width=940, height=240, top=26).axes("seconds", unit)
        shown = [(i, at, text) for i, (at, text) in enumerate(demo.events) if at >= start]
        for n, (i, at, text) in enumerate(shown):
            # Two numbers in one place cannot be read: the first one's is enough.
            near = n > 0 and plot.px(at) - plot.px(shown[n - 1][1]) < 10
            plot.rule(x=at, text="" if near else str(i + 1), colour="var(--bad)" if text.startswith("alarm") else "var(--muted)")
        out += f"<h2>{title}</h2>" + plot.line(points, svg.COLOURS[0], dots=True).svg(title)
    rows = [[i + 1, f"{at:.1f}\u00a0s", text] for i, (at, text) in enumerate(demo.events)]
    body = f"<header><h1>A model that its traffic left behind</h1><div class='sub'>{told['sent']:,} requests, {told['failed']} failed</div></header>"
    link = f' · <a href="{escape(diagnosed, quote=True)}">all of it</a>' if diagnosed else ""
    why = f"<section><h2>Why</h2><p><b>{escape(told['diagnosis']['sentence'])}</b>{link}</p></section>"
    return document(
        "drift",
        f"{body}<section>{out}{table(['', 'at', 'what'], rows, (0,))}</section>{why}<section><h2>What moved</h2>{told['page']}</section>",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=Path(".sluice/reports/demo-drift.html"), metavar="FILE")
    args = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as folder:
        demo = Demo(Path(folder), console)
        told = story(demo)
        beside = args.report.absolute().with_name(f"{args.report.stem}-diagnosis.html")
        found = told["diagnosis"]
        files.write_text(beside, document(f"{NAME}: {found['kind']}", diagnosis_report.body(found)))
        files.write_text(args.report.absolute(), page(demo, told, beside.name))
    good = not told["early_alarms"] and told["failed"] == 0 and (told["after"] or 0) > (told["worst"] or 1) + 0.1
    summary = {k: told[k] for k in ("before", "alarm", "worst", "after", "sent", "failed", "why_failed", "standing")}
    summary["diagnosis"] = told["diagnosis"]["sentence"]
    console.print_json(json.dumps({**summary, "seconds": round(demo.events[-1][0], 1), "report": str(args.report)}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
