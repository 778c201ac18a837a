"""The command that tunes a small language model to a prompt: finetune."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import Add, Commands, home_argument, project_file


def add_to(commands: Commands, add: Add) -> None:
    """Add it."""
    tune = add(
        "finetune", "tune a small language model to a prompt's items by low-rank adapters; `sluice run` judges it then", "finetune:finetune"
    )
    tune.add_argument("project", type=project_file, metavar="PROJECT", help="of task llm: its prompt makes the messages")
    tune.add_argument("--base", type=Path, required=True, metavar="DIR", help="a causal model as transformers has it, or a .gguf file")
    tune.add_argument("--data", type=Path, required=True, metavar="FILE", help="JSON lines as the golden set's, and none of its items")
    tune.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder: adapter/, model/ (merged), tuned.json")
    tune.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="A=V", help="epochs, rank, learning_rate, ...; may be repeated"
    )
    home_argument(tune)
