"""The commands of prompts: golden, prompt."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, home_argument, project_arguments


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    golden = commands.add_parser("golden", help="a prompt's golden set")
    golden_commands = golden.add_subparsers(dest="golden_command", metavar="COMMAND", required=True)
    grow = add(
        "add", "corrected answers of users, written for review, then the accepted ones into the golden set", "golden:add", golden_commands
    )
    project_arguments(grow)
    grow.add_argument("--log", metavar="DIR", help="the prediction log with its feedback, or s3://...; default: log in the home")
    grow.add_argument("--review", type=Path, metavar="FILE", help="where the review is written; default: review.jsonl beside the project")
    grow.add_argument("--reviewed", type=Path, metavar="FILE", help='take a review\'s lines with "accept": true into the golden set')
    home_argument(grow)

    prompt = commands.add_parser("prompt", help="a project's prompt alone")
    prompt_commands = prompt.add_subparsers(dest="prompt_command", metavar="COMMAND", required=True)
    test = add("test", "ask for the cases of model.tests, and judge: exit status 3 where one does not hold", "prompt:test", prompt_commands)
    project_arguments(test)
    home_argument(test)
    show = add("show", "the messages that are sent for given values", "prompt:show", prompt_commands)
    project_arguments(show)
    show.add_argument("--value", action="append", default=[], metavar="NAME=TEXT", help="of a variable; may be repeated")
