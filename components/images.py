"""The images steps run in, by name. A site that builds its own sets the environment variable, by digest."""

from __future__ import annotations

import os

#: torch, kfp, mlflow and this project. Never `latest`: the cache key of a step holds this string.
PIPELINE = os.environ.get("SLUICE_PIPELINE_IMAGE", "sluice/pipeline-python:0.1.0")
