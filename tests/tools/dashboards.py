"""The dashboards as they are committed, and what they ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIGMAP = ROOT / "manifests/monitoring/cluster/dashboards.yaml"


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    return {name: json.loads(text) for name, text in yaml.safe_load(CONFIGMAP.read_text())["data"].items()}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """(dashboard's uid, panel) of all that ask something."""
    for found in dashboards().values():
        rows = found["panels"]
        for panel in [*rows, *(p for r in rows for p in r.get("panels") or [])]:
            if panel["type"] != "row":
                yield found["uid"], panel


def filled(expr: str, interval: str = "10s") -> str:
    """A query as Grafana sends it with everything chosen."""
    return re.sub(r"\$(?!__)\w+", ".*", expr.replace("$__rate_interval", interval))
