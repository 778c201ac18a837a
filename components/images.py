"""The image steps run in, by name. A site that builds its own sets the environment variable, by digest."""

from __future__ import annotations

import os

from sluice import __version__

#: torch, kfp, mlflow and this project, as `make images` builds it. Never `latest`: the cache key of a step holds this string.
PIPELINE = os.environ.get("SLUICE_PIPELINE_IMAGE", f"sluice/pipeline:{__version__}")
