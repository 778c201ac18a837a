"""Write every dashboard into the ConfigMap that Grafana's sidecar reads, and the chart's copy of manifests/monitoring."""

from __future__ import annotations

from pathlib import Path

from manifests.monitoring.dashboards.configmap import configmap
from sluice.core.files import write_bytes, write_text

HERE = Path(__file__).parents[1]
CHART = Path(__file__).parents[3] / "charts" / "sluice" / "files" / "monitoring"


def main() -> None:
    write_text(HERE / "cluster" / "dashboards.yaml", configmap())
    for path in sorted(HERE.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            write_bytes(CHART / path.relative_to(HERE), path.read_bytes())


if __name__ == "__main__":
    main()
