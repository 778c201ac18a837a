"""The dashboards as one ConfigMap, the same bytes for the same code."""

from __future__ import annotations

import json
import textwrap

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from manifests.monitoring.dashboards.fleet import fleet
from manifests.monitoring.dashboards.gpus import gpus
from manifests.monitoring.dashboards.models import models
from manifests.monitoring.dashboards.prompts import prompts
from manifests.monitoring.dashboards.retraining import retraining
from manifests.monitoring.dashboards.rollouts import rollouts
from manifests.monitoring.dashboards.training import training

HEAD = """\
# Written by `make golden` from manifests/monitoring/dashboards. Grafana's sidecar loads what carries the label;
# by hand, a dashboard is imported as the JSON under its key.
apiVersion: v1
kind: ConfigMap
metadata:
  name: sluice-dashboards
  labels: {grafana_dashboard: "1"}
data:
"""


def dashboards() -> list[Dashboard]:
    """Every dashboard."""
    return [made.build() for made in (fleet(), models(), prompts(), rollouts(), retraining(), training(), gpus())]


def configmap() -> str:
    """YAML of the ConfigMap; a key for each dashboard, named by its uid."""
    text = HEAD
    for found in dashboards():
        board = json.loads(JSONEncoder(sort_keys=True).encode(found))
        for number, panel in enumerate(board["panels"], 1):
            panel["id"] = number
        body = json.dumps(board, indent=1, sort_keys=True, ensure_ascii=False)
        text += f"  {found.uid}.json: |\n{textwrap.indent(body, '    ')}\n"
    return text
