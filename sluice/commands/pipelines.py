"""`sluice compile`."""

from __future__ import annotations

import argparse
import sys

from sluice import project as projects
from sluice.cli import checkout_command, show_json
from sluice.errors import ProjectError
from sluice.project import Project


def open_project(args: argparse.Namespace) -> tuple[Project, str]:
    """The project the arguments name, and its text with overrides applied, for people to read and change."""
    raw = projects.read_yaml(args.project)
    for item in args.overrides:
        projects.override(raw, item)
    found = projects.parse(raw, where=args.project.name, base_dir=args.project.resolve().parent)
    return found, projects.write_text(raw)


def compile_(args: argparse.Namespace) -> int:
    project, text = open_project(args)
    write = checkout_command("compile")
    try:
        made = write(project, args.output, text=text, image=args.image, allow_tag=args.allow_tag, kubernetes=args.kubernetes,
                     namespace=args.namespace)  # fmt: skip
    except OSError as e:
        raise ProjectError(f"cannot be written: {e.strerror or e}", field="--output", value=str(args.output), fix="name a file in a folder you may write") from e
    warn_of_paths(project)
    if args.json:
        show_json(made)
    else:
        print(f"{made['file']}  {made['version']}  sha256:{made['sha256'][:12]}")
    return 0


def warn_of_paths(project: Project) -> None:
    """Say which source a step on a cluster would not find."""
    if "://" not in project.data.source:
        print(f"note: data.source {project.data.source!r} is a path: on a cluster use s3:// or a mounted volume", file=sys.stderr)
