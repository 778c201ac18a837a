"""The wheel alone in fresh environments: what the docs say works after `pip install`. Prints a line of JSON for each set of extras.

``python -m tests.bench.wheel [EXTRA ...]``: the bare wheel, then each extra; default serve and gates. Downloads what these need.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The Makefile may name it from here; its commands run elsewhere.
UV = str(ROOT / (os.environ.get("UV") or ".venv-uv/bin/uv"))
#: What each extra is for: Python that has to run where it is installed.
USES = {
    "": "from sluice import Client, Project; Project.load('p/sluice.yaml'); Client",
    "serve": "import onnxruntime, grpc; from sluice.engines.predictor import Predictor",
    "gates": "import pandera, fairlearn",
    "tracking": "import mlflow; from sluice.registry.versions import Registry; Registry('sqlite:///r.db').models()",
    "monitor": "import duckdb, river",
    "tuning": "import optuna",
    "ui": "import starlette, uvicorn, jinja2",
    "notebook": "import nbclient, ipykernel",
}


def ask(*words: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=900, check=False, env=_clean())
    if done.returncode != code:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}, not {code}\n{done.stdout[-800:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "SLUICE_HOME")}


def tried(wheel: Path, extra: str, folder: Path) -> dict[str, object]:
    begun = time.monotonic()
    env, here = folder / f"env-{extra or 'bare'}", folder / f"work-{extra or 'bare'}"
    here.mkdir()
    ask(UV, "venv", "--quiet", "--python", sys.executable, str(env), cwd=folder)
    ask(UV, "pip", "install", "--quiet", "--python", str(env), f"{wheel}[{extra}]" if extra else str(wheel), cwd=folder)
    sluice = str(env / "bin/sluice")
    ask(sluice, "--version", cwd=here)
    rows = "".join(f"{i % 7},{('a', 'b')[i % 3 == 0]},{('no', 'yes')[i % 7 > 3]}\n" for i in range(200))
    (here / "rows.csv").write_text("calls,plan,leaves\n" + rows)
    ask(sluice, "init", "p", "--data", "rows.csv", "--label", "leaves", cwd=here)
    ask(sluice, "schema", cwd=here)
    ask(sluice, "data", "check", "p", cwd=here)
    said = ask(sluice, "run", "p", cwd=here, code=2)
    assert "git clone" in said or "sluice-ml[" in said, said
    ask(str(env / "bin/python"), "-c", USES.get(extra, "import sluice"), cwd=here)
    size = sum(p.stat().st_size for p in env.rglob("*") if p.is_file() and not p.is_symlink())
    return {"extra": extra, "megabytes": round(size / 1e6), "seconds": round(time.monotonic() - begun, 1)}


def main(extras: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ask(UV, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT), cwd=folder)
        wheel = next(folder.glob("*.whl"))
        for extra in ["", *(extras or ["serve", "gates"])]:
            print(json.dumps(tried(wheel, extra, folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
