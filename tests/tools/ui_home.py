"""A home as runs, rollouts and promotions leave it, made without running anything: for the page's tests, its bench and its pictures.

Texts of it may be hostile on purpose: nothing of a home is to be believed.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from sluice.audit.log import open_log
from sluice.audit.record import Entry
from sluice.core import files
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.registry.versions import Registry
from sluice.rollouts.state import Note, State
from sluice.rollouts.store import Store

#: The end of the newest run: 2026-11-28 12:00 UTC.
LAST = 1795867200
_OUTCOMES = ("promoted", "promoted", "refused", "promoted", "rolled_back", "failed")
_PROJECTS = ("intents", "digits", "churn")


def digest_of(i: int) -> str:
    """A digest of 64 digits."""
    return files.digest_of(["package", i])


def run(home: Home, i: int, project: str, outcome: str, reason: str = "", *, ended: bool = True, version: str = "") -> str:
    """One run's files; returns its name."""
    at = LAST - 5400 * i
    name = f"{project}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(at))}-{i % 65536:04x}"
    folder = home.runs / name
    value = 0.91 + 0.05 * math.sin(i)
    for gate in _gates(value, outcome, reason):
        gate.write(folder / "gates" / f"{gate.step}.json")
    files.write_text(folder / "project.yaml", f"name: {project}\ntask: text\ndata: {{source: data/train.csv}}\n")
    if ended:
        files.write_json(folder / "outcome.json", _outcome(name, project, outcome, reason, version or str(i + 1), digest_of(i)))
        os.utime(folder / "outcome.json", (at, at))
        files.write_text(home.reports / name / "index.html", f"<!doctype html><html lang=en><title>{name}</title><h1>{name}</h1></html>")
    return name


def _outcome(name: str, project: str, outcome: str, reason: str, version: str, digest: str) -> dict[str, Any]:
    reasons = [reason or {"promoted": "ready and answering"}.get(outcome, "accuracy 0.81 is below the bar of 0.85")]
    error = {"message": "no such file", "field": "data.source", "value": "'data/train.csv'", "fix": "name a file that is there"}
    registered = {"version": version, "digest": digest} if outcome in ("promoted", "rolled_back") else {}
    failed = {"error": {**error, "step": "validate_data"}} if outcome == "failed" else {}
    then = {"next": ["train longer or on more rows, or change evaluate.minimum; `sluice run` again"]} if outcome == "refused" else {}
    code = {"promoted": 0, "rolled_back": 4, "refused": 3, "failed": 2}.get(outcome, 1)
    return (
        {"run": name, "project": project, "outcome": outcome, "exit_code": code, "seconds": 61.5, "reasons": reasons, "cautions": []}
        | registered
        | failed
        | then
    )


def _gates(value: float, outcome: str, reason: str) -> list[Gate]:
    if outcome == "failed":
        return []
    found = {"metric": "accuracy", "value": value, "low": value - 0.02, "high": value + 0.015, "rows": 1200}
    compared = {"verdict": "no_worse", "difference": 0.004}
    judged = "refuse" if outcome == "refused" else "pass"
    return [
        Gate("validate_data", "pass", ("9,211 train rows, 12 labels; 14 checks passed",), {}, 1.2),
        Gate("preprocess", "pass", ("7,400 train, 900 validation, 911 test rows; data 5d2b78c3f553",), {}, 2.4),
        Gate("train", "pass", ("epoch 3 of 5 kept, by loss",), {}, 31.0),
        Gate("export_onnx", "pass", ("int8: 23,110,402 bytes, 99.8% of held-out labels as PyTorch's",), {}, 6.5),
        Gate(
            "evaluate",
            judged,
            (reason or f"accuracy {value:.4f} on 1,200 held-out rows",),
            {"evaluation": found, "comparison": compared},
            4.1,
        ),
    ]


def rollout(home: Home, name: str, *, running: bool = False, ended: str = "promoted", requests: int = 328, reason: str = "") -> Store:
    """One rollout's files; a running one has to be `held` by whoever makes it."""
    store = Store(home.root, name)
    store.fresh()
    at = float(LAST)
    told = [
        ("rollout of c7faaa592fef beside 57d60c7d4d6c", "Pending", 0),
        ("ready: copies of live requests to the candidate", "Shadow", 0),
        ("shadow passed (413 candidate requests, 0 errors): staying ready for 1 s before the first live request", "Warmup", 0),
        ("step 1 of 2: 10 % to the candidate", "Step", 10),
        ("pass: 300 candidate requests, 0 errors; no share worse by its margin", "Step", 10),
        ("step 2 of 2: 50 % to the candidate", "Step", 50),
    ]
    last = {"promoted": ("c7faaa592fef serves", "Succeeded", 100), "rolled_back": ("c7faaa592fef is rolled back", "RolledBack", 0)}[ended]
    for i, (message, phase, weight) in enumerate([*told, *([] if running else [last])], 1):
        store.note(Note(i, "phase", reason if reason and i == len(told) else message, {"phase": phase, "weight": weight}), at + 9 * i)
    save(store, requests, "Step" if running else last[1], 50 if running else last[2], reason)
    if not running:
        store.finish({"outcome": ended, "reasons": [last[0]], "evidence": {}})
    return store


