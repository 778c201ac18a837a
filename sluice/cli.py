"""The `sluice` command. Results on stdout, everything else on stderr; `--json` prints one object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sluice.arguments import parser
from sluice.core.errors import ProjectError, SluiceError, of_system

Handler = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        return _handler(args.handler)(args)
    except SluiceError as e:
        return fail(e, args.json)
    except KeyboardInterrupt:
        print("sluice: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except OSError as e:  # a disk, a right or a name that no command thought of
        return fail(of_system(e), args.json)


def fail(error: SluiceError, as_json: bool) -> int:
    """Say what went wrong; returns the exit status."""
    if as_json:
        show_json({"outcome": "failed", **error.to_dict()})
    print(f"sluice: {error}", file=sys.stderr)
    return error.exit_code


def show_json(value: Any) -> None:
    """Print a value as one JSON object on stdout; numpy's numbers and arrays may be in it, and what JSON has not becomes text."""
    print(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2, default=str).decode())


def _handler(name: str) -> Handler:
    from importlib import import_module

    module, _, function = name.partition(":")
    found: Handler = getattr(import_module(f"sluice.commands.{module}"), function)
    return found


def checkout_command(name: str) -> Any:
    """Code of a command that lives outside the library (group ``sluice.commands``).

    Raises:
        ProjectError: only the wheel is installed.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="sluice.commands", name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as e:
            if e.name and e.name.split(".")[0] in ("pipelines", "components", "serving"):
                break
            raise ProjectError(
                f"needs the package {e.name}, which is not installed", field=f"sluice {name}", fix="pip install 'sluice-ml[all]'"
            ) from e
    raise ProjectError(
        "runs from a checkout or one of the images: the wheel holds the library only",
        field=f"sluice {name}",
        fix="git clone the project and `make setup`, or use the pipeline image",
    )


if __name__ == "__main__":
    sys.exit(main())
