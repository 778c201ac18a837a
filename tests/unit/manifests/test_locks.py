"""What an image's lock holds against what its code asks for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: Of the torch image, which is the base.
BASE = {"torch"}


def test_the_pipeline_image_holds_what_its_steps_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", (ROOT / "requirements/pipeline.txt").read_text(), re.M))
    for extra in ("train", "serve", "pipelines", "tracking", "cluster", "s3", "tuning"):
        wanted = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower() for line in extras[extra]}
        assert wanted - BASE <= locked, f"{extra}: bash images/lock"


#: Rows of a kind, described and counted as a monitor does it, where nothing can be imported that a lock does not name.
MONITORED = """
import importlib.metadata, io, re, sys, wave
locked = set(re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)==", open(sys.argv[1]).read()))
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
given = {m for m, ds in importlib.metadata.packages_distributions().items() if plain(ds[0]) not in locked | {"sluice-ml"}}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in given:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import pyarrow as pa
from sluice.core.png import png
from sluice.fields import field_of
from sluice.monitor import drift  # what a monitor counts and compares with

sound = io.BytesIO()
with wave.open(sound, "wb") as w:
    w.setnchannels(1), w.setsampwidth(2), w.setframerate(8000)
    w.writeframes((8000 * np.sin(np.arange(4000) / 9)).astype(np.int16).tobytes())
values = {"image": png([[0, 9], [3, 4]]), "audio": sound.getvalue(), "text": "one two", "numeric": 1.5, "categorical": "a"}[sys.argv[2]]
field = field_of(sys.argv[2], "x")
column = pa.array([values] * 4, field.arrow or pa.binary())

class Rows:
    times = {}
    def rows(self, split): return 4
    def read(self, split, columns=None): return pa.table({"row_id": list("abcd"), "x": column}).select(columns)
    def batches(self, split, columns=None, rows=4096): yield from self.read(split, columns).to_batches()

reference = field.reference(Rows())
counted = field.counted(reference, column, [0, 2, 4])
assert counted and all(part.sum() for part in counted.values()), counted
found = field.vectors(column.to_pylist())
assert found is None or np.isfinite(found).all(), found
"""


@pytest.mark.parametrize("kind", ["image", "audio", "text", "numeric", "categorical"])
def test_the_controller_image_holds_what_a_monitor_reads_rows_of_each_kind_with(kind: str) -> None:
    lock = str(ROOT / "requirements/controller.txt")
    done = subprocess.run([sys.executable, "-c", MONITORED, lock, kind], capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
