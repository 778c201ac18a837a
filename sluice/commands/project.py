"""`sluice init` and `sluice schema`."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from pathlib import Path

from sluice import files
from sluice.cli import show_json
from sluice.errors import ProjectError
from sluice.home import explain_os_error
from sluice.project import parse, read_text, schema

#: Task -> the example a new project starts from. The wheel carries them as sluice/templates.
EXAMPLES = {"image": "digits", "text": "intents", "tabular": "breast_cancer"}


def template(task: str) -> Path:
    """The folder a task's example lies in. Raises `ProjectError` for a task that has none."""
    if task not in EXAMPLES:
        near = difflib.get_close_matches(task, EXAMPLES, 1, 0.3)
        raise ProjectError("there is no example of this task", field="--task", value=task,
                           fix=f"did you mean {near[0]}?" if near else f"one of {', '.join(EXAMPLES)}")  # fmt: skip
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates" / EXAMPLES[task], package.parent / "examples" / EXAMPLES[task]):
        if folder.is_dir():
            return folder
    raise ProjectError("the examples are missing from this installation", field="--task", value=task, fix="install sluice-ml again")


def init(args: argparse.Namespace) -> int:
    source, target = template(args.task), args.directory
    name = args.name or _label(target.resolve().name)
    if (target / "sluice.yaml").exists():
        raise ProjectError("there is a project already", field=str(target / "sluice.yaml"), fix="name another directory")
    text = re.sub(r"(?m)^name: .*$", lambda _: f'name: "{name}"' if name in ("true", "false", "null") else f"name: {name}",
                  (source / "sluice.yaml").read_text(), count=1)  # fmt: skip
    if '"' in name or "\n" in name:
        raise ProjectError("is no DNS label", field="--name", value=name, fix="lower-case letters, digits and dashes, a letter first")
    parse(read_text(text, "--name"), where="--name")
    try:
        for path in sorted(source.rglob("*")):
            inner = path.relative_to(source)
            if path.is_file() and inner.parts[0] == "data":
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / inner)
        files.write_text(target / "sluice.yaml", text)
    except OSError as e:
        raise explain_os_error(e, target) from e
    if args.json:
        show_json({"project": str(target / "sluice.yaml"), "name": name, "task": args.task})
    else:
        print(f"wrote {target / 'sluice.yaml'}; next: sluice run {target / 'sluice.yaml'}")
    return 0


def _label(text: str) -> str:
    """A DNS label made of a directory's name."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    label = label if label[:1].isalpha() else f"model-{label}".rstrip("-")
    return label[:40].rstrip("-")


def schema_(args: argparse.Namespace) -> int:
    show_json(schema())
    return 0
