"""Every page that is read off the code, by its path below docs."""

from __future__ import annotations

import functools

from docs.generate import cli, cluster, errors, project, python


@functools.cache
def pages() -> dict[str, str]:
    """Path -> Markdown."""
    return {
        "reference/cli.md": cli.page(),
        "reference/project.md": project.page(),
        "reference/resources.md": cluster.resources(),
        "reference/metrics.md": cluster.metrics(),
        "reference/alerts.md": cluster.alerts(),
        "reference/values.md": cluster.values(),
        "reference/errors.md": errors.page(),
        **python.pages(),
    }
