"""`sluice ui`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import orjson

from sluice.core.errors import MissingExtra, ProjectError
from sluice.core.home import Home

TOKEN_ENV = "SLUICE_UI_TOKEN"
#: Bytes of a token's file.
_LARGEST = 4096


def ui(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    try:
        from sluice.ui import server
    except ImportError as e:
        raise MissingExtra(f"the page needs {e.name}", field="sluice ui", fix="pip install 'sluice-ml[ui]'") from e
    from sluice.ui.home import HomePlace

    home = Home(args.home)
    token = _token(args.token_file, args.actions or server.is_open(args.host))
    if args.namespace:
        from sluice.ui.cluster import ClusterPlace

        place: HomePlace = ClusterPlace(args.namespace, home, endpoint=args.endpoint, context=args.context)
    elif args.endpoint or args.context:
        raise ProjectError(
            "is of a cluster", field="--endpoint" if args.endpoint else "--context", fix="name its namespace too: --namespace NS"
        )
    else:
        place = HomePlace(home)
    listening = server.bound(args.host, args.port)
    new = token is not None and args.token_file is None and not os.environ.get(TOKEN_ENV)

    def started(port: int) -> None:
        at = f"http://{_shown(args.host)}:{port}"
        if args.json:
            told = {"url": at, "pid": os.getpid(), "actions": token is not None, **({"token": token} if new else {})}
            sys.stdout.write(orjson.dumps(told).decode() + "\n")
            sys.stdout.flush()
            return
        print(f"{at}  ({place.where}; Ctrl-C ends it)", file=sys.stderr)
        if new:
            print(f"sign in to act: {at}/signin#{quote(token or '', safe='')}", file=sys.stderr)

    server.serve(place, listening, args.host, args.name, token, started)
    return 0


def _shown(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _token(file: Path | None, wanted: bool) -> str | None:
    """What lets one act; None: nobody may. Raises `ProjectError`."""
    if file is not None:
        try:
            with file.open("rb") as f:
                text = f.read(_LARGEST).decode().strip()
        except (OSError, UnicodeDecodeError) as e:
            raise ProjectError(
                f"cannot be read: {e}", field="--token-file", value=str(file), fix="a file that holds the token alone"
            ) from e
        return text
    given = os.environ.get(TOKEN_ENV, "").strip()
    if given:
        return given
    return secrets.token_urlsafe(24) if wanted else None
