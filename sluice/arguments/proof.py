"""The commands on a package and what proves it: inspect, keys, sign, verify, reproduce."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, home_argument


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    inspect = add("inspect", "verify a package and show what it holds", "inspect:inspect")
    inspect.add_argument("package", metavar="PACKAGE", help=PACKAGE)
    home_argument(inspect)

    pairs = commands.add_parser("keys", help="keys to sign packages with")
    key_commands = pairs.add_subparsers(dest="key_command", metavar="COMMAND", required=True)
    new = add("new", "make a key pair: runs in the home sign with it", "proof:new", key_commands)
    new.add_argument("-o", "--output", type=Path, metavar="FILE", help="of the private key; default: keys/signing.pem in the home")
    home_argument(new)
    shown = add("show", "the ids of public keys", "proof:show", key_commands)
    shown.add_argument("files", nargs="+", metavar="FILE")

    sign = add("sign", "sign a package in a store, with its record and its bill of materials", "proof:sign")
    sign.add_argument("package", metavar="PACKAGE", help=PACKAGE)
    sign.add_argument("--key", type=Path, metavar="FILE", help="the private key; default: $SLUICE_SIGNING_KEY, else the home's own")
    home_argument(sign)

    verify = add(
        "verify", "check a package, its record, its bill of materials and its signature; 3 where something is wrong", "proof:verify"
    )
    verify.add_argument("package", metavar="PACKAGE", help=PACKAGE)
    verify.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a public key, or a folder of them: it must be signed by one; may be repeated; default: $SLUICE_TRUSTED_KEYS",
    )
    verify.add_argument("--require-signature", action="store_true", help="also without --key: by one of the home's keys")
    home_argument(verify)
    again = add("reproduce", "train a package again from its record, and compare bit for bit", "reproduce:reproduce")
    again.add_argument("package", metavar="PACKAGE", help=PACKAGE)
    again.add_argument("--project", type=Path, metavar="DIR", help="the project's folder; default: the one it was made in")
    again.add_argument("--keep", action="store_true", help="keep what was made, for a look at it")
    again.add_argument("--quiet", action="store_true", help="show no progress")
    home_argument(again)
