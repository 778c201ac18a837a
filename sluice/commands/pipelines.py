"""`sluice compile` and `sluice submit`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

from sluice import project as projects
from sluice.cli import checkout_command, show_json
from sluice.cluster.connection import connect
from sluice.cluster.kfp import Api
from sluice.cluster.runs import Watch
from sluice.cluster.submit import Submitted
from sluice.cluster.submit import submit as start
from sluice.commands.run import show_conclusion
from sluice.display import Display
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


def submit(args: argparse.Namespace) -> int:
    """Start a run on an endpoint; with ``--wait`` follow it, and end as `sluice run` would."""
    project, text = open_project(args)
    api = Api(connect(args.endpoint, namespace=args.namespace, token_file=args.token_file, context=args.context))
    started = submit_project(api, project, text, image=args.image, allow_tag=args.allow_tag)
    warn_of_paths(project)
    if not args.wait:
        if args.json:
            show_json(dataclasses.asdict(started))
        else:
            print(f"{started.name}  {started.version}{' (there before)' if started.reused else ''}\n{started.url}")
        return 0
    print(started.url, file=sys.stderr)
    outcome = follow(api, started, project.name, seconds=args.timeout, quiet=args.quiet or args.json)
    if args.json:
        show_json(outcome)
    else:
        show_conclusion(outcome)
    return int(outcome["exit_code"])


def submit_project(api: Api, project: Project, text: str, *, image: str | None = None, allow_tag: bool = False) -> Submitted:
    """Compile a project and start a run of it. Raises `ProjectError`, `EndpointError`."""
    write = checkout_command("compile")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        made = write(project, path, text=text, image=image, allow_tag=allow_tag)
        return start(api, pipeline=made["pipeline"], version=made["version"], text=path.read_text(), description=f"{project.name}: {project.task}",
                     service_account=project.cluster.service_account)  # fmt: skip


def follow(api: Api, started: Submitted, name: str, *, seconds: float, quiet: bool) -> dict[str, Any]:
    """Show a run's progress until it ends; returns its outcome. Of a failed step the log's last lines are shown."""
    with contextlib.closing(Display(quiet)) as display:
        display.start(f"{name}: {started.name}")
        watch = Watch(api, started.run, display.event)
        outcome = watch.follow(seconds=seconds)
    if outcome["outcome"] == "failed" and not quiet:
        for line in watch.tail((outcome.get("error") or {}).get("step")):
            print(f"    | {line}", file=sys.stderr)
    return outcome | {"project": name, "version_name": started.version}
