"""Bad models at 50 requests a second, and whom they reach: ``python -m tests.bench.rollout_limits``.

Real server processes behind the real Envoy, one whole rollout a row: a candidate that answers one
request in fifty with an error (ten times, each with its own dice), and a real package whose graph
gives NaN. Prints how many users' requests failed before it was stopped, and where.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.package import package
from sluice.rollouts.load_generator import Request
from sluice.rollouts.local import RolloutResult, run_local
from sluice.rollouts.spec import Replay, RolloutSpec
from tests.integration.rollouts import digits

SPEC = RolloutSpec(replay=Replay(rate=50, step_deadline_seconds=300))
STANDIN = [sys.executable, str(Path(__file__).parents[1] / "integration" / "rollouts" / "standin.py")]
LIMIT = 200


def standin(root: Path, **behaviour: float) -> Path:
    """A package for the stand-in server, which behaves as told."""
    root.mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"graph of " + root.name.encode())
    (root / "behaviour.json").write_text(json.dumps(behaviour))
    package.write(
        root,
        name="m",
        task="tabular",
        objective="classification",
        inputs=[TensorSpec("x", "FP32", (-1, 1))],
        outputs=[TensorSpec("probabilities", "FP32", (-1, 3))],
        labels=["a", "b", "c"],
        preprocess={"kind": "tensor"},
        precision="fp32",
        metrics={},
        provenance={},
    )
    return root


def line(name: str, result: RolloutResult) -> str:
    load = result.evidence["load"]
    return (
        f"{name}: {result.outcome} after {result.evidence['seconds']:.0f} s, {load['failed']} users' requests failed of {load['sent']:,}, "
        f"{load['by_arm']['candidate']} answered by it; {result.reasons[0]}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    args = parser.parse_args()
    failed, right = [], True
    with tempfile.TemporaryDirectory(prefix="sluice-limits-") as folder:
        home = Path(folder)
        requests = [Request(json.dumps({"instances": [n]}).encode(), "/v1/models/m:predict", "abc"[n % 3]) for n in range(60)]
        stable = standin(home / "p" / "stable")
        for i in range(args.runs):
            candidate = standin(home / "p" / f"worse-{i}", error_share=0.02, seed=i)
            result = run_local("m", SPEC, stable=stable, candidate=candidate, server=STANDIN, requests=requests, home=home)
            print(line(f"+2 points of errors, {i + 1}", result), flush=True)
            failed.append(result.evidence["load"]["failed"])
            right &= result.outcome == "rolled_back" and failed[-1] < LIMIT
        result = run_local(
            "digits",
            SPEC,
            stable=digits.build(home / "p" / "digits", "digits", 150),
            candidate=digits.build(home / "p" / "nan", "digits", 1300, broken=True),
            server=[sys.executable, "-m", "serving.runtime"],
            requests=digits.requests("digits"),
            home=home,
        )
        print(line("NaN", result))
        load = result.evidence["load"]
        right &= result.outcome == "rolled_back" and load["failed"] == 0 and load["by_arm"]["candidate"] == 0
    print(
        f"+2 points of errors at 50/s, {args.runs} rollouts: users' requests failed {np.median(failed):.0f} (median), {max(failed)} (most)"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
