"""Arguments that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What a folder's project file is called.
PROJECT_FILE = "sluice.yaml"
PACKAGE = "a package directory, a digest in the store, NAME or a project (its folder or file) for the champion, or NAME@VERSION"

#: Adds a command: its name, a line of help, ``module:function`` of `sluice.commands`, and what it is a command of.
Add = Callable[..., argparse.ArgumentParser]
Commands = Any


def project_arguments(to: argparse.ArgumentParser, optional: str = "") -> None:
    """PROJECT and --set."""
    help_ = "a project file, or the folder of its sluice.yaml" + (f"; {optional}" if optional else "")
    to.add_argument("project", type=project_file, metavar="PROJECT", nargs="?" if optional else None, help=help_)
    to.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=V", help="override a key; may be repeated")


def endpoint_arguments(to: argparse.ArgumentParser) -> None:
    """Where Kubeflow Pipelines is, and as whom."""
    to.add_argument(
        "--endpoint",
        metavar="URL",
        help="of KFP's API, or in-cluster, or kubeconfig; default: $KF_PIPELINES_ENDPOINT, else what is at hand",
    )
    to.add_argument("--namespace", help="yours, where the endpoint has many users")
    to.add_argument("--token-file", type=Path, metavar="FILE", help="a bearer token; default: $KF_PIPELINES_TOKEN")
    to.add_argument("--context", help="of the kubeconfig; default: its current one")


def tune_argument(parser: argparse.ArgumentParser) -> None:
    """--tune."""
    parser.add_argument("--tune", action="store_true", help="the tuning pipeline: search (`tune:`), then train with the best settings")


def image_arguments(to: argparse.ArgumentParser) -> None:
    """The image of a pipeline's steps."""
    to.add_argument(
        "--image", metavar="NAME@sha256:...", help="the image of the steps, by digest; default: $SLUICE_PIPELINE_IMAGE, else the cluster's"
    )
    to.add_argument(
        "--allow-tag", action="store_true", help="let the image be named by tag, on a cluster without a registry; nothing is cached then"
    )


def site_arguments(to: argparse.ArgumentParser) -> None:
    """The environment whose services the steps use."""
    to.add_argument(
        "--environment",
        metavar="NS",
        help="the namespace Sluice is installed in, whose ConfigMap sluice-cluster says how steps reach things there; "
        "default: $SLUICE_NAMESPACE, else sluice",
    )
    to.add_argument("--offline", action="store_true", help="ask no cluster: the project's own `cluster:` section says everything")
    to.add_argument("--unchecked", action="store_true", help="let pass what the steps seem to lack: something else gives it to them")


def project_file(text: str) -> Path:
    """A project file; of a folder, its ``sluice.yaml``."""
    path = Path(text)
    return path / PROJECT_FILE if path.is_dir() else path


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def fraction(text: str) -> float:
    """A number from 0 on."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number


def home_argument(to: argparse._ActionsContainer) -> None:
    """--home."""
    to.add_argument("--home", type=Path, help="default: $SLUICE_HOME, else .sluice")
