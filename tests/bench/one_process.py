"""The steps of the line one after another in one process, everything imported: what the work itself takes.

Run as ``python -m tests.bench.one_process PROJECT``; prints seconds by step as JSON. The line is run twice, and the second time counts.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from pipelines import ahead
from sluice import project as projects
from sluice.core.gate import hand_on
from sluice.core.home import Home


def line(text: str, base: str, home: Path) -> dict[str, float]:
    """The line from rows to a promoted model, in `home`. Returns seconds by step."""
    from components.evaluate import logic as evaluate
    from components.export_onnx import logic as export_onnx
    from components.preprocess import logic as preprocess
    from components.register import logic as register
    from components.rollout import logic as rollout
    from components.train import logic as train
    from components.validate_data import logic as validate_data

    Home(home).create()
    took: dict[str, float] = {}
    raw = orjson.loads(text)

    def gate(step: str) -> str:
        return str(home / f"{step}-gate")

    def timed(step: str, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        found = work(*args, **kwargs, gate_path=f"{gate(step)}.json")
        hand_on(gate(step))
        took[step] = time.perf_counter() - start
        return found

    place, data, model, package = str(home), str(home / "dataset"), str(home / "a" / "b" / "model"), str(home / "package")
    report = str(home / "report.html")
    timed("validate_data", validate_data.run, raw, "", {}, {}, base, report_path=report)
    timed("preprocess", preprocess.run, text, base, dataset_path=data)
    _, run_id = timed("train", train.run, text, base, place, dataset_path=data, model_path=model)
    timed("export_onnx", export_onnx.run, text, base, dataset_path=data, model_path=model, package_path=package, report_path=report)
    timed("evaluate", evaluate.run, text, base, place, run_id, dataset_path=data, package_path=package, report_path=report)
    gates = [Path(gate(s)).read_text() for s in ("preprocess", "train", "export_onnx", "evaluate")]
    digest = timed("register", register.run, text, base, place, run_id, package_path=package, gates=gates)
    timed("rollout", rollout.run, text, base, place, digest, dataset_path=data, report_path=report)
    return took


def main(path: str, *overrides: str) -> None:
    """Print the seconds."""
    raw = projects.read_yaml(Path(path))
    for item in overrides:
        projects.override(raw, item)
    base = Path(path).resolve().parent
    took: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()), ahead.warm(projects.parse(dict(raw), base_dir=base), base, sys.stderr):
        for _ in range(2):
            with tempfile.TemporaryDirectory() as home:
                took = line(orjson.dumps(raw).decode(), str(base), Path(home) / "home")
    print(orjson.dumps(took).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
