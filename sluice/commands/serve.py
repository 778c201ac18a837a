"""`sluice serve`."""

from __future__ import annotations

import argparse

from sluice.cli import checkout_command
from sluice.core.home import Home
from sluice.registry.references import locate


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean drain."""
    package = locate(args.package, Home(args.home))
    start = checkout_command("serve")
    argv = [str(package), "--host", args.host, "--port", str(args.port)]
    for name in ("grpc_port", "workers", "name", "log", "cache"):
        if (value := getattr(args, name)) is not None:
            argv += [f"--{name.replace('_', '-')}", str(value)]
    return int(start(argv) or 0)
