"""The bandit of `sluice init --task bandit`, and how often the interval of `dr` holds the truth of simulated logs.

``python -m tests.bench.tasks.bandit`` prints one JSON line.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.commands.project import template
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import judged
from sluice.formats.export import export_package
from sluice.learners.fit import fit
from sluice.problems.bandit import Bandit
from sluice.problems.offpolicy import Logs, RewardModel, row_values
from sluice.project import load
from sluice.tasks import load_task
from tests.bench.latency import latencies

LOGS, ROWS, ACTIONS = 200, 1000, 4


def main() -> None:
    """Measure and print."""
    print(orjson.dumps({**learnt(), "coverage": coverage()}).decode())


def learnt() -> dict[str, Any]:
    """What the example's policy is worth."""
    path = template("bandit") / "sluice.yaml"
    project = load(path)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = prepare(project, path.parent, load_task(project, path.parent), root / "data")
        fit(project, dataset, root / "model", base_dir=path.parent)
        package = export_package(project, root / "model", dataset, root / "package", base_dir=path.parent).package
        assert package is not None
        predictor, asked = Predictor(package), dataset.problem
        outputs, targets = judged(predictor.predict, package.preprocess, list(package.labels), dataset, "test")
        metric, ours = asked.metrics()["dr"], asked.answers(outputs, targets, package.labels)
        return {
            "task": "bandit",
            "data": "1,677 decisions on handwritten digits",
            "model": project.model.estimator,
            "metric": metric.name,
            "value": metric.value(ours),
            "interval": metric.interval(ours, 0.95, 1000),
            "baseline": {"the policy that logged": float(targets.mean())},
            "bytes": package.model.stat().st_size,
            "latency_ms": latencies(predictor, dataset),
        }


def coverage() -> dict[str, Any]:
    """Of simulated logs of a policy that leans on the context, how many intervals of each metric hold what the judged policy truly earns.

    Rewards are 0 or 1 with a probability that is no linear function of the context, so the reward model of `dr` is wrong. The truth is the
    mean over a million contexts.
    """
    asked, slopes = Bandit(), np.random.default_rng(0).standard_normal((ACTIONS, 3))
    truth = float(np.mean([_policy_earns(np.random.default_rng([1, i]).standard_normal((100_000, 3)), slopes) for i in range(10)]))
    held = dict.fromkeys(asked.metrics(), 0)
    for seed in range(LOGS):
        x, logs = _logs(seed, 2 * ROWS, slopes)
        first, second = (Logs(logs.actions[s], logs.rewards[s], logs.propensities[s]) for s in (slice(0, ROWS), slice(ROWS, None)))
        expected = RewardModel.fitted(x[:ROWS], first, ACTIONS).expected(x[ROWS:])
        chosen = _policy(x[ROWS:], slopes)
        values = np.concatenate([row_values(second, chosen, expected), chosen[:, None]], axis=1)
        a = asked.answers(values, second.rewards, [str(i) for i in range(ACTIONS)])
        for name, metric in asked.metrics().items():
            low, high = metric.interval(a, 0.95, 1000) or (np.inf, -np.inf)
            held[name] += low <= truth <= high
    return {"logs": LOGS, "rows": ROWS, "truth": round(truth, 4), **{name: n / LOGS for name, n in held.items()}}


def _chances(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Of a reward of 1 for each action, [rows, actions]."""
    found: np.ndarray = 1 / (1 + np.exp(-np.sin(2 * x) @ slopes.T))
    return found


def _policy(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """What is judged: good, not perfect."""
    return np.asarray((x @ slopes.T).argmax(axis=1))


def _policy_earns(x: np.ndarray, slopes: np.ndarray) -> float:
    return float(_chances(x, slopes)[np.arange(len(x)), _policy(x, slopes)].mean())


def _logs(seed: int, rows: int, slopes: np.ndarray) -> tuple[np.ndarray, Logs]:
    rng = np.random.default_rng([2, seed])
    x = rng.standard_normal((rows, 3))
    leaning = np.exp(x @ rng.standard_normal((3, ACTIONS)))
    taken = 0.7 * leaning / leaning.sum(axis=1, keepdims=True) + 0.3 / ACTIONS
    actions = (taken.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    rewards = (rng.random(rows) < _chances(x, slopes)[np.arange(rows), actions]).astype(np.float64)
    return x, Logs(actions, rewards, taken[np.arange(rows), actions])


if __name__ == "__main__":
    main()
