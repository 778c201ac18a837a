"""``python -m tests.bench.reproduce``: every example is trained to its registered package, and again by ``sluice reproduce`` in a home of its own.

A line of JSON each: whether the package is the same, bit for bit, and how long both took. What differs is told where it is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_MAKE = """
import sys, json
from pathlib import Path
from sluice import project as projects
from sluice.core.files import canonical_json
from sluice.core.home import Home
from pipelines.local import run
file, home = Path(sys.argv[1]), Home(sys.argv[2])
raw = projects.read_yaml(file)
project = projects.parse(raw, base_dir=file.resolve().parent)
found = run(project, text=canonical_json(raw).decode(), base_dir=file.resolve().parent, home=home, command="bench", quiet=True, until="register")
print(json.dumps({k: found.get(k) for k in ("outcome", "reasons", "seconds", "package")}))
"""


def examples() -> dict[str, Path]:
    """The project files under ``examples/``, by their folder's name."""
    return {p.parent.name: p for p in sorted((ROOT / "examples").glob("*/sluice.yaml"))}


def measure(name: str, file: Path, home: Path) -> dict[str, Any]:
    """Train an example, and again from its record."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    made = subprocess.run([sys.executable, "-c", _MAKE, str(file), str(home)], env=env, capture_output=True, text=True, check=False)
    try:
        first = json.loads(made.stdout.strip().rpartition("\n")[2])
    except ValueError:
        return {"example": name, "same": None, "why": made.stderr[-500:]}
    if first["outcome"] != "made":
        return {"example": name, "same": None, "why": first["reasons"]}
    command = [sys.executable, "-m", "sluice", "reproduce", first["package"], "--home", str(home), "--json", "--quiet"]
    again = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    try:
        found = json.loads(again.stdout)
    except ValueError:
        return {"example": name, "same": None, "why": again.stderr[-500:]}
    told = {k: found[k] for k in ("differs", "differences", "reasons", "error") if found.get(k)}
    return {
        "example": name,
        "same": found["same"],
        "digest": found["digest"][:12],
        "made": first["seconds"],
        "again": found.get("seconds"),
    } | told


def main() -> None:
    """Measure each example, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    every = examples()
    for name, file in every.items():
        if not args.only or name in args.only:
            with tempfile.TemporaryDirectory(prefix="sluice-reproduce-") as home:
                print(json.dumps(measure(name, file, Path(home))), flush=True)


if __name__ == "__main__":
    main()
