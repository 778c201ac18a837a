"""Sluice: ML pipelines on Kubeflow, with gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "Project", "__version__"]

if TYPE_CHECKING:
    from sluice.client import Client
    from sluice.project import Project


def __getattr__(name: str) -> Any:
    """`Project` and `Client`, imported when first asked for: the server imports this package too."""
    if name == "Project":
        from sluice.project import Project

        return Project
    if name == "Client":
        from sluice.client import Client

        return Client
    raise AttributeError(f"module 'sluice' has no attribute {name!r}")