def save(store: Store, requests: int, phase: str, weight: int, reason: str = "") -> None:
    """What its driver writes at each look."""
    n = max(requests, 1)
    tests = [
        _test("errors", 0.02, n, 0, 0, 1.0, 1.018**n),
        _test("slow", 0.05, n, 0, 1, 0.9, 1.04**n),
        _test("wrong", 0.1, n, n // 50, n // 40, 0.23, 1.06**n),
    ]
    state = State(stable=digest_of(1), candidate=digest_of(2), phase=phase, stage="collect", step=1, weight=weight, verdict="wait")  # type: ignore[arg-type]
    why = [reason or f"{requests} of 600 candidate requests; not yet shown to be within the margin: errors"]
    store.save(
        State(**{**state.to_dict(), "reasons": tuple(why), "last_time": float(LAST), "counted": float(LAST)}),
        view={"weight": weight, "tests": tests, "arms": {}, "ready": {"stable": True, "candidate": True}},
        plan={"steps": [10, 50], "alpha": 0.05},
        stable=digest_of(1),
        candidate=digest_of(2),
        started=float(LAST),
        load={"sent": requests * 2, "failed": 0, "p50_ms": 4.9, "p99_ms": 31.2},
    )


def _test(metric: str, margin: float, n: int, stable: int, candidate: int, worse: float, within: float) -> dict[str, Any]:
    return {
        "metric": metric,
        "margin": margin,
        "e_worse": worse,
        "e_within": min(within, 1e12),
        "stable": {"n": float(n), "bad": stable},
        "candidate": {"n": float(n), "bad": candidate},
        "verdict": "pass" if within >= 20 else "wait",
        "reason": f"{metric} {candidate} of {n} against {stable} of {n}: {'shown' if within >= 20 else 'not yet shown'} to be within the margin",
    }


def registry(home: Home, model: str, versions: int = 4) -> Registry:
    """Versions with their lineage, an environment beside dev, and what the audit log says of them."""
    found, log = Registry(home.tracking_uri), open_log(home)
    for i in range(versions):
        tags = {f"sluice.{k}": files.digest_of([k, i // 2]) for k in ("data", "config", "code")} | {
            "sluice.git": "1f0c2ab",
            "sluice.rollout": "promoted",
        }
        tags |= {
            "sluice.gates": '{"validate_data": "pass", "evaluate": "pass", "export_onnx": "pass"}',
            "sluice.rollout.reason": "ready and answering",
        }
        tags |= {"sluice.before": str(i)} if i else {}
        metrics = {"accuracy": 0.9 + 0.01 * i, "macro_f1": 0.88 + 0.012 * i, "ece": 0.031 - 0.004 * i}
        made = found.register(model, digest_of(i), f"file://{home.store}/sha256/{digest_of(i)}", metrics=metrics, tags=tags, run_id=None)
        log.append(
            Entry(
                "gate",
                model,
                "",
                "",
                f"accuracy {metrics['accuracy']:.4f}",
                {"step": "evaluate", "decision": "pass", "run": f"r{i}"},
                "ada",
            )
        )
        log.append(Entry("registration", model, digest_of(i), "", f"version {made.number}", {"run": f"r{i}"}, "ada"))
    for alias, back in (("champion", 0), ("previous", 1), ("staging-champion", 1), ("production-champion", 2)):
        found.set_alias(model, alias, str(max(1, versions - back)))
    log.append(Entry("promotion", model, digest_of(versions - 2), "staging", "holds in dev", {"what": "from dev", "version": "3"}, "grace"))
    return found


def monitor(home: Home, model: str, moved: float = 0.0) -> None:
    """What `sluice monitor` keeps of a model whose column ``age`` moves by so much a window."""
    names = ("age", "income", "city", "words")
    history = [
        {
            "window": i,
            "rows": 1000,
            "ended": f"2026-11-{10 + i}T00:00:00Z",
            "parts": {
                n: [0.05 + 0.02 * math.sin(i + k) + moved * i * (k == 0), 0.25, moved * i * (k == 0) > 0.2] for k, n in enumerate(names)
            },
        }
        for i in range(18)
    ]
    standing = (
        [{"feature": "age", "text": f"age moved: distance {0.05 + moved * 17:.2f}, 0.25 counts", "since": "2026-11-18T00:00:00Z"}]
        if moved
        else []
    )
    kept = {
        "format": "sluice.monitor/v1",
        "cursor": None,
        "history": history,
        "last": {"standing": standing},
        "state": {"rows": 18000, "windows": 18},
    }
    files.write_json(home.root / "monitor" / f"{model}-{digest_of(3)[:12]}.json", kept)


def build(root: Path, runs: int = 24, *, models: bool = True) -> Home:
    """A whole home."""
    home = Home(root).create()
    for i in range(runs):
        run(home, i, _PROJECTS[i % len(_PROJECTS)], _OUTCOMES[i % len(_OUTCOMES)])
    rollout(home, "digits")
    rollout(home, "churn", ended="rolled_back")
    monitor(home, "intents", 0.02)
    monitor(home, "digits")
    if models:
        for model in ("intents", "digits"):
            registry(home, model)
    return home
