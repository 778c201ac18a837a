"""What an image's lock holds against what its code asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Of the torch image, which is the base.
BASE = {"torch"}


def test_the_pipeline_image_holds_what_its_steps_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    locked = set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", (ROOT / "requirements/pipeline.txt").read_text(), re.M))
    for extra in ("train", "serve", "pipelines", "tracking", "cluster", "s3", "tuning"):
        wanted = {re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower() for line in extras[extra]}
        assert wanted - BASE <= locked, f"{extra}: bash images/lock"
