"""Grafana dashboards as code: `python -m manifests.monitoring.dashboards` (`make golden`) writes what kustomize and the chart ship."""
