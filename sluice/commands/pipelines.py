"""`sluice compile`, `sluice upload` and `sluice submit`."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from sluice import project as projects
from sluice.arguments.shared import PROJECT_FILE
from sluice.cli import checkout_command, show_json
from sluice.client.endpoint import Endpoint
from sluice.commands.project import template
from sluice.commands.run import show_conclusion
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.kfp import needs, site
from sluice.kfp.client import Api
from sluice.kfp.connection import connect, installation
from sluice.kfp.needs import Ready
from sluice.project import Project


def open_project(args: argparse.Namespace) -> tuple[Project, str]:
    """The project the arguments name, and its text with overrides applied, for people to read and change."""
    raw = projects.read_yaml(args.project)
    for item in args.overrides:
        projects.override(raw, item)
    found = projects.parse(raw, where=args.project.name, base_dir=args.project.resolve().parent)
    return found, projects.write_text(raw)


def compile_(args: argparse.Namespace) -> int:
    """Compile a project for a cluster and write it; 0. Raises `ProjectError` where the cluster lacks what it needs."""
    project, text = open_project(args)
    write = checkout_command("compile")
    told = site.ask(args.environment, context=args.context, offline=args.offline)
    runs = args.namespace or installation()
    ready = needs.prepare(project, told, image=args.image, allow_tag=args.allow_tag, runs=runs, unchecked=args.unchecked)
    show_told(ready)
    try:
        made = write(
            ready.project,
            args.output,
            text=text,
            image=ready.image,
            allow_tag=args.allow_tag,
            kubernetes=args.kubernetes,
            namespace=args.namespace,
            tune=args.tune,
        )
    except OSError as e:
        raise ProjectError(
            f"cannot be written: {e.strerror or e}", field="--output", value=str(args.output), fix="name a file in a folder you may write"
        ) from e
    warn_of_paths(project)
    if args.json:
        show_json(made)
    else:
        print(f"{made['file']}  {made['version']}  sha256:{made['sha256'][:12]}")
    return 0


def show_told(ready: Ready) -> None:
    """Say what was taken from the cluster, and what was found missing and let pass."""
    if ready.told.site and ready.told.kube:
        print(f"cluster: ConfigMap {ready.told.site.namespace}/{site.NAME} (context {ready.told.kube.context})", file=sys.stderr)
    for need in ready.missing:
        print(f"note: {need}", file=sys.stderr)


def warn_of_paths(project: Project) -> None:
    """Say what a step on a cluster would not find: a source that is a path here, a task's module that is not in the image."""
    if "://" not in project.data.source:
        print(f"note: data.source {project.data.source!r} is a path: on a cluster use s3:// or a mounted volume", file=sys.stderr)
    if ":" in project.task:
        print(f"note: task {project.task!r} is your own: the image of the steps must hold its module", file=sys.stderr)


def endpoint_of(args: argparse.Namespace) -> Endpoint:
    """The endpoint the arguments name, and how it is used."""
    api = Api(connect(args.endpoint, namespace=args.namespace, token_file=args.token_file, context=args.context))
    return Endpoint(
        api,
        Home(),
        image=args.image,
        allow_tag=args.allow_tag,
        environment=args.environment,
        context=args.context,
        offline=args.offline,
        unchecked=args.unchecked,
    )


def upload(args: argparse.Namespace) -> int:
    """A pipeline's version on the endpoint, and no run: of a project, or the one that takes any."""
    any_project = args.project is None
    if any_project:
        args.project = template("image") / PROJECT_FILE
    project, text = open_project(args)
    endpoint = endpoint_of(args)
    ready = endpoint.prepare(project)
    show_told(ready)
    name = None
    if any_project:
        name = (ready.told.site.pipeline if ready.told.site else "") or f"{site.environment_of(args.environment)}-training"
    made = endpoint.upload(ready, text, tune=args.tune, name=f"{name}-tuning" if name and args.tune else name)
    if args.json:
        show_json(made)
    else:
        print(f"{made['pipeline']}  {made['version']}{' (there before)' if made['reused'] else ''}")
    return 0


def submit(args: argparse.Namespace) -> int:
    """Start a run on an endpoint; with ``--wait`` follow it, and end as `sluice run` would."""
    project, text = open_project(args)
    endpoint = endpoint_of(args)
    api = endpoint.api
    ready = endpoint.prepare(project)
    show_told(ready)
    started = endpoint.submit(project, text, tune=args.tune, ready=ready, asked=(projects.read_yaml(args.project), args.overrides))
    warn_of_paths(project)
    if not args.wait:
        if args.json:
            show_json(dataclasses.asdict(started))
        else:
            print(f"{started.name}  {started.version}{' (there before)' if started.reused else ''}\n{api.run_page(started.run)}")
        return 0
    print(api.run_page(started.run), file=sys.stderr)
    run = endpoint.follow(started.run, f"{project.name}: {started.name}", seconds=args.timeout, quiet=args.quiet or args.json)
    if args.json:
        show_json(run.outcome)
    else:
        show_conclusion(run.outcome)
    return int(run.outcome["exit_code"])
