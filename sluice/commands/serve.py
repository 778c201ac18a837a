"""`sluice serve`."""

from __future__ import annotations

import argparse
import os

from sluice.cli import checkout_command
from sluice.core.home import Home
from sluice.proof.keys import TRUSTED_ENV
from sluice.registry.references import locate


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean drain."""
    home = Home(args.home)
    package = locate(args.package, home)
    start = checkout_command("serve")
    argv = [str(package), "--host", args.host, "--port", str(args.port)]
    for name in ("grpc_port", "workers", "name", "log", "cache"):
        if (value := getattr(args, name)) is not None:
            argv += [f"--{name.replace('_', '-')}", str(value)]
    if args.require_signature or args.trusted_key:
        named = args.trusted_key or ([] if os.environ.get(TRUSTED_ENV) else [str(home.root / "keys")])
        argv += ["--require-signature", *(f"--trusted-key={key}" for key in named)]
    return int(start(argv) or 0)
